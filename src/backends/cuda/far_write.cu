// FarWrite: B for the groups first, then x and its writes for the heads. Neighbours that need the
// same chunks are one band: their channels are projected, convolved and written together, run by
// run of needed rows, in blocks of rows that bound the scratch.
#include "ops/far_write.h"

#include <algorithm>
#include <vector>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlockRows = 4096;

// The tile of a state that a block writes, and how many rows at a time.
constexpr int kStates = 64;
constexpr int kWidth = 32;
constexpr int kRows = 16;
constexpr int kWriteThreads = kStates * kWidth / 16;  // 4 × 4 cells a thread

// Heads or groups [first, first + count) with the same needed chunks.
struct Band {
  int64_t first;
  int64_t count;
  std::vector<RowRun> runs;
};

// needed [count · chunks].
std::vector<Band> Bands(const FarRegion& region, std::span<const uint8_t> needed) {
  const size_t chunks = CountChunks(region);
  std::vector<Band> bands;
  for (size_t i = 0; i * chunks < needed.size(); ++i) {
    const auto mask = needed.subspan(i * chunks, chunks);
    if (i > 0 && std::ranges::equal(mask, needed.subspan((i - 1) * chunks, chunks))) {
      ++bands.back().count;
    } else {
      bands.push_back({static_cast<int64_t>(i), 1, NeededRuns(region, mask)});
    }
  }
  return bands;
}

// fn(rows) for the blocks of a band's runs, in ascending order.
template <class Fn>
void ForBlocks(const Band& band, const Fn& fn) {
  for (const RowRun& run : band.runs) {
    for (int64_t begin = run.begin; begin < run.end; begin += kBlockRows) {
      fn(RowRun{begin, std::min(run.end, begin + kBlockRows)});
    }
  }
}

// Of a vector that may be empty.
VecView<const float> Part(VecView<const float> v, int64_t begin, int64_t count) {
  return v.empty() ? v : v.Part(begin, count);
}

struct Convolution {
  Rows<const float> in;  // of the far rows from `from` on
  int64_t from;
  int64_t begin;       // the first row of the output
  const float* state;  // [taps, channels], of all channels
  int64_t taps, channels, channel;
  const float* weight;  // of the channels at hand
  const float* bias;    // or null
};

// out [rows, cols] = the channels after convolution and SiLU, the sum in the order of the taps.
__global__ void Convolve(Convolution conv, Rows<float> out, int64_t cols, unsigned pieces) {
  const int64_t row = blockIdx.x / pieces;
  const int64_t c = blockIdx.x % pieces * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (c >= cols) return;
  float sum = conv.bias != nullptr ? conv.bias[c] : 0;
  for (int64_t k = 0; k <= conv.taps; ++k) {
    const int64_t t = conv.begin + row - conv.taps + k;
    const float in = t >= 0 ? conv.in[t - conv.from][c]
                            : conv.state[(conv.taps + t) * conv.channels + conv.channel + c];
    sum = fmaf(conv.weight[c * (conv.taps + 1) + k], in, sum);
  }
  out[row][c] = sum * Sigmoid(sum);
}

// out = the convolution's inputs, channels [channel, channel + out.cols), of rows [begin, …).
void ProjectChannels(const Exec& exec, const FarWriteArgs& args, int64_t begin, int64_t channel,
                     MatView<float> out) {
  cuda::Linear(exec, args.rows.Rows(begin, out.rows), args.w.Rows(channel, out.cols),
               Part(args.bias, channel, out.cols), out);
}

// Channels [channel, channel + out.cols) after convolution and SiLU, of the far rows [begin, …).
// Earlier inputs come from the far rows before, or from the carried state.
void ReadChannels(const Exec& exec, const FarWriteArgs& args, int64_t begin, int64_t channel,
                  MatView<float> out) {
  const int64_t taps = args.d_conv - 1;
  const int64_t from = std::max<int64_t>(0, begin - taps);
  const int64_t rows = begin + out.rows - from;
  const Scratch<float> scratch(exec, rows * out.cols);
  const MatView<float> in(scratch.data(), rows, out.cols);
  ProjectChannels(exec, args, from, channel, in);
  const unsigned pieces = Blocks(out.cols, kThreads);
  const Convolution conv{MatView<const float>(in),
                         from,
                         begin,
                         args.conv_state,
                         taps,
                         args.w.rows,
                         channel,
                         args.conv_weight.data + channel * args.d_conv,
                         Part(args.conv_bias, channel, out.cols).data};
  Launch(exec, Convolve, Blocks(out.rows * pieces, 1), kThreads, 0, conv, out, out.cols, pieces);
}

// B of the rows that any head of a group writes.
void ReadB(const Exec& exec, const FarWriteArgs& args) {
  const int64_t heads = args.n_heads / args.n_groups;
  const int64_t pairs = heads * CountChunks(args.region);
  std::vector<uint8_t> needed;
  for (int64_t g = 0; g < args.n_groups; ++g) {
    const std::vector<uint8_t> any = NeededByAny(args.needed.subspan(g * pairs, pairs), heads);
    needed.insert(needed.end(), any.begin(), any.end());
  }
  for (const Band& band : Bands(args.region, needed)) {
    const int64_t column = band.first * args.d_state;
    ForBlocks(band, [&](const RowRun& rows) {
      ReadChannels(
          exec, args, rows.begin, args.n_heads * args.head_dim + column,
          args.b.Rows(rows.begin, rows.end - rows.begin).Cols(column, band.count * args.d_state));
    });
  }
}

// state [n_heads, size] *= decay.
__global__ void Decay(float* state, const float* decay, int64_t size) {
  const int64_t h = blockIdx.x;
  for (int64_t i = threadIdx.x; i < size; i += kThreads) state[h * size + i] *= decay[h];
}

// The writes of some rows by the heads from `head` on; all views begin with the first row.
struct Writes {
  Rows<const float> x, b, weight;
  int64_t rows, head, heads_per_group, head_dim, d_state;
  float* state;  // of all heads
};

// The rows at hand in shared memory: weight · x, and B.
struct Panels {
  alignas(16) float x[kRows][kWidth];
  alignas(16) float b[kRows][kStates];
};

__device__ void Fill(const Writes& w, int64_t head, int64_t n, int64_t p, int64_t t,
                     Panels& panels) {
  const int64_t local = (head - w.head) * w.head_dim;
  const int64_t group = head / w.heads_per_group * w.d_state;
  for (int i = threadIdx.x; i < kRows * kWidth; i += kWriteThreads) {
    const int64_t row = t + i / kWidth, at = p + i % kWidth;
    const bool inside = row < w.rows && at < w.head_dim;
    panels.x[i / kWidth][i % kWidth] =
        inside ? __fmul_rn(w.weight[head][row], w.x[row][local + at]) : 0;
  }
  for (int i = threadIdx.x; i < kRows * kStates; i += kWriteThreads) {
    const int64_t row = t + i / kStates, at = n + i % kStates;
    const bool inside = row < w.rows && at < w.d_state;
    panels.b[i / kStates][i % kStates] = inside ? w.b[row][group + at] : 0;
  }
}

__device__ void AddPanels(const Panels& panels, int rows, int n, int p, float (&sums)[4][4]) {
  for (int k = 0; k < rows; ++k) {
    float b[4], x[4];
    *reinterpret_cast<float4*>(b) = *reinterpret_cast<const float4*>(&panels.b[k][n]);
    *reinterpret_cast<float4*>(x) = *reinterpret_cast<const float4*>(&panels.x[k][p]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] = fmaf(b[i], x[j], sums[i][j]);
    }
  }
}

// fn(cell, sum) for those of the thread's cells that the state has.
template <class Fn>
__device__ void ForCells(const Writes& w, float* state, int64_t n, int64_t p, float (&sums)[4][4],
                         const Fn& fn) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (n + i < w.d_state && p + j < w.head_dim) {
        fn(state[(n + i) * w.head_dim + p + j], sums[i][j]);
      }
    }
  }
}

// state[h] += Σ_t weight[h, t] · B_t x_tᵀ: every cell is one chain of multiply-adds in ascending t
// that continues what the state holds, so that no cut into blocks changes a bit.
__global__ void Write(Writes w) {
  __shared__ Panels panels[2];
  const int64_t head = w.head + blockIdx.x;
  const int64_t n = blockIdx.y * static_cast<int64_t>(kStates);
  const int64_t p = blockIdx.z * static_cast<int64_t>(kWidth);
  const int own_n = threadIdx.x / (kWidth / 4) * 4, own_p = threadIdx.x % (kWidth / 4) * 4;
  float* const state = w.state + head * w.d_state * w.head_dim;
  float sums[4][4] = {};
  ForCells(w, state, n + own_n, p + own_p, sums, [](float& cell, float& sum) { sum = cell; });
  Fill(w, head, n, p, 0, panels[0]);
  for (int64_t t = 0; t < w.rows; t += kRows) {
    __syncthreads();
    Panels& now = panels[t / kRows % 2];
    Panels& next = panels[(t / kRows + 1) % 2];
    if (t + kRows < w.rows) Fill(w, head, n, p, t + kRows, next);
    AddPanels(now, min(int64_t{kRows}, w.rows - t), own_n, own_p, sums);
  }
  ForCells(w, state, n + own_n, p + own_p, sums, [](float& cell, float& sum) { cell = sum; });
}

void WriteBand(const Exec& exec, const FarWriteArgs& args, const Band& band) {
  const int64_t width = band.count * args.head_dim;
  ForBlocks(band, [&](const RowRun& run) {
    const int64_t rows = run.end - run.begin;
    const Scratch<float> scratch(exec, rows * width);
    const MatView<float> x(scratch.data(), rows, width);
    ReadChannels(exec, args, run.begin, band.first * args.head_dim, x);
    const Writes writes{MatView<const float>(x),
                        MatView<const float>(args.b.Rows(run.begin, rows)),
                        args.weight.Cols(run.begin, rows),
                        rows,
                        band.first,
                        args.n_heads / args.n_groups,
                        args.head_dim,
                        args.d_state,
                        args.ssm_state};
    const dim3 grid(Blocks(band.count, 1), Blocks(args.d_state, kStates),
                    Blocks(args.head_dim, kWidth));
    Launch(exec, Write, grid, kWriteThreads, 0, writes);
  });
}

// state [taps, channels] ← its rows from `fresh` on; a thread a channel.
__global__ void ShiftInputs(float* state, int64_t taps, int64_t fresh, int64_t channels) {
  const int64_t c = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (c >= channels) return;
  for (int64_t i = 0; i + fresh < taps; ++i) {
    state[i * channels + c] = state[(i + fresh) * channels + c];
  }
}

// The last d_conv − 1 inputs of all channels, from the far rows and, where they are fewer, from the
// carried state.
void UpdateConvState(const Exec& exec, const FarWriteArgs& args) {
  const int64_t taps = args.d_conv - 1;
  const int64_t fresh = std::min(taps, args.region.far);
  if (fresh == 0) return;
  const int64_t width = args.w.rows;
  if (fresh < taps) {
    Launch(exec, ShiftInputs, Blocks(width, kThreads), kThreads, 0, args.conv_state, taps, fresh,
           width);
  }
  ProjectChannels(exec, args, args.region.far - fresh, 0,
                  {args.conv_state + (taps - fresh) * width, fresh, width});
}

}  // namespace

void FarWrite(const Exec& exec, const FarWriteArgs& args) {
  ReadB(exec, args);
  Launch(exec, Decay, Blocks(args.n_heads, 1), kThreads, 0, args.ssm_state, args.decay.data,
         args.d_state * args.head_dim);
  for (const Band& band : Bands(args.region, args.needed)) WriteBand(exec, args, band);
  UpdateConvState(exec, args);
}

}  // namespace pith::cuda
