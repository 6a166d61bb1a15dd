// Linear maps: activations times a prepared weight matrix, transposed.
#ifndef PITH_OPS_LINEAR_H_
#define PITH_OPS_LINEAR_H_

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"

namespace pith {

// out = x wᵀ + bias. x [rows, in], w [out, in] as the backend prepared it, bias [out] or empty, out
// [rows, out]; x and out may be strided, and must not overlap.
//
// Precision kF32: products of f32 activations and widened weights, f32 sums. kBF16, kF16:
// activations and weights rounded to it, f32 sums. Quantised weights, in any precision on the host
// (elsewhere they are widened when prepared): weights as WidenRow gives them, activations rounded
// by groups of 32 columns as QuantiseActivations (core/quantise.h) does. A row's result does not
// depend on the number of rows or on the other rows, to the last bit.
void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out);

// The same product for decode steps, where few rows make it bound by reading the weights once.
// May sum in another order than Linear, so the two agree to rounding; row-invariant likewise.
void LinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                VecView<const float> bias, MatView<float> out);

}  // namespace pith

#endif  // PITH_OPS_LINEAR_H_
