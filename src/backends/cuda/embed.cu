// Embed: a block gathers and widens a row.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void EmbedKernel(const T* table, const int32_t* ids, int64_t cols, Rows<float> out) {
  const T* const row = table + ids[blockIdx.x] * cols;
  float* const to = out[blockIdx.x];
  for (int64_t j = threadIdx.x; j < cols; j += kThreads) to[j] = Widen(row[j]);
}

}  // namespace

void Embed(const Exec& exec, const WeightView& table, std::span<const int32_t> ids,
           MatView<float> out) {
  PITH_CHECK(table.format == WeightFormat::kRows);
  if (out.empty()) return;
  const int32_t* const placed = Place(exec, ids);
  const bool apart = table.exact != nullptr;
  VisitFloat(apart ? table.exact_dtype : table.dtype, [&]<class T>() {
    const T* const first =
        static_cast<const T*>(apart ? table.exact : table.data) + table.first * table.cols;
    Launch(exec, EmbedKernel<T>, static_cast<unsigned>(out.rows), kThreads, 0, first, placed,
           table.cols, out);
  });
}

}  // namespace pith::cuda
