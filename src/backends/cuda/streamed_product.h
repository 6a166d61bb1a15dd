// Products of few rows with a weight that streams through shared memory, joined with the norm in
// front of them and the residual addition after them. For GPUs with bulk copies.
#ifndef PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_
#define PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_

#include "backends/cuda/product.h"
#include "ops/compact_rows.h"
#include "ops/norm.h"

namespace pith::cuda {

struct StreamedProductArgs {
  ProductArgs product;  // out is f32
  // With `add`, each row of the product times its factor is added to out. Factors are those of
  // `factors`, whose data is not read.
  bool add = false;
  CompactRows factors;
  // With `add`: [rows, StreamedSquares] or empty. Receives AddNormArgs::squares of out.
  MatView<float> squares;
  // Or null. Where given, the product's x is this norm's output, rounded: `product` has none.
  const AddNormArgs* norm = nullptr;
};

// Whether StreamedProduct takes a weight with so many columns on this GPU.
bool TakesStreamedProduct(const Exec& exec, const WeightView& w);

// Whether it takes this norm in front: one whose squares are there, and which adds nothing.
bool TakesStreamedNorm(const Exec& exec, const AddNormArgs& norm, const WeightView& w);

// Parts of a row's squares that a product with this weight leaves, a multiple of 4. They depend on
// the GPU, too: each multiprocessor makes one, or each two that share a sum.
int64_t StreamedSquares(const Exec& exec, const WeightView& w);

// f32 sums in an order that depends on the weight's shape alone, but for the norm's, which has the
// order of its squares' parts.
void StreamedProduct(const Exec& exec, const StreamedProductArgs& args);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_
