// Moving and adding rows: bound by memory.
#include "ops/rows.h"

#include <algorithm>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = 4 * kThreads;  // columns a block: only blocks divide by their number

// out[r, c] = fn(r, c). Each thread reads what it writes, so out may be one of the inputs.
template <class Fn>
__global__ void EachElement(Fn fn, Rows<float> out, int64_t cols, unsigned pieces) {
  const int64_t row = blockIdx.x / pieces;
  const int64_t begin = blockIdx.x % pieces * kPiece;
  const int64_t end = min(cols, begin + kPiece);
  for (int64_t c = begin + threadIdx.x; c < end; c += kThreads) out[row][c] = fn(row, c);
}

template <class Fn>
void ForEach(const Exec& exec, const Fn& fn, MatView<float> out) {
  const unsigned pieces = Blocks(out.cols, kPiece);
  Launch(exec, EachElement<Fn>, Blocks(out.rows * pieces, 1), kThreads, 0, fn, out, out.cols,
         pieces);
}

__device__ void Add(float& v, float other) { v = __fadd_rn(v, other); }
__device__ void Add(float4& v, const float4& other) {
  Add(v.x, other.x);
  Add(v.y, other.y);
  Add(v.z, other.z);
  Add(v.w, other.w);
}

struct Clipped {
  Rows<const float> in;
  __device__ float operator()(int64_t r, int64_t c) const {
    const float v = in[r][c];
    return v < 0 ? 0 : v;  // NaN and −0 stay
  }
};

struct Scaled {
  Rows<const float> in;
  float factor;
  __device__ float operator()(int64_t r, int64_t c) const { return factor * in[r][c]; }
};

struct Picked {
  Rows<const float> a;
  const int64_t* a_rows;
  __device__ float operator()(int64_t r, int64_t c) const { return a[a_rows[r]][c]; }
};

struct PickedAndAdded {
  Rows<const float> a;
  const int64_t* a_rows;
  Rows<const float> b;
  const int64_t* b_rows;
  __device__ float operator()(int64_t r, int64_t c) const {
    return __fadd_rn(a[a_rows[r]][c], b[b_rows[r]][c]);
  }
};

// out = a, or a + b, of `rows` or, where that is null, of all; a block a row. V is a float or four.
template <class V>
__global__ void TakeKernel(Rows<const float> a, Rows<const float> b, const int32_t* rows,
                           Rows<float> out, int64_t cols) {
  const int64_t from = rows != nullptr ? rows[blockIdx.x] : blockIdx.x;
  const V* const left = reinterpret_cast<const V*>(a[from]);
  const V* const right = reinterpret_cast<const V*>(b.data == nullptr ? nullptr : b[from]);
  V* const to = reinterpret_cast<V*>(out[blockIdx.x]);
  for (int64_t c = threadIdx.x; c < cols; c += blockDim.x) {
    V v = left[c];
    if (right != nullptr) Add(v, right[c]);
    to[c] = v;
  }
}

bool InFours(const MatView<const float>& m) {
  return m.cols % 4 == 0 && m.stride % 4 == 0 && reinterpret_cast<uintptr_t>(m.data) % 16 == 0;
}

void Take(const Exec& exec, MatView<const float> a, MatView<const float> b, const int32_t* rows,
          MatView<float> out) {
  const bool fours = InFours(a) && InFours(out) && (b.empty() || InFours(b));
  const int64_t cols = fours ? out.cols / 4 : out.cols;
  const unsigned threads = std::min(Blocks(cols, 32) * 32, unsigned{kThreads});
  Launch(exec, fours ? TakeKernel<float4> : TakeKernel<float>, static_cast<unsigned>(out.rows),
         threads, 0, a, b, rows, out, cols);
}

}  // namespace

void CopyRows(const Exec& exec, MatView<const float> in, MatView<float> out) {
  Take(exec, in, {}, nullptr, out);
}

void AddRows(const Exec& exec, MatView<const float> a, MatView<const float> b, MatView<float> out) {
  Take(exec, a, b, nullptr, out);
}

void ClipRows(const Exec& exec, MatView<const float> in, MatView<float> out) {
  ForEach(exec, Clipped{in}, out);
}

void ScaleRows(const Exec& exec, MatView<const float> in, float factor, MatView<float> out) {
  ForEach(exec, Scaled{in, factor}, out);
}

void GatherRows(const Exec& exec, const GatherRowsArgs& args) {
  const int64_t* const a_rows = Place(exec, args.a_rows);
  if (args.b.empty()) {
    ForEach(exec, Picked{args.a, a_rows}, args.out);
  } else {
    ForEach(exec, PickedAndAdded{args.a, a_rows, args.b, Place(exec, args.b_rows)}, args.out);
  }
}

void TakeRows(const Exec& exec, const TakeRowsArgs& args) {
  Take(exec, args.a, args.b, args.rows.data, args.out);
}

}  // namespace pith::cuda
