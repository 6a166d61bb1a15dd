// Where a model's tensors come from. Whoever needs one says its name and its shape.
#ifndef PITH_LOAD_TENSOR_SOURCE_H_
#define PITH_LOAD_TENSOR_SOURCE_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/weight.h"

namespace pith {

// Names are mamba_ssm's, such as "backbone.layers.3.mixer.in_proj.weight", whatever the file calls
// them. A tensor that is missing, or has another shape or a dtype that no weight has, throws.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual StoredMatrix Matrix(std::string_view name, int64_t rows, int64_t cols) = 0;
  // Widened to f32, row-major.
  virtual std::vector<float> Vector(std::string_view name, const std::vector<int64_t>& shape) = 0;
  // A of a state space system, below 0: −exp of the tensor A_log of this name, or as the file has
  // it.
  virtual std::vector<float> Decay(std::string_view name, const std::vector<int64_t>& shape) {
    std::vector<float> a = Vector(name, shape);
    for (float& value : a) value = -std::exp(value);
    return a;
  }
  // The matrix will not be read again: the memory behind it may be given back.
  virtual void Drop(const StoredMatrix& matrix) = 0;
  // The same of some rows of a matrix that is still to be dropped: pages of a file may go.
  virtual void DropPart(const StoredMatrix& /*rows*/) {}
  // Keeps every matrix that was not dropped readable.
  virtual std::shared_ptr<const void> storage() const = 0;
};

}  // namespace pith

#endif  // PITH_LOAD_TENSOR_SOURCE_H_
