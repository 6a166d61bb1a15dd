// Rows in 16 bits around a mixer's products.
#ifndef PITH_BACKENDS_CUDA_NORM16_CUH_
#define PITH_BACKENDS_CUDA_NORM16_CUH_

#include "backends/cuda/product.h"
#include "core/exec.h"
#include "ops/compact_rows.h"
#include "ops/norm.h"

namespace pith::cuda {

inline constexpr int64_t kWidestNorm = 8192;

// args.norm of args.x plus args.add or `compact`, rounded to T, contiguous. RMSNorm alone; d_model
// is a multiple of 4, at most kWidestNorm.
template <class T>
void AddNormRounded(const Exec& exec, const AddNormArgs& args, const CompactRows& compact, T* out);

// The same and its Product: of `product` all but x, which becomes `normed`, scratch of T [rows,
// d_model]. Where the product reads e4m3 the norm rounds to it.
template <class T>
void AddNormProduct(const Exec& exec, const AddNormArgs& args, const CompactRows& compact,
                    ProductArgs product, T* normed);

// out[i] = factor(row) · rows[row, …] in f32, row = wanted[i], or i where `wanted` is null.
template <class T>
void WidenRows(const Exec& exec, const CompactRows& rows, const int64_t* wanted,
               MatView<float> out);

// h[i] *= factor(row) with the factors of `rows`, row as above.
void ScaleRows(const Exec& exec, const CompactRows& rows, const int64_t* wanted, MatView<float> h);

// Some columns of 16-bit rows in f32; some rows of them as they are.
template <class T>
void WidenColumns(const Exec& exec, const T* from, int64_t stride, MatView<float> out);
template <class T>
void GatherRounded(const Exec& exec, const T* from, const int64_t* wanted, int64_t rows,
                   int64_t cols, T* out);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_NORM16_CUH_
