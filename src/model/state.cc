#include "model/state.h"

#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"

namespace pith {
namespace {

static_assert(std::endian::native == std::endian::little, "state files are little-endian");

constexpr char kMagic[8] = {'P', 'I', 'T', 'H', 'S', 'T', 'A', 'T'};
constexpr uint32_t kVersion = 1;

// The file: this header, `count` f32 values, the rows of the layers that grow, the CRC-64 of all
// that. docs/formats/state.md.
struct Header {
  char magic[8];
  uint32_t version;
  int32_t pending;  // −1: none
  uint64_t fingerprint;
  int64_t tokens;
  int64_t count;
};
static_assert(sizeof(Header) == 40);

// What stands between the header and the checksum, taken from the front.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}

  // Whether so many numbers of this type are left.
  template <class T>
  bool Has(int64_t count) const {
    return count >= 0 && static_cast<uint64_t>(count) <= left_.size() / sizeof(T);
  }
  template <class T>
  std::vector<T> Take(int64_t count) {  // a copy: in the file they may lie misaligned
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    std::vector<T> values(static_cast<size_t>(count));
    if (bytes > 0) std::memcpy(values.data(), left_.data(), bytes);
    left_ = left_.subspan(bytes);
    return values;
  }
  bool empty() const { return left_.empty(); }

 private:
  std::span<const std::byte> left_;
};

// Calls corrupt(ok, what...) with what must hold.
std::vector<KvRows> ReadKv(const StateLayout& layout, int64_t tokens, Reader& reader,
                           const auto& corrupt) {
  std::vector<KvRows> layers;
  for (const StateSize& size : layout.layers()) {
    if (!size.grows()) continue;
    const size_t layer = layers.size();
    corrupt(reader.Has<int64_t>(1), "the rows of growing layer ", layer, " are missing");
    const int64_t rows = reader.Take<int64_t>(1)[0];
    corrupt(rows >= 0 && rows <= tokens, "growing layer ", layer, ": got ", rows,
            " rows, expected 0 to the number of tokens, ", tokens);
    // A row is a position, its keys and its values.
    const int64_t row_numbers = 1 + 2 * size.kv.width();
    corrupt(rows <= std::numeric_limits<int64_t>::max() / row_numbers &&
                reader.Has<float>(rows * row_numbers),
            "growing layer ", layer, ": the file ends before its ", rows, " rows do");
    KvRows& kv = layers.emplace_back();
    kv.positions = reader.Take<int32_t>(rows);
    for (const int32_t position : kv.positions) {
      corrupt(position >= 0 && position < tokens, "growing layer ", layer, ": got position ",
              position, ", expected 0 to ", tokens - 1);
    }
    kv.keys = reader.Take<float>(rows * size.kv.width());
    kv.values = reader.Take<float>(rows * size.kv.width());
  }
  return layers;
}

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
  const auto write = [&](auto numbers) {
    sum.Add(std::as_bytes(numbers));
    writer.Write(std::as_bytes(numbers));
  };
  write(std::span(&header, 1));
  write(std::span(values));
  for (const KvRows& kv : pool.DownloadKv(sequence.slot)) {
    const int64_t rows = kv.rows();
    write(std::span(&rows, 1));
    write(std::span(kv.positions));
    write(std::span(kv.keys));
    write(std::span(kv.values));
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
  const StateLayout& layout = model.state_layout();
  Reader reader(bytes.subspan(sizeof(Header), bytes.size() - sizeof(Header) - sizeof(crc)));
  corrupt(header.count == layout.values() && reader.Has<float>(header.count), "state of ",
          header.count, " values, expected ", layout.values());
  corrupt(header.tokens >= 0 && header.tokens < int64_t{1} << 60, "tokens: got ", header.tokens,
          ", expected 0 to 2^60");
  corrupt(header.pending >= -1 && header.pending < model.config().vocab_size, "pending token: got ",
          header.pending, ", expected less than ", model.config().vocab_size);
  const std::vector<float> values = reader.Take<float>(header.count);
  const std::vector<KvRows> kv = ReadKv(layout, header.tokens, reader, corrupt);
  corrupt(reader.empty(), "the state file goes on after its state");
  pool.Upload(values, sequence.slot);
  pool.UploadKv(kv, sequence.slot);
  sequence.tokens = header.tokens;
  sequence.pending = std::nullopt;
  if (header.pending >= 0) sequence.pending = header.pending;
}

}  // namespace pith
