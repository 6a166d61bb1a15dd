// ScoreLabels and ScoreHead: a block a row; exponentials in f32, their sums in double.
//
// ScoreHead goes through the vocabulary by tiles, and keeps of each row its largest logit, the sum
// of exponentials under it and the label's logit. The tiles are the same for any number of rows, so
// that a row's bits are too.
#include <algorithm>
#include <climits>
#include <cmath>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/product.h"
#include "backends/cuda/top.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kPer = 8;                              // logits of a thread
constexpr int64_t kTile = int64_t{kPer} * kThreads;  // columns
// Rows whose logits of a tile stand together: 32 MiB, which an H100's L2 holds.
constexpr int64_t kRows = 2048;

// Columns [first, first + count) of all `vocab` columns; rows are given from `first` on.
struct Tile {
  int64_t first;
  int64_t count;
  int64_t vocab;
};

// A row's scores over the columns that were seen.
struct Seen {
  Top top;
  float label;
  double sum;  // of exp(logit − top)
};

// What a sum of exponentials takes on as its largest goes from `from` to `to`.
__device__ double Shrunk(double sum, float from, float to) {
  return from == to ? sum : sum * exp(static_cast<double>(from) - to);
}

__device__ LabelScore Finish(const Seen& seen) {
  const double log_sum = log(seen.sum);
  const float top = seen.top.value;
  return {.logprob = static_cast<float>(static_cast<double>(seen.label) - top - log_sum),
          .top_logprob = static_cast<float>(static_cast<double>(top) - top - log_sum),
          .top = seen.top.index == INT_MAX ? 0 : seen.top.index};  // 0: NaN logits
}

// A block takes a row through one tile, after the tiles before it: its logits are read once.
__global__ void __launch_bounds__(kThreads)
    ScoreTile(Rows<const float> logits, Tile tile, const int32_t* labels, Seen* seen,
              LabelScore* out) {
  const float* const row = logits[blockIdx.x];
  float v[kPer];
#pragma unroll
  for (int i = 0; i < kPer; ++i) {
    const int c = static_cast<int>(threadIdx.x) + i * kThreads;
    v[i] = c < tile.count ? row[c] : -INFINITY;
  }
  Top top = {-INFINITY, INT_MAX};
#pragma unroll
  for (int i = 0; i < kPer; ++i) {
    const int c = static_cast<int>(threadIdx.x) + i * kThreads;
    if (c < tile.count) top.Meet({v[i], static_cast<int>(tile.first) + c});
  }
  top = BlockTop<kThreads>(top);
  const float base = top.value == -INFINITY ? 0 : top.value;
  double sum = 0;
#pragma unroll
  for (int i = 0; i < kPer; i += 4) {
    sum += (expf(v[i] - base) + expf(v[i + 1] - base)) +
           (expf(v[i + 2] - base) + expf(v[i + 3] - base));
  }
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x != 0) return;
  Seen now = tile.first == 0 ? Seen{{-INFINITY, INT_MAX}, 0, 0} : seen[blockIdx.x];
  const float before = now.top.value;
  now.top.Meet(top);
  now.sum = Shrunk(now.sum, before, now.top.value) + Shrunk(sum, top.value, now.top.value);
  const int64_t label = labels[blockIdx.x] - tile.first;
  if (label >= 0 && label < tile.count) now.label = row[label];
  if (tile.first + tile.count < tile.vocab) {
    seen[blockIdx.x] = now;
  } else {
    out[blockIdx.x] = Finish(now);
  }
}

// Scores rows of `vocab` columns, tile by tile: make(first, count) gives the logits of a tile.
template <class Make>
void ScoreTiles(const Exec& exec, int64_t vocab, const int32_t* labels, Seen* seen, LabelScore* out,
                const Make& make) {
  for (int64_t first = 0; first < vocab; first += kTile) {
    const Tile tile{first, std::min(kTile, vocab - first), vocab};
    const MatView<const float> logits = make(first, tile.count);
    Launch(exec, ScoreTile, static_cast<unsigned>(logits.rows), kThreads, 0,
           Rows<const float>(logits), tile, labels, seen, out);
  }
}

// Some rows' logits for slices of the head. In 16 bits the rows are rounded once.
class Head {
 public:
  Head(const Exec& exec, MatView<const float> x, const WeightView& w, float* logits)
      : exec_(exec),
        x_(x),
        w_(w),
        logits_(logits),
        tensor_(exec.precision != Precision::kF32 && w.cols % 8 == 0),
        rounded_(exec, tensor_ ? x.rows * x.cols : 0) {
    if (tensor_) RoundRows(exec, x, w.dtype, rounded_.data());
  }

  MatView<const float> operator()(int64_t first, int64_t count) const {
    const MatView<float> out{logits_, x_.rows, count, kTile};
    const WeightView w = w_.Rows(first, count);
    if (tensor_) {
      Product(exec_, {.x = rounded_.data(),
                      .x_stride = x_.cols,
                      .rows = x_.rows,
                      .w = w,
                      .bias = {},
                      .out = out.data,
                      .out_stride = out.stride,
                      .out_type = DType::kF32});
    } else {
      Linear(exec_, x_, w, {}, out);
    }
    return out;
  }

 private:
  const Exec& exec_;
  MatView<const float> x_;
  WeightView w_;
  float* logits_;
  bool tensor_;
  Scratch<uint16_t> rounded_;
};

}  // namespace

void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out) {
  const Scratch<LabelScore> scores(exec, logits.rows);
  const Scratch<Seen> seen(exec, logits.rows);
  ScoreTiles(exec, logits.cols, Place(exec, labels), seen.data(), scores.data(),
             [&](int64_t first, int64_t count) { return logits.Cols(first, count); });
  exec.backend->Download(exec.queue, scores.data(), out.data(), out.size_bytes());
}

void ScoreHead(const Exec& exec, const ScoreHeadArgs& args) {
  const int64_t rows = args.x.rows, at_once = std::min(rows, kRows);
  const Scratch<LabelScore> scores(exec, rows);
  const Scratch<Seen> seen(exec, at_once);
  const Scratch<float> logits(exec, at_once * kTile);
  const int32_t* const labels = Place(exec, args.labels);
  for (int64_t begin = 0; begin < rows; begin += kRows) {
    const Head head(exec, args.x.Rows(begin, std::min(kRows, rows - begin)), args.w, logits.data());
    ScoreTiles(exec, args.w.rows, labels + begin, seen.data(), scores.data() + begin, head);
  }
  exec.backend->Download(exec.queue, scores.data(), args.out.data(), args.out.size_bytes());
}

}  // namespace pith::cuda
