// Linear maps: which kernel multiplies at which precision, and tensor-core products by cuBLASLt.
#include <algorithm>
#include <type_traits>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/product.h"
#include "backends/cuda/step_product.h"

namespace pith::cuda {
namespace {

// out = x rounded to T, contiguous; in T's 16 bits or widened again.
template <class T, class Out>
__global__ void RoundElements(Rows<const float> x, int64_t rows, int64_t cols, Out* out) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int64_t i = first; i < rows * cols; i += step) {
    const T rounded = T(x[i / cols][i % cols]);
    if constexpr (std::is_same_v<Out, float>) {
      out[i] = static_cast<float>(rounded);
    } else {
      reinterpret_cast<T*>(out)[i] = rounded;
    }
  }
}

template <class Out>
void Round(const Exec& exec, MatView<const float> x, DType type, Out* out) {
  const auto kernel =
      type == DType::kBF16 ? RoundElements<__nv_bfloat16, Out> : RoundElements<__half, Out>;
  constexpr int kThreads = 256;
  Launch(exec, kernel, std::min(Blocks(x.rows * x.cols, kThreads * 4), 65535u), kThreads, 0,
         Rows<const float>(x), x.rows, x.cols, out);
}

// Whether rows may be read and written 16 bytes at a time.
bool Aligned(const MatView<const float>& m) {
  return m.stride % 4 == 0 && reinterpret_cast<uintptr_t>(m.data) % 16 == 0;
}

}  // namespace

void RoundRows(const Exec& exec, MatView<const float> x, DType type, uint16_t* to) {
  Round(exec, x, type, to);
}

void LinearTensor(const Exec& exec, MatView<const float> x, const WeightView& w,
                  VecView<const float> bias, MatView<float> out, bool step) {
  if (out.empty()) return;
  ProductArgs product{.x = x.data,
                      .x_f32 = true,
                      .x_stride = x.stride,
                      .rows = x.rows,
                      .w = w,
                      .bias = bias,
                      .out = out.data,
                      .out_stride = out.stride,
                      .out_type = DType::kF32};
  if (step && TakesStepProduct(w) && Aligned(x)) return StepProduct(exec, product);
  if (!step && w.cols % 8 == 0 && Aligned(out)) {
    const Scratch<uint16_t> rounded(exec, x.rows * x.cols);
    RoundRows(exec, x, w.dtype, rounded.data());
    product.x = rounded.data();
    product.x_f32 = false;
    product.x_stride = x.cols;
    return Product(exec, product);
  }
  // Products of 16-bit numbers are exact in f32.
  const Scratch<float> rounded(exec, x.rows * x.cols);
  Round(exec, x, w.dtype, rounded.data());
  (step ? LinearStepF32 : LinearF32)(exec, {rounded.data(), x.rows, x.cols}, w, bias, out);
}

void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out) {
  if (exec.precision == Precision::kF32) return LinearF32(exec, x, w, bias, out);
  LinearTensor(exec, x, w, bias, out, /*step=*/false);
}

void LinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                VecView<const float> bias, MatView<float> out) {
  if (exec.precision == Precision::kF32) return LinearStepF32(exec, x, w, bias, out);
  LinearTensor(exec, x, w, bias, out, /*step=*/true);
}

}  // namespace pith::cuda
