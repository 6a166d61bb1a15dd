// A model made from a checkpoint, and what it asked the checkpoint for.
#ifndef TESTS_MODEL_RECORDED_MODEL_H_
#define TESTS_MODEL_RECORDED_MODEL_H_

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "load/checkpoint.h"
#include "model/model.h"
#include "tests/load/checkpoint_builder.h"

namespace pith::testing {

// Passes on what a model asks for, and keeps it by mamba_ssm's names. On the reference backend
// matrices stay where the checkpoint has them.
class RecordedModel : public TensorSource {
 public:
  explicit RecordedModel(const std::filesystem::path& directory, const LoadOptions& options = {})
      : checkpoint(directory, options) {
    model = std::make_unique<Model>(ExecOn(Device::kReference), checkpoint.config(), *this);
    checkpoint.Finish();
  }

  StoredMatrix Matrix(std::string_view name, int64_t rows, int64_t cols) override {
    return matrices[std::string(name)] = checkpoint.Matrix(name, rows, cols);
  }
  std::vector<float> Vector(std::string_view name, const std::vector<int64_t>& shape) override {
    return vectors[std::string(name)] = checkpoint.Vector(name, shape);
  }
  std::vector<float> Decay(std::string_view name, const std::vector<int64_t>& shape) override {
    vectors[std::string(name)] = checkpoint.Vector(name, shape);
    return checkpoint.Decay(name, shape);
  }
  void Drop(const StoredMatrix& matrix) override { checkpoint.Drop(matrix); }
  std::shared_ptr<const void> storage() const override { return checkpoint.storage(); }

  // `stored`: the name under which the values were written, where it is another one.
  void ExpectMatrix(const std::string& name, DType dtype, int64_t rows, int64_t cols,
                    std::string stored = "") {
    if (stored.empty()) stored = name;
    ASSERT_TRUE(matrices.contains(name)) << name;
    const StoredMatrix& matrix = matrices[name];
    EXPECT_EQ(matrix.dtype, dtype) << name;
    ASSERT_EQ(matrix.rows, rows) << name;
    ASSERT_EQ(matrix.cols, cols) << name;
    VisitFloat(dtype, [&]<class T>() {
      const T* data = static_cast<const T*>(matrix.data);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % alignof(T), 0u) << name;
      for (int64_t i = 0; i < rows * cols; ++i) ASSERT_EQ(ToFloat(data[i]), TestValue(stored, i));
    });
  }
  void ExpectVector(const std::string& name, int64_t size) {
    ASSERT_TRUE(vectors.contains(name)) << name;
    ASSERT_EQ(std::ssize(vectors[name]), size) << name;
    for (int64_t i = 0; i < size; ++i) ASSERT_EQ(vectors[name][i], TestValue(name, i)) << name;
  }

  Checkpoint checkpoint;
  std::map<std::string, StoredMatrix> matrices;
  std::map<std::string, std::vector<float>> vectors;
  std::unique_ptr<Model> model;
};

}  // namespace pith::testing

#endif  // TESTS_MODEL_RECORDED_MODEL_H_
