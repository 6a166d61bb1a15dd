#include "model/state.h"

#include <bit>
#include <cstring>
#include <string>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"

namespace pith {
namespace {

static_assert(std::endian::native == std::endian::little, "state files are little-endian");

constexpr char kMagic[8] = {'P', 'I', 'T', 'H', 'S', 'T', 'A', 'T'};
constexpr uint32_t kVersion = 1;

// The file: this header, `count` f32 values, the CRC-64 of both. docs/formats/state.md.
struct Header {
  char magic[8];
  uint32_t version;
  int32_t pending;  // −1: none
  uint64_t fingerprint;
  int64_t tokens;
  int64_t count;
};
static_assert(sizeof(Header) == 40);

}  // namespace

void SaveState(const Model& model, const StatePool& pool, const Sequence& sequence,
               const std::filesystem::path& path) {
  const std::vector<float> values = pool.Download(sequence.slot);
  Header header{.magic = {},
                .version = kVersion,
                .pending = sequence.pending.value_or(-1),
                .fingerprint = model.fingerprint(),
                .tokens = sequence.tokens,
                .count = static_cast<int64_t>(values.size())};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  Checksum sum;
  AtomicWriter writer(path);
  for (const auto bytes :
       {std::as_bytes(std::span(&header, 1)), std::as_bytes(std::span(values))}) {
    sum.Add(bytes);
    writer.Write(bytes);
  }
  const uint64_t crc = sum.value();
  writer.Write(std::as_bytes(std::span(&crc, 1)));
  writer.Commit();
}

void LoadState(const Model& model, const std::filesystem::path& path, StatePool& pool,
               Sequence& sequence) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  const std::string name = path.string();
  const auto corrupt = [&](bool ok, const auto&... what) {
    Require(ok, ErrorCode::kCorruptData, name, ": ", what...);
  };
  Header header;
  corrupt(bytes.size() >= sizeof(Header) + sizeof(uint64_t), "state file of ", bytes.size(),
          " bytes, expected at least ", sizeof(Header) + sizeof(uint64_t));
  std::memcpy(&header, bytes.data(), sizeof(Header));
  corrupt(std::memcmp(header.magic, kMagic, sizeof(kMagic)) == 0, "not a pith state file");
  corrupt(header.version == kVersion, "state file version ", header.version, ", expected ",
          kVersion);
  Checksum sum;
  sum.Add(bytes.first(bytes.size() - sizeof(uint64_t)));
  uint64_t crc;
  std::memcpy(&crc, bytes.data() + bytes.size() - sizeof(crc), sizeof(crc));
  corrupt(crc == sum.value(), "checksum does not match: the state file is damaged");
  Require(header.fingerprint == model.fingerprint(), ErrorCode::kInvalidArgument, name,
          ": the state belongs to another model");
  const int64_t count = model.state_layout().values();
  corrupt(
      header.count == count && bytes.size() == sizeof(Header) + count * sizeof(float) + sizeof(crc),
      "state of ", header.count, " values, expected ", count);
  corrupt(header.tokens >= 0 && header.tokens < int64_t{1} << 60, "tokens: got ", header.tokens,
          ", expected 0 to 2^60");
  corrupt(header.pending >= -1 && header.pending < model.config().vocab_size, "pending token: got ",
          header.pending, ", expected less than ", model.config().vocab_size);
  std::vector<float> values(count);  // a copy: in the file they may lie misaligned
  std::memcpy(values.data(), bytes.data() + sizeof(Header), count * sizeof(float));
  pool.Upload(values, sequence.slot);
  sequence.tokens = header.tokens;
  sequence.pending = std::nullopt;
  if (header.pending >= 0) sequence.pending = header.pending;
}

}  // namespace pith
