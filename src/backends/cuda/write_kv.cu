// WriteKv: a block a row. Keys are written across the page's rows: neighbouring blocks, which run
// at the same time, fill its sectors.
#include "backends/cuda/attention.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;

struct WriteView {
  KvPageLayout layout;
  Rows<const float> k, v;
  const int32_t* positions;
};

// Rows from `from` on → those from `to` on of the sequence.
__global__ void WriteKvKernel(WriteView args, PlacedPages kv, int64_t from, int64_t to) {
  const int64_t row = from + blockIdx.x, at = (to + blockIdx.x) % kKvPageRows;
  const int64_t head_dim = args.layout.head_dim, width = args.layout.n_kv_heads * head_dim;
  float* const page = kv.pages[(to + blockIdx.x) / kKvPageRows];
  float* const keys = page + kKvPageRows + at;
  float* const values = page + kKvPageRows * (1 + width);
  if (threadIdx.x == 0) reinterpret_cast<int32_t*>(page)[at] = args.positions[row];
  for (int64_t c = threadIdx.x; c < width; c += kThreads) {
    keys[c * kKvPageRows] = args.k[row][c];
    const int64_t head = c / head_dim;
    values[(head * kKvPageRows + at) * head_dim + c - head * head_dim] = args.v[row][c];
  }
}

}  // namespace

void WriteKv(const Exec& exec, const WriteKvArgs& args) {
  const std::vector<PlacedPages> kv = PlacePages(exec, args.kv);
  const WriteView view = {args.layout, args.k, args.v, Place(exec, args.positions)};
  for (size_t s = 0; s < args.segments.size(); ++s) {
    const Segment segment = args.segments[s];
    Launch(exec, WriteKvKernel, static_cast<unsigned>(segment.count), kThreads, 0, view, kv[s],
           segment.begin, kv[s].rows - segment.count);
  }
}

}  // namespace pith::cuda
