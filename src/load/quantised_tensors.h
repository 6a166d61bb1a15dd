// A source of tensors whose matrices of products are rounded to few bits as they are asked for.
#ifndef PITH_LOAD_QUANTISED_TENSORS_H_
#define PITH_LOAD_QUANTISED_TENSORS_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "load/tensor_source.h"

namespace pith {

// kInt8: in_proj, out_proj, x_proj, the projections of attention, MLPs and experts, and the head,
// which may be the embedding too, become kI8. kInt4: the same, but that all of them but x_proj and
// the head become Q4_0. What stays as stored either way: an
// embedding that is no head, of which a token reads one row; dt_proj, whose few columns set Δ;
// routers; and vectors.
enum class WeightsAs : uint8_t { kStored, kInt8, kInt4 };

class QuantisedTensors : public TensorSource {
 public:
  // `inner` outlives this and its storage. `tied`: the embedding is the head.
  QuantisedTensors(TensorSource& inner, WeightsAs as, bool tied, int threads);

  // Throws kUnsupported for a matrix of products that is quantised as it is stored, or whose
  // columns are no whole groups; kCorruptData for one that holds NaN, infinity or, in kInt4, a
  // value that no f16 scale reaches.
  StoredMatrix Matrix(std::string_view name, int64_t rows, int64_t cols) override;
  std::vector<float> Vector(std::string_view name, const std::vector<int64_t>& shape) override {
    return inner_.Vector(name, shape);
  }
  std::vector<float> Decay(std::string_view name, const std::vector<int64_t>& shape) override {
    return inner_.Decay(name, shape);
  }
  void Drop(const StoredMatrix& matrix) override;
  void DropPart(const StoredMatrix& rows) override;
  std::shared_ptr<const void> storage() const override { return storage_; }

 private:
  struct Storage;

  // kF32: stays as stored.
  DType TypeOf(std::string_view name) const;

  TensorSource& inner_;
  const WeightsAs as_;
  const bool tied_;
  const int threads_;
  std::shared_ptr<Storage> storage_;
};

}  // namespace pith

#endif  // PITH_LOAD_QUANTISED_TENSORS_H_
