// Products of few rows with a weight that streams through shared memory, joined with the norm
// before them and the residual addition after them. For GPUs with bulk copies.
#ifndef PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_
#define PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_

#include "backends/cuda/product.h"
#include "ops/mamba2_mixer.h"

namespace pith::cuda {

struct StreamedProductArgs {
  ProductArgs product;  // out is f32
  // With `norm`, the product is of x's rows, f32, behind an RMSNorm; their squares are known.
  RowSquares norm;
  VecView<const float> norm_weight;
  float norm_eps = 0;
  // With `add`, each row of the product times its factor is added to out, and `added_squares` gets
  // the squares of what is out then. Factors are those of `factors`, whose data is not read.
  bool add = false;
  CompactRows factors;
  MatView<float> added_squares;  // [rows, at least StreamedParts(exec, w)] or empty
};

// Whether StreamedProduct takes a weight with so many columns on this GPU.
bool TakesStreamedProduct(const Exec& exec, const WeightView& w);
// In how many parts added_squares has a row's squares.
int64_t StreamedParts(const Exec& exec, const WeightView& w);

// f32 sums in an order that depends on the weight's shape alone.
void StreamedProduct(const Exec& exec, const StreamedProductArgs& args);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_
