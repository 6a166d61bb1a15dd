// Tensor-core products of many rows with a weight, by cuBLASLt.
#ifndef PITH_BACKENDS_CUDA_PRODUCT_H_
#define PITH_BACKENDS_CUDA_PRODUCT_H_

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"

namespace pith::cuda {

// out = x wᵀ + bias. All 16-byte aligned, strides in elements and multiples of 8 (4 for f32).
struct ProductArgs {
  const void* x = nullptr;  // [rows, w.cols] of w's dtype, bf16 or f16; StepProduct: or f32
  bool x_f32 = false;
  int64_t x_stride = 0;
  int64_t rows = 0;
  WeightView w;
  VecView<const float> bias;  // [w.rows] or empty
  void* out = nullptr;        // [rows, w.rows] of out_type
  int64_t out_stride = 0;
  DType out_type = DType::kF32;
  // Product, where ReadsE4M3: x is e4m3 already, contiguous, and these are the scales of its rows.
  const float* x_scales = nullptr;
};

// One algorithm a weight, without splits of the sum, so that a row's bits depend on that row alone.
// With exec.fp8, a weight that has e4m3 and a slice of whole eights of it: x is rounded to e4m3
// too, each row with a scale of its own.
void Product(const Exec& exec, const ProductArgs& args);

// Whether it does so. Reads exec and the weight alone.
bool ReadsE4M3(const Exec& exec, const ProductArgs& args);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_PRODUCT_H_
