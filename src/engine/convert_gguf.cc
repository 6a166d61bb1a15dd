// A model as one GGUF file, as llama.cpp reads it (docs/formats/gguf.md).
#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/blocks.h"
#include "core/error.h"
#include "core/file.h"
#include "core/gguf.h"
#include "core/gguf_writer.h"
#include "core/parallel.h"
#include "engine/convert.h"
#include "engine/gguf_keys.h"
#include "engine/gguf_rope.h"
#include "load/checkpoint.h"
#include "load/gguf_names.h"
#include "load/stored_tensor.h"
#include "load/tensor_list.h"
#include "pith/engine.h"

namespace pith {
namespace {

constexpr std::pair<const char*, DType> kWeights[] = {
    {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}, {"q8_0", DType::kQ8_0}};

// What the file has and the source has not.
struct Extra {
  FileTensor tensor;
  std::vector<float> values;
};

class GgufConversion {
 public:
  explicit GgufConversion(const Conversion& conversion)
      : conversion_(conversion),
        checkpoint_(conversion.model,
                    {.verify_finite = false, .threads = conversion.options.threads}),
        tensors_(ListTensors(checkpoint_.config())) {
    for (const auto& [name, dtype] : kWeights) {
      if (conversion.options.weights == name) target_ = dtype;
    }
  }

  ConvertReport Run() {
    const ModelConfig& config = checkpoint_.config();
    const std::filesystem::path tokenizer =
        conversion_.tokenizer.empty() ? TokenizerOf(conversion_.model) : conversion_.tokenizer;
    GgufHead head;
    AddConfigKeys(config, NameOf(conversion_.model), conversion_.model.string(), head);
    AddTokenizerKeys(tokenizer, config, head);
    AddTensors(head);
    checkpoint_.Finish();
    AtomicWriter file(conversion_.output);
    const std::string bytes = head.Bytes();
    file.Write(bytes);
    total_ = head.data_bytes();
    for (const ListedTensor& tensor : tensors_) WriteTensor(tensor, file);
    WriteExtras(file);
    PITH_CHECK(written_ == total_);
    file.Commit();
    report_.bytes = std::ssize(bytes) + total_;
    report_.parameters = checkpoint_.parameters();
    report_.tokenizer = !tokenizer.empty();
    return report_;
  }

 private:
  static std::string NameOf(const std::filesystem::path& model) {
    const std::filesystem::path whole = std::filesystem::absolute(model).lexically_normal();
    const std::string name =
        whole.has_filename() ? whole.stem().string() : whole.parent_path().filename().string();
    return name.empty() ? "model" : name;
  }

  // What a matrix becomes. Rows that are no whole blocks become f16, as llama.cpp makes them, and a
  // router f32.
  DType TypeOf(std::string_view name, const StoredMatrix& matrix) const {
    if (name.ends_with("router.weight")) return DType::kF32;
    Require(target_ || matrix.dtype != DType::kI8, ErrorCode::kUnsupported,
            conversion_.model.string(),
            ": weights: got int8 with a scale a row, which GGUF has not; ",
            "expected --weights with a type that it has");
    if (!target_) return matrix.dtype;
    return matrix.cols % BlockOf(*target_).values == 0 ? *target_ : DType::kF16;
  }

  // Asks for every tensor, so that whatever is missing, wrong or left over in the source is told
  // before a file is begun.
  void AddTensors(GgufHead& head) {
    const auto add = [&](const FileTensor& tensor, DType dtype) {
      if (tensor.first_row > 0) return;  // a part of one that is there
      ++report_.stored_types[std::string(GgufName(dtype))];
      head.AddTensor(tensor.name, dtype, tensor.shape);
    };
    DType file_type = DType::kF32;
    for (const ListedTensor& tensor : tensors_) {
      const FileTensor in_file = GgufTensorOf(checkpoint_.config(), tensor.name, tensor.shape);
      if (!tensor.matrix) {
        add(in_file, DType::kF32);
        checkpoint_.Vector(tensor.name, tensor.shape);
        continue;
      }
      const StoredMatrix matrix = checkpoint_.Matrix(tensor.name, tensor.shape[0], tensor.shape[1]);
      const DType dtype = TypeOf(tensor.name, matrix);
      if (tensor.name.ends_with("in_proj.weight") || tensor.name.ends_with("up_proj.weight")) {
        file_type = dtype;
      }
      add(in_file, dtype);
      checkpoint_.Drop(matrix);
    }
    AddMissingBiases();
    AddRopeFactors();
    for (const Extra& extra : extras_) add(extra.tensor, DType::kF32);
    AddTypeKeys(file_type, head);
  }

  // llama.cpp wants a bias of the convolution; zeros change nothing.
  void AddMissingBiases() {
    for (const ListedTensor& tensor : tensors_) {
      constexpr std::string_view kWeight = "conv1d.weight";
      if (!tensor.name.ends_with(kWeight)) continue;
      const std::string bias = tensor.name.substr(0, tensor.name.size() - 6) + "bias";
      if (std::ranges::find(tensors_, bias, &ListedTensor::name) != tensors_.end()) break;
      extras_.push_back({GgufTensorOf(checkpoint_.config(), bias, {tensor.shape[0]}),
                         std::vector<float>(static_cast<size_t>(tensor.shape[0]))});
    }
  }

  void AddRopeFactors() {
    std::vector<float> factors = GgufRopeFactors(checkpoint_.config());
    if (factors.empty()) return;
    extras_.push_back(
        {{.name = std::string(kGgufRopeFactors), .shape = {std::ssize(factors)}}, factors});
  }

  void WriteExtras(AtomicWriter& file) {
    for (const Extra& extra : extras_) {
      Write(std::as_bytes(std::span(extra.values)), file);
      Pad(file);
    }
  }

  void WriteTensor(const ListedTensor& tensor, AtomicWriter& file) {
    const RowOrder order(checkpoint_.config(), tensor.name);
    if (tensor.matrix) {
      const StoredMatrix matrix = checkpoint_.Matrix(tensor.name, tensor.shape[0], tensor.shape[1]);
      WriteMatrix(tensor.name, matrix, order, file);
      checkpoint_.Drop(matrix);
    } else {
      const std::vector<float> values = tensor.name.ends_with("A_log")
                                            ? checkpoint_.Decay(tensor.name, tensor.shape)
                                            : checkpoint_.Vector(tensor.name, tensor.shape);
      std::vector<float> ordered = values;
      for (size_t r = 0; order.changes() && r < values.size(); ++r) {
        ordered[r] = values[static_cast<size_t>(order.From(static_cast<int64_t>(r)))];
      }
      Write(std::as_bytes(std::span(ordered)), file);
    }
    // Of several matrices in one tensor only the last is filled up.
    const FileTensor in_file = GgufTensorOf(checkpoint_.config(), tensor.name, tensor.shape);
    const int64_t rows = *ElementCount(in_file.shape) / in_file.shape.back();
    if (!tensor.matrix || in_file.first_row + tensor.shape[0] == rows) Pad(file);
  }

  // Some MB of rows at a time.
  void WriteMatrix(const std::string& name, const StoredMatrix& matrix, const RowOrder& order,
                   AtomicWriter& file) {
    const DType dtype = TypeOf(name, matrix);
    const auto* const from = static_cast<const std::byte*>(matrix.data);
    if (dtype == matrix.dtype && !order.changes()) {
      return Write({from, static_cast<size_t>(matrix.bytes())}, file);
    }
    const int64_t to_row = BytesOf(dtype, matrix.cols);
    const int64_t at_once = std::max<int64_t>(1, (int64_t{4} << 20) / (4 * matrix.cols));
    std::vector<std::byte> to;
    for (int64_t begin = 0; begin < matrix.rows; begin += at_once) {
      const int64_t rows = std::min(at_once, matrix.rows - begin);
      to.resize(static_cast<size_t>(rows * to_row));
      ParallelFor(conversion_.options.threads, rows, [&](int64_t r) {
        const int64_t row = order.From(begin + r);
        if (dtype == matrix.dtype) {
          std::copy_n(from + row * to_row, to_row, to.data() + r * to_row);
        } else {
          EncodeRow(name, matrix, row, dtype, to.data() + r * to_row);
        }
      });
      Write(to, file);
    }
  }

  void EncodeRow(const std::string& name, const StoredMatrix& matrix, int64_t r, DType dtype,
                 std::byte* to) const {
    std::vector<float> row(static_cast<size_t>(matrix.cols));
    WidenRow(matrix, r, row);
    Require(Narrow(dtype, row, to), ErrorCode::kUnsupported, conversion_.model.string(), ": ", name,
            ": got a weight that ", Name(dtype), " cannot hold (too large, infinite or NaN)");
  }

  void Write(std::span<const std::byte> bytes, AtomicWriter& file) {
    constexpr size_t kPiece = size_t{16} << 20;
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(kPiece, bytes.size()))) {
      Require(conversion_.control.cancel == nullptr || !*conversion_.control.cancel,
              ErrorCode::kCancelled, "cancelled; nothing was written");
      const auto piece = bytes.first(std::min(kPiece, bytes.size()));
      file.Write(piece);
      written_ += std::ssize(piece);
      if (conversion_.control.progress) {
        conversion_.control.progress(static_cast<double>(written_) / static_cast<double>(total_));
      }
    }
  }

  void Pad(AtomicWriter& file) {
    const std::string zeros(static_cast<size_t>(GgufHead::Padded(written_) - written_), '\0');
    Write(std::as_bytes(std::span(zeros)), file);
  }

  const Conversion& conversion_;
  Checkpoint checkpoint_;
  std::vector<ListedTensor> tensors_;
  std::vector<Extra> extras_;
  std::optional<DType> target_;
  ConvertReport report_;
  int64_t total_ = 0;
  int64_t written_ = 0;
};

}  // namespace

std::span<const std::pair<const char*, DType>> GgufWeights() { return kWeights; }

ConvertReport ConvertToGguf(const Conversion& conversion) {
  return GgufConversion(conversion).Run();
}

}  // namespace pith
