// Tensor-core products of few rows with a weight, bound by reading the weight once.
#ifndef PITH_BACKENDS_CUDA_STEP_PRODUCT_H_
#define PITH_BACKENDS_CUDA_STEP_PRODUCT_H_

#include "backends/cuda/product.h"

namespace pith::cuda {

// Whether StepProduct takes a weight of this shape.
bool TakesStepProduct(const WeightView& w);

// As Product, with f32 sums in an order that depends on the weight's shape alone. out is f32.
void StepProduct(const Exec& exec, const ProductArgs& args);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_STEP_PRODUCT_H_
