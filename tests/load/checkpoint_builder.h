// Builds checkpoints byte by byte, so that tests can also build wrong ones. Tensor names are
// written out here, not taken from the code under test.
#ifndef PITH_TESTS_LOAD_CHECKPOINT_BUILDER_H_
#define PITH_TESTS_LOAD_CHECKPOINT_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"

namespace pith::testing {

struct TestTensor {
  std::string name;
  std::string dtype;  // safetensors' spelling
  std::vector<int64_t> shape;
  std::string bytes;
};

// Element i of every test tensor of this name: a multiple of 1/16 in [-1, 1), exact in all dtypes.
float TestValue(std::string_view name, int64_t i);
TestTensor MakeTensor(std::string name, DType dtype, std::vector<int64_t> shape);

// A tiny model: its config.json and its tensors, in mixed dtypes.
struct TestModel {
  std::string config;
  std::vector<TestTensor> tensors;
  TestTensor& Find(std::string_view name);
};
TestModel SsmMamba1();  // tied, d_model 8, 2 layers
TestModel SsmMamba2();  // tied, 2 groups, 4 heads of 4
TestModel HfMamba2();   // untied, biases
TestModel HfFalcon();   // tied

std::string SafetensorsBytes(const std::vector<TestTensor>& tensors);
// A safetensors file of this header and data.
std::string SafetensorsFile(std::string_view header, std::string_view data);

struct ZipEntry {
  std::string name;
  std::string bytes;
  uint16_t method = 0;
  uint16_t flags = 0;
};
struct ZipStyle {
  bool zip64 = false;         // zip64 records, and sizes in zip64 extra fields
  bool sizes_follow = false;  // data descriptors: no sizes in local headers, as torch writes
};
std::string ZipBytes(const std::vector<ZipEntry>& entries, const ZipStyle& style = {});

// Pieces of a pickle as torch.save writes it.
std::string PickleString(std::string_view text);
std::string PickleInt(int64_t value);
std::string PickleTuple(const std::vector<int64_t>& numbers);
std::string PickleTensor(std::string_view storage_type, std::string_view key, int64_t elements,
                         int64_t offset, const std::vector<int64_t>& shape,
                         const std::vector<int64_t>& strides);
std::string PickleStateDict(const std::vector<std::pair<std::string, std::string>>& tensors);

std::vector<ZipEntry> TorchBinEntries(const std::vector<TestTensor>& tensors);
std::string TorchBinBytes(const std::vector<TestTensor>& tensors);

// A directory that is gone when the test is over.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  void Write(const std::string& name, std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

// The bytes in a heap block of their very size, so that a sanitizer sees any step outside.
std::vector<std::byte> ToBytes(std::string_view text);

// Calls `check` with every truncation and with every byte changed in several ways.
void ForEachDamage(const std::string& bytes, const std::function<void(const std::string&)>& check);

// The message of the pith::Error that `call` throws; fails the test if it throws none.
std::string ErrorOf(const std::function<void()>& call);

}  // namespace pith::testing

#endif  // PITH_TESTS_LOAD_CHECKPOINT_BUILDER_H_
