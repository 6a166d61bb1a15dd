// What the kernels of WriteKv and Attention share.
#ifndef PITH_BACKENDS_CUDA_ATTENTION_CUH_
#define PITH_BACKENDS_CUDA_ATTENTION_CUH_

#include <cstdint>
#include <span>
#include <vector>

#include "backends/cuda/gpu.h"
#include "ops/attention.h"

namespace pith::cuda {

// The keys and values of a sequence.
struct PlacedPages {
  float* const* pages;
  int64_t rows;

  __host__ __device__ int64_t count() const { return (rows + kKvPageRows - 1) / kKvPageRows; }
};

// One a segment: the lists of all in one array of device memory.
inline std::vector<PlacedPages> PlacePages(const Exec& exec, std::span<const KvPages> kv) {
  std::vector<float*> all;
  std::vector<PlacedPages> placed;
  for (const KvPages& one : kv) {
    const PlacedPages counted = {nullptr, one.rows};
    all.insert(all.end(), one.pages.begin(), one.pages.begin() + counted.count());
  }
  float* const* at = Place(exec, std::span<float* const>(all));
  for (const KvPages& one : kv) {
    placed.push_back({at, one.rows});
    at += placed.back().count();
  }
  return placed;
}

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_ATTENTION_CUH_
