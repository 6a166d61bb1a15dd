// Random weights of any shape, drawn as they are asked for: for measuring, where no file is wanted.
#ifndef PITH_LOAD_DRAWN_TENSORS_H_
#define PITH_LOAD_DRAWN_TENSORS_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "load/tensor_source.h"

namespace pith {

// Matrices are uniform with variance 1/cols, which keeps rows at the size that trained ones have;
// vectors lie in the ranges from which the published code starts training. A value depends on the
// tensor's name and its place alone. Costs a few seconds for 2.7 · 10^9 values on two threads.
class DrawnTensors : public TensorSource {
 public:
  // `dtype`: of the matrices, kF32 or kBF16.
  DrawnTensors(DType dtype, int threads);

  StoredMatrix Matrix(std::string_view name, int64_t rows, int64_t cols) override;
  std::vector<float> Vector(std::string_view name, const std::vector<int64_t>& shape) override;
  void Drop(const StoredMatrix& matrix) override;
  std::shared_ptr<const void> storage() const override;

  int64_t parameters() const { return parameters_; }  // of what was asked for so far

 private:
  struct Storage;

  const DType dtype_;
  const int threads_;
  int64_t parameters_ = 0;
  std::shared_ptr<Storage> storage_;
};

}  // namespace pith

#endif  // PITH_LOAD_DRAWN_TENSORS_H_
