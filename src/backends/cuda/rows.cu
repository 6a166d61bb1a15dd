// Moving and adding rows: bound by memory.
#include "ops/rows.h"

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

struct Copied {
  Rows<const float> in;
  __device__ float operator()(int64_t r, int64_t c) const { return in[r][c]; }
};

struct Added {
  Rows<const float> a, b;
  __device__ float operator()(int64_t r, int64_t c) const { return __fadd_rn(a[r][c], b[r][c]); }
};

struct Clipped {
  Rows<const float> in;
  __device__ float operator()(int64_t r, int64_t c) const {
    const float v = in[r][c];
    return v < 0 ? 0 : v;  // NaN and −0 stay
  }
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

}  // namespace

void CopyRows(const Exec& exec, MatView<const float> in, MatView<float> out) {
  ForEach(exec, Copied{in}, out);
}

void AddRows(const Exec& exec, MatView<const float> a, MatView<const float> b, MatView<float> out) {
  ForEach(exec, Added{a, b}, out);
}

void ClipRows(const Exec& exec, MatView<const float> in, MatView<float> out) {
  ForEach(exec, Clipped{in}, out);
}

void GatherRows(const Exec& exec, const GatherRowsArgs& args) {
  const int64_t* const a_rows = Place(exec, args.a_rows);
  if (args.b.empty()) {
    ForEach(exec, Picked{args.a, a_rows}, args.out);
  } else {
    ForEach(exec, PickedAndAdded{args.a, a_rows, args.b, Place(exec, args.b_rows)}, args.out);
  }
}

}  // namespace pith::cuda
