#include "backends/cuda/same_bits.h"

#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 512;

__device__ int64_t FirstOf() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
constexpr int64_t kStride = int64_t{kBlocks} * kThreads;

// The finaliser of MurmurHash3 spreads the index over all bits.
__device__ uint32_t Spread(uint32_t v) {
  v = (v ^ v >> 16) * 0x85ebca6bU;
  v = (v ^ v >> 13) * 0xc2b2ae35U;
  return v ^ v >> 16;
}

__global__ void Noise(bool bf16, uint16_t* values, int64_t count) {
  for (int64_t i = FirstOf(); i < count; i += kStride) {
    const int part = static_cast<int>(Spread(static_cast<uint32_t>(i) + 1) >> 8);
    const float v = static_cast<float>(part - (1 << 23)) * 0x1p-23f * 0.99f;
    values[i] =
        bf16 ? __bfloat16_as_ushort(__float2bfloat16(v)) : __half_as_ushort(__float2half(v));
  }
}

__global__ void Compare(const uint32_t* a, const uint32_t* b, int64_t count, int* differ) {
  for (int64_t i = FirstOf(); i < count; i += kStride) {
    if (a[i] != b[i]) *differ = 1;
  }
}

}  // namespace

void FillWithNoise(const Exec& exec, DType type, uint16_t* values, int64_t count) {
  PITH_CHECK(type == DType::kBF16 || type == DType::kF16);
  Launch(exec, Noise, kBlocks, kThreads, 0, type == DType::kBF16, values, count);
}

bool AreEqual(const Exec& exec, const void* a, const void* b, int64_t bytes) {
  PITH_CHECK(bytes % 4 == 0);
  const Scratch<int> differ(exec, 1);
  exec.backend->Clear(exec.queue, differ.data(), sizeof(int));
  Launch(exec, Compare, kBlocks, kThreads, 0, static_cast<const uint32_t*>(a),
         static_cast<const uint32_t*>(b), bytes / 4, differ.data());
  int found = 0;
  exec.backend->Download(exec.queue, differ.data(), &found, sizeof(int));
  return found == 0;
}

}  // namespace pith::cuda
