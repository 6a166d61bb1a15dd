// A checkpoint, a directory or a GGUF file, as a source of tensors: every one is checked against
// what the model asks for, and none may be left over.
#ifndef PITH_LOAD_CHECKPOINT_H_
#define PITH_LOAD_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "load/checkpoint_files.h"
#include "load/file_names.h"
#include "load/model_config.h"
#include "load/tensor_source.h"

namespace pith {

struct LoadOptions {
  // Scans all weights for NaN and infinity, which reads the files once.
  bool verify_finite = true;
  int threads = 2;  // for the scan
};

// Matrices stay where they lie in the mapped files, in the files' dtypes (F32, F16, BF16 and
// quantised ones, mixed at will); the mappings are private, and nobody may truncate the files
// meanwhile. Messages name file, tensor, what it is and what it should be: kNotFound, kIo,
// kCorruptData, kUnsupported.
class Checkpoint : public TensorSource {
 public:
  // Reads config.json and opens the weights beside it, or reads a GGUF file.
  explicit Checkpoint(const std::filesystem::path& path, const LoadOptions& options = {});

  const ModelConfig& config() const { return config_; }

  StoredMatrix Matrix(std::string_view name, int64_t rows, int64_t cols) override;
  std::vector<float> Vector(std::string_view name, const std::vector<int64_t>& shape) override;
  std::vector<float> Decay(std::string_view name, const std::vector<int64_t>& shape) override;
  void Drop(const StoredMatrix& matrix) override;
  void DropPart(const StoredMatrix& rows) override;
  std::shared_ptr<const void> storage() const override { return storage_; }

  // Throws where a tensor of the files was not asked for. A tied model may store its head as well,
  // as state-spaces' .bin files do, if it equals the embedding byte for byte: otherwise config and
  // weights contradict each other and neither reading is safe to choose.
  void Finish();

  int64_t parameters() const { return parameters_; }
  // How many tensors the files hold of each type, among those that were asked for.
  const std::map<std::string, int64_t>& stored_types() const { return stored_types_; }
  // One for each tensor that holds NaN or infinity, with their number, in the order of the names.
  std::vector<std::string> warnings() const;
  int64_t copied_bytes() const { return copied_bytes_; }  // of tensors misaligned or with strides

 private:
  struct Storage;

  void OpenFile();
  void OpenDirectory();
  std::string_view config_name() const;  // for messages
  void MakeContiguous(StoredTensor& tensor);
  static std::vector<float> Widened(const StoredTensor& tensor, std::string_view name);
  const float* RowScales(std::string_view name, int64_t rows);
  // The tensor of a name in the file, checked against its shape there.
  const StoredTensor& Find(const FileTensor& wanted);
  void CheckTiedHead();
  void CheckFinite(std::string_view name, const StoredTensor& tensor);

  std::filesystem::path path_;
  LoadOptions options_;
  ModelConfig config_;
  TensorTable tensors_;
  std::shared_ptr<Storage> storage_;
  std::set<std::string, std::less<>> used_;
  std::map<std::string, std::string, std::less<>> warnings_;
  std::map<std::string, int64_t> stored_types_;
  int64_t parameters_ = 0;
  int64_t copied_bytes_ = 0;
};

}  // namespace pith

#endif  // PITH_LOAD_CHECKPOINT_H_
