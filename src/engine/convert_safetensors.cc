// A model as a directory of config.json, model.safetensors and tokenizer.json, with matrices that
// are quantised (docs/formats/quantised.md).
#include <unistd.h>

#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "engine/convert.h"
#include "load/checkpoint.h"
#include "load/quantised_files.h"
#include "load/quantised_tensors.h"
#include "load/tensor_list.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr std::pair<const char*, WeightsAs> kWeights[] = {{"int8", WeightsAs::kInt8},
                                                          {"int4", WeightsAs::kInt4}};
constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;

WeightsAs WeightsOf(const ConvertOptions& options) {
  for (const auto& [name, as] : kWeights) {
    if (options.weights == name) return as;
  }
  Throw(ErrorCode::kInvalidArgument, "weights: got ", options.weights,
        ", expected int8 or int4 for --to safetensors");
}

// A directory that becomes `path` at Commit, and is gone without it.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(const fs::path& path) : path_(fs::absolute(path).lexically_normal()) {
    if (!path_.has_filename()) path_ = path_.parent_path();
    std::error_code error;
    Require(
        !fs::exists(path_, error) || (fs::is_directory(path_, error) && fs::is_empty(path_, error)),
        ErrorCode::kInvalidArgument, path.string(), ": expected a directory that is new or empty");
    temporary_ = path_;
    temporary_ += StrCat(".tmp.", ::getpid());
    Require(fs::create_directory(temporary_, error), ErrorCode::kIo, temporary_.string(), ": ",
            error ? error.message() : "it exists");
  }
  ~AtomicDirectory() {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
  }
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const fs::path& path() const { return temporary_; }
  void Commit() {
    std::error_code error;
    fs::rename(temporary_, path_, error);
    Require(!error, ErrorCode::kIo, path_.string(), ": ", error.message());
    temporary_.clear();
  }

 private:
  fs::path path_;
  fs::path temporary_;
};

class SafetensorsConversion {
 public:
  explicit SafetensorsConversion(const Conversion& conversion)
      : conversion_(conversion),
        checkpoint_(conversion.model,
                    {.verify_finite = false, .threads = conversion.options.threads}),
        tensors_(checkpoint_, WeightsOf(conversion.options), checkpoint_.config().tie_embeddings,
                 conversion.options.threads),
        list_(ListTensors(checkpoint_.config())) {}

  ConvertReport Run() {
    Require(fs::is_directory(conversion_.model), ErrorCode::kUnsupported,
            conversion_.model.string(),
            ": got a GGUF file, expected a directory to write as safetensors");
    RequireMamba();
    AtomicDirectory directory(conversion_.output);
    WriteConfig(directory.path() / "config.json");
    const fs::path tokenizer = conversion_.tokenizer.empty() ? conversion_.model / "tokenizer.json"
                                                             : conversion_.tokenizer;
    std::error_code ignored;
    report_.tokenizer = !conversion_.tokenizer.empty() || fs::exists(tokenizer, ignored);
    if (report_.tokenizer) WriteWhole(directory.path() / "tokenizer.json", ReadFile(tokenizer));
    WriteTensors(directory.path() / "model.safetensors");
    checkpoint_.Finish();
    directory.Commit();
    report_.parameters = checkpoint_.parameters();
    return report_;
  }

 private:
  // Other families keep several matrices in a tensor, under names of their own.
  void RequireMamba() const {
    const ModelConfig& config = checkpoint_.config();
    for (const LayerConfig& layer : config.layers) {
      Require(AsMamba(layer) != nullptr, ErrorCode::kUnsupported, "convert: got a model of ",
              config.format, " with ", KindName(layer),
              " layers, expected one of Mamba layers alone to write as safetensors");
    }
  }

  static void WriteWhole(const fs::path& path, std::string_view text) {
    AtomicWriter file(path);
    file.Write(text);
    file.Commit();
  }

  // As it was, with what says how the matrices are stored.
  void WriteConfig(const fs::path& path) const {
    const fs::path from = conversion_.model / "config.json";
    OrderedJson config = OrderedJson::parse(ReadTextFile(from, kMaxConfigBytes));
    config["quantization_config"] = QuantisationConfig(conversion_.options.weights);
    WriteWhole(path, JsonText(config, 2) + "\n");
  }

  // The header tells where tensors lie, so their types are known before any is made: matrices are
  // quantised one after the other, twice, and none is held longer than it is written.
  void WriteTensors(const fs::path& path) {
    OrderedJson header = {{"__metadata__", {{"format", "pt"}}}};
    int64_t total = 0;
    const auto add = [&](const std::string& name, const char* type,
                         const std::vector<int64_t>& shape, int64_t bytes) {
      header[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {total, total + bytes}}};
      ++report_.stored_types[type];
      total += bytes;
    };
    ForEachTensor(
        [&](const std::string& name, const char* type, const std::vector<int64_t>& shape,
            std::span<const std::byte> bytes) { add(name, type, shape, std::ssize(bytes)); });
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    AtomicWriter file(path);
    std::string length(8, '\0');
    for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
    file.Write(length);
    file.Write(text);
    int64_t written = 0;
    ForEachTensor([&](const std::string&, const char*, const std::vector<int64_t>&,
                      std::span<const std::byte> bytes) {
      file.Write(bytes);
      written += std::ssize(bytes);
      if (conversion_.control.progress) {
        conversion_.control.progress(static_cast<double>(written) / static_cast<double>(total));
      }
    });
    PITH_CHECK(written == total);
    file.Commit();
    report_.bytes = 8 + std::ssize(text) + total;
  }

  // write(name, type, shape, bytes) for all that is stored, in a fixed order.
  template <class Write>
  void ForEachTensor(const Write& write) {
    for (const ListedTensor& tensor : list_) {
      Require(conversion_.control.cancel == nullptr || !*conversion_.control.cancel,
              ErrorCode::kCancelled, "cancelled; nothing was written");
      if (!tensor.matrix) {
        const std::vector<float> values = tensors_.Vector(tensor.name, tensor.shape);
        write(tensor.name, "F32", tensor.shape, std::as_bytes(std::span(values)));
        continue;
      }
      const StoredMatrix matrix = tensors_.Matrix(tensor.name, tensor.shape[0], tensor.shape[1]);
      WriteMatrix(tensor.name, matrix, write);
      tensors_.Drop(matrix);
    }
  }

  template <class Write>
  static void WriteMatrix(const std::string& name, const StoredMatrix& matrix, const Write& write) {
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(matrix.data),
                                           static_cast<size_t>(matrix.bytes()));
    switch (matrix.dtype) {
      case DType::kI8:
        write(name, "I8", {matrix.rows, matrix.cols}, bytes);
        write(StrCat(name, kScaleSuffix), "F32", {matrix.rows},
              std::as_bytes(std::span(matrix.scales, static_cast<size_t>(matrix.rows))));
        return;
      case DType::kQ4_0:
        write(name, "U8", {matrix.rows, BytesOf(DType::kQ4_0, matrix.cols)}, bytes);
        return;
      case DType::kF32:
        return write(name, "F32", {matrix.rows, matrix.cols}, bytes);
      case DType::kF16:
        return write(name, "F16", {matrix.rows, matrix.cols}, bytes);
      case DType::kBF16:
        return write(name, "BF16", {matrix.rows, matrix.cols}, bytes);
      default:
        Throw(ErrorCode::kUnsupported, name, ": got ", Name(matrix.dtype),
              ", expected f32, f16 or bf16 to write as safetensors");
    }
  }

  const Conversion& conversion_;
  Checkpoint checkpoint_;
  QuantisedTensors tensors_;
  std::vector<ListedTensor> list_;
  ConvertReport report_;
};

}  // namespace

std::span<const std::pair<const char*, WeightsAs>> SafetensorsWeights() { return kWeights; }

ConvertReport ConvertToSafetensors(const Conversion& conversion) {
  return SafetensorsConversion(conversion).Run();
}

}  // namespace pith
