// Products of few rows with a weight that streams through shared memory, joined with the residual
// addition after them. For GPUs with bulk copies.
#ifndef PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_
#define PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_

#include "backends/cuda/product.h"
#include "ops/mamba2_mixer.h"

namespace pith::cuda {

struct StreamedProductArgs {
  ProductArgs product;  // out is f32
  // With `add`, each row of the product times its factor is added to out. Factors are those of
  // `factors`, whose data is not read.
  bool add = false;
  CompactRows factors;
};

// Whether StreamedProduct takes a weight with so many columns on this GPU.
bool TakesStreamedProduct(const Exec& exec, const WeightView& w);

// f32 sums in an order that depends on the weight's shape alone.
void StreamedProduct(const Exec& exec, const StreamedProductArgs& args);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_STREAMED_PRODUCT_H_
