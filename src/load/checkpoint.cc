#include "load/checkpoint.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/blocks.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/tensor.h"
#include "load/config_gguf.h"
#include "load/gguf_names.h"
#include "load/quantised_files.h"
#include "load/tensor_names.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEmbedding = "backbone.embedding.weight";
constexpr std::string_view kHead = "lm_head.weight";
constexpr char kExpected[] = ": expected a directory with config.json and weights, or a GGUF file";

TensorTable TableOf(const Gguf& file) {
  TensorTable table;
  for (const GgufTensor& tensor : file.tensors()) {
    StoredTensor stored{.file = file.source(),
                        .dtype_name = std::string(GgufName(tensor.dtype)),
                        .dtype = tensor.dtype,
                        .shape = tensor.shape,
                        .bytes = tensor.bytes,
                        .strides = {}};
    // Some writers keep sizes of 1 around the others, and some do not.
    while (stored.shape.size() > 1 && stored.shape.front() == 1) {
      stored.shape.erase(stored.shape.begin());
    }
    table.emplace(tensor.name, std::move(stored));
  }
  return table;
}

int64_t CountInBlocks(DType dtype, std::span<const std::byte> bytes) {
  const BlockShape block = BlockOf(dtype);
  std::vector<float> values(static_cast<size_t>(block.values));
  int64_t count = 0;
  for (; !bytes.empty(); bytes = bytes.subspan(static_cast<size_t>(block.bytes))) {
    Widen(dtype, bytes.data(), values);
    count += std::ranges::count_if(values, [](float v) { return !std::isfinite(v); });
  }
  return count;
}

// Bits of the exponent, all ones in NaN and infinity.
template <class Bits>
int64_t CountAllOnes(std::span<const std::byte> bytes, Bits exponent) {
  int64_t count = 0;
  for (size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i, sizeof(Bits));
    count += (bits & exponent) == exponent;
  }
  return count;
}

int64_t CountNonFinite(const StoredTensor& tensor, int threads) {
  if (*tensor.dtype == DType::kI8) return 0;
  // A MB or a little less, in whole blocks.
  const auto block = static_cast<size_t>(BlockOf(*tensor.dtype).bytes);
  const size_t piece = (size_t{1} << 20) / block * block;
  const size_t pieces = (tensor.bytes.size() + piece - 1) / piece;
  std::atomic<int64_t> count = 0;
  ParallelFor(threads, static_cast<int64_t>(pieces), [&](int64_t i) {
    const auto bytes = tensor.bytes.subspan(
        i * piece, std::min(piece, tensor.bytes.size() - static_cast<size_t>(i) * piece));
    if (IsBlocked(*tensor.dtype)) {
      count += CountInBlocks(*tensor.dtype, bytes);
    } else if (*tensor.dtype == DType::kF32) {
      count += CountAllOnes<uint32_t>(bytes, 0x7f800000u);
    } else {
      count += CountAllOnes<uint16_t>(bytes, *tensor.dtype == DType::kF16 ? 0x7c00u : 0x7f80u);
    }
  });
  return count;
}

bool SameBytes(const StoredTensor& a, const StoredTensor& b) {
  return a.dtype == b.dtype && a.bytes.size() == b.bytes.size() &&
         (a.bytes.data() == b.bytes.data() ||
          std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0);
}

}  // namespace

struct Checkpoint::Storage {
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::vector<BufferOwner<std::byte>> copies;  // of tensors misaligned or with strides
  std::vector<std::unique_ptr<std::vector<float>>> scales;
};

Checkpoint::Checkpoint(const fs::path& path, const LoadOptions& options)
    : path_(path), options_(options), storage_(std::make_shared<Storage>()) {
  IsModelFile(path) ? OpenFile() : OpenDirectory();
}

void Checkpoint::OpenFile() {
  const auto file = std::make_shared<const MappedFile>(path_);
  Require(StartsAsGguf(file->bytes()), ErrorCode::kCorruptData, path_.string(), kExpected);
  const Gguf gguf(file->bytes(), path_.string());
  config_ = ReadGgufConfig(gguf);
  tensors_ = TableOf(gguf);
  if (GgufArchitectureOf(config_).rope_factors) tensors_.erase(std::string(kGgufRopeFactors));
  storage_->files.push_back(file);
}

void Checkpoint::OpenDirectory() {
  std::error_code error;
  Require(fs::is_directory(path_, error), ErrorCode::kNotFound, path_.string(), kExpected);
  config_ = LoadModelConfig(path_ / "config.json");
  CheckpointFiles files = OpenCheckpoint(path_);
  tensors_ = std::move(files.tensors);
  if (config_.quantised) TypeQuantisedTensors(tensors_);
  NormalizeTensorNames(config_, tensors_);
  storage_->files = std::move(files.files);
}

std::string_view Checkpoint::config_name() const {
  return config_.format == kGgufFormat ? "the file's keys" : "config.json";
}

const StoredTensor& Checkpoint::Find(const FileTensor& wanted) {
  const std::string& in_file = wanted.name;
  const auto it = tensors_.find(in_file);
  Require(it != tensors_.end(), ErrorCode::kNotFound, path_.string(), ": tensor ", Quoted(in_file),
          " is missing; expected one of shape ", ShapeText(wanted.shape));
  StoredTensor& tensor = it->second;
  Require(tensor.dtype.has_value(), ErrorCode::kUnsupported, tensor.file, ": ", Quoted(in_file),
          ": got dtype ", Quoted(tensor.dtype_name), ", expected F32, F16 or BF16");
  Require(tensor.shape == wanted.shape, ErrorCode::kCorruptData, tensor.file, ": ", Quoted(in_file),
          ": got shape ", ShapeText(tensor.shape), ", expected ", ShapeText(wanted.shape), " from ",
          config_name());
  if (!tensor.strides.empty()) MakeContiguous(tensor);
  if (used_.insert(in_file).second) {
    if (!in_file.ends_with(kScaleSuffix)) parameters_ += *ElementCount(wanted.shape);
    ++stored_types_[tensor.dtype_name];
    if (in_file == TensorInFile(config_, kEmbedding, {}).name) CheckTiedHead();
    if (options_.verify_finite) CheckFinite(in_file, tensor);
  }
  return tensor;
}

// The shape has been checked against the config, which bounds the copy.
void Checkpoint::MakeContiguous(StoredTensor& tensor) {
  const int64_t size = BytesOf(*tensor.dtype, *ElementCount(tensor.shape));
  BufferOwner<std::byte>& copy = storage_->copies.emplace_back(size);
  const std::span<std::byte> bytes(copy.data(), size);
  CopyStrided(tensor, bytes);
  tensor.bytes = bytes;
  tensor.strides.clear();
  copied_bytes_ += size;
}

void Checkpoint::CheckTiedHead() {
  const auto head = tensors_.find(kHead);
  if (!config_.tie_embeddings || head == tensors_.end()) return;
  Find({.name = std::string(kHead), .shape = {config_.vocab_size, config_.d_model}});
  parameters_ -= config_.vocab_size * config_.d_model;  // the embedding again
  Require(
      SameBytes(head->second, tensors_.find(TensorInFile(config_, kEmbedding, {}).name)->second),
      ErrorCode::kCorruptData, head->second.file, ": ", Quoted(kHead),
      ": differs from the embedding, to which config.json ties it; set ",
      config_.format == "mamba_ssm" ? "tie_embeddings" : "tie_word_embeddings",
      " to false to use it");
}

void Checkpoint::CheckFinite(std::string_view name, const StoredTensor& tensor) {
  const int64_t count = CountNonFinite(tensor, options_.threads);
  if (count == 0) return;
  warnings_[std::string(name)] =
      Message(tensor.file, ": ", Quoted(name), ": ", count, " of ", *ElementCount(tensor.shape),
              " weights are NaN or infinite");
}

StoredMatrix Checkpoint::Matrix(std::string_view name, int64_t rows, int64_t cols) {
  const FileTensor wanted = TensorInFile(config_, name, {rows, cols});
  const StoredTensor& tensor = Find(wanted);
  const std::span<const std::byte> bytes =
      tensor.bytes.subspan(static_cast<size_t>(BytesOf(*tensor.dtype, cols) * wanted.first_row),
                           static_cast<size_t>(BytesOf(*tensor.dtype, cols) * rows));
  const void* data = bytes.data();
  // Blocks are read byte by byte.
  const size_t alignment = IsBlocked(*tensor.dtype) ? 1 : SizeOf(*tensor.dtype);
  if (reinterpret_cast<uintptr_t>(data) % alignment != 0) {
    const int64_t size = std::ssize(bytes);
    BufferOwner<std::byte>& copy = storage_->copies.emplace_back(size);
    std::memcpy(copy.data(), data, size);
    data = copy.data();
    copied_bytes_ += size;
  }
  StoredMatrix matrix{*tensor.dtype, data, rows, cols};
  if (matrix.dtype == DType::kI8) {
    Require(bytes.size() == tensor.bytes.size(), ErrorCode::kUnsupported, tensor.file, ": ",
            Quoted(wanted.name),
            ": got I8, expected F32, F16 or BF16 where several matrices share ", "a tensor");
    matrix.scales = RowScales(name, rows);
  }
  return matrix;
}

// Kept apart from the file, where they may lie at any address. Without a finite scale a whole row
// means nothing, so here it is an error.
const float* Checkpoint::RowScales(std::string_view name, int64_t rows) {
  const std::string scale_name = StrCat(TensorInFile(config_, name, {}).name, kScaleSuffix);
  std::vector<float> scales = Widened(Find({.name = scale_name, .shape = {rows}}), scale_name);
  for (int64_t r = 0; r < rows; ++r) {
    Require(std::isfinite(scales[r]) && scales[r] >= 0, ErrorCode::kCorruptData, path_.string(),
            ": ", Quoted(scale_name), ": row ", r, ": got ", scales[r],
            ", expected a finite scale of at least 0");
  }
  storage_->scales.push_back(std::make_unique<std::vector<float>>(std::move(scales)));
  return storage_->scales.back()->data();
}

std::vector<float> Checkpoint::Widened(const StoredTensor& tensor, std::string_view name) {
  Require(*tensor.dtype != DType::kI8, ErrorCode::kUnsupported, tensor.file, ": ", Quoted(name),
          ": got dtype ", Quoted(tensor.dtype_name), ", expected F32, F16 or BF16");
  std::vector<float> values(static_cast<size_t>(*ElementCount(tensor.shape)));
  Widen(*tensor.dtype, tensor.bytes.data(), values);
  return values;
}

std::vector<float> Checkpoint::Vector(std::string_view name, const std::vector<int64_t>& shape) {
  const FileTensor wanted = TensorInFile(config_, name, shape);
  std::vector<float> values = Widened(Find(wanted), name);
  const int64_t count = *ElementCount(shape);
  if (count == std::ssize(values)) return values;
  PITH_CHECK(wanted.shape.size() == 1 && wanted.first_row + count <= std::ssize(values));
  const auto begin = values.begin() + wanted.first_row;
  return {begin, begin + count};
}

std::vector<float> Checkpoint::Decay(std::string_view name, const std::vector<int64_t>& shape) {
  return config_.format == kGgufFormat ? Vector(name, shape) : TensorSource::Decay(name, shape);
}

void Checkpoint::Drop(const StoredMatrix& matrix) {
  const auto* data = static_cast<const std::byte*>(matrix.data);
  const std::span<const std::byte> bytes(data, static_cast<size_t>(matrix.bytes()));
  for (const auto& file : storage_->files) file->GiveBack(bytes);
  for (BufferOwner<std::byte>& copy : storage_->copies) {
    if (copy.data() != data) continue;
    copied_bytes_ -= copy.size();
    copy = {};
  }
}

void Checkpoint::DropPart(const StoredMatrix& rows) {
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(rows.data),
                                         static_cast<size_t>(rows.bytes()));
  for (const auto& file : storage_->files) file->GiveBack(bytes);
}

void Checkpoint::Finish() {
  for (const auto& [name, tensor] : tensors_) {
    Require(used_.contains(name), ErrorCode::kCorruptData, tensor.file, ": ", Quoted(name),
            ": a model of this ", config_.format == kGgufFormat ? "architecture" : "config.json",
            " has no such tensor");
  }
}

std::vector<std::string> Checkpoint::warnings() const {
  std::vector<std::string> list;
  for (const auto& [name, text] : warnings_) list.push_back(text);
  return list;
}

}  // namespace pith
