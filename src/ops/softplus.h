// The step size's nonlinearity, for every scalar code; backends/cpu/math-inl.h has it in vectors.
#ifndef PITH_OPS_SOFTPLUS_H_
#define PITH_OPS_SOFTPLUS_H_

#include <algorithm>
#include <cmath>

namespace pith {

// log(1 + eᵛ) in T's precision, without overflow and without cancellation at either end.
template <class T>
T Softplus(T v) {
  return std::max(v, T{0}) + std::log1p(std::exp(-std::abs(v)));
}

}  // namespace pith

#endif  // PITH_OPS_SOFTPLUS_H_
