// Linear: weight panels are widened and transposed block by block into cache-resident scratch, and
// meet row tiles there (gemm-inl.h gives the law on bits).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/linear.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Columns of the output that one task computes: kBlockCols × kDepth floats of scratch stay in L2.
constexpr int64_t kBlockCols = 128;
static_assert(kBlockCols % kTileCols == 0);

struct Task {
  MatView<const float> x;
  WeightView w;
  const float* bias;
  MatView<float> out;
  bool bf16;
};

// Four weights of one row, widened, and rounded where the precision asks for it.
template <class T, class Tag>
HWY_INLINE hn::Vec<Tag> LoadWeights(Tag d, const T* from, bool bf16) {
  const auto v = LoadWide(d, from);
  return bf16 ? RoundToBF16(d, v) : v;
}

// to[k · kTileCols + j] = w[j][k] for j < cols, 0 for the other j.
template <class T>
void PackPanel(const T* w, int64_t w_stride, int64_t cols, int64_t depth, bool bf16, float* to) {
  const auto pack_one = [&](int64_t j, int64_t k) HWY_ATTR {
    const hn::CappedTag<float, 1> d;
    hn::Store(LoadWeights(d, w + j * w_stride + k, bf16), d, to + k * kTileCols + j);
  };
  int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR  // which has no blocks of four lanes
  const hn::FixedTag<float, 4> d;
  const hn::RepartitionToWide<decltype(d)> dw;
  for (; j + 4 <= cols; j += 4) {
    const T* row = w + j * w_stride;
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      const auto r0 = LoadWeights(d, row + k, bf16);
      const auto r1 = LoadWeights(d, row + w_stride + k, bf16);
      const auto r2 = LoadWeights(d, row + 2 * w_stride + k, bf16);
      const auto r3 = LoadWeights(d, row + 3 * w_stride + k, bf16);
      const auto lower01 = hn::BitCast(dw, hn::InterleaveLower(d, r0, r1));
      const auto lower23 = hn::BitCast(dw, hn::InterleaveLower(d, r2, r3));
      const auto upper01 = hn::BitCast(dw, hn::InterleaveUpper(d, r0, r1));
      const auto upper23 = hn::BitCast(dw, hn::InterleaveUpper(d, r2, r3));
      float* at = to + k * kTileCols + j;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dw, lower01, lower23)), d, at);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dw, lower01, lower23)), d, at + kTileCols);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dw, upper01, upper23)), d, at + 2 * kTileCols);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dw, upper01, upper23)), d, at + 3 * kTileCols);
    }
    for (; k < depth; ++k) {
      for (int64_t i = j; i < j + 4; ++i) pack_one(i, k);
    }
  }
#endif
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t i = j; i < cols; ++i) pack_one(i, k);
    for (int64_t i = cols; i < kTileCols; ++i) to[k * kTileCols + i] = 0;
  }
}

void CopyLeft(const Task& task, int64_t row, int64_t rows, int64_t k0, int64_t depth, float* left) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = task.x.Row(row + r) + k0;
    float* to = left + r * kLeftStride;
    if (!task.bf16) {
      std::memcpy(to, from, depth * sizeof(float));
      continue;
    }
    ForVectors(depth, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(RoundToBF16(d, hn::LoadU(d, from + i)), d, to + i);
    });
  }
}

// Adds one depth block's sums to `cols` columns of the output; the first block starts from the
// bias.
void AddTile(const Task& task, int64_t row, int64_t rows, int64_t col, int64_t cols, bool first,
             const float* left, const float* right, int64_t depth) {
  const D d;
  float* const out = task.out.Row(row) + col;
  const int64_t stride = task.out.stride;
  const float* const bias = task.bias ? task.bias + col : nullptr;
  if (cols == kTileCols) {
    MultiplyRows(rows, left, right, kTileCols, depth, [&](int64_t r, int j, V sum) HWY_ATTR {
      float* const at = out + r * stride + j * kLanes;
      if (!first) {
        sum = hn::Add(hn::LoadU(d, at), sum);
      } else if (bias) {
        sum = hn::Add(hn::LoadU(d, bias + j * kLanes), sum);
      }
      hn::StoreU(sum, d, at);
    });
    return;
  }
  HWY_ALIGN float sums[kTileRows * kTileCols];
  MultiplyRows(rows, left, right, kTileCols, depth, [&](int64_t r, int j, V sum) HWY_ATTR {
    hn::Store(sum, d, sums + r * kTileCols + j * kLanes);
  });
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      float& at = out[r * stride + j];
      const float start = !first ? at : bias ? bias[j] : 0.0f;
      at = start + sums[r * kTileCols + j];
    }
  }
}

void RunBlock(const Task& task, int64_t row_begin, int64_t row_end, int64_t col_begin) {
  thread_local BufferOwner<float> scratch;
  scratch.Resize(kBlockCols * kDepth + kTileRows * kLeftStride);
  float* const right = scratch.data();
  float* const left = right + kBlockCols * kDepth;
  const int64_t cols = std::min(kBlockCols, task.w.rows - col_begin);
  for (int64_t k0 = 0; k0 < task.w.cols; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, task.w.cols - k0);
    VisitFloat(task.w.dtype, [&]<class T>() {
      const T* w = static_cast<const T*>(task.w.data) + col_begin * task.w.cols + k0;
      const bool round = task.bf16 && !std::is_same_v<T, BF16>;
      for (int64_t j = 0; j < cols; j += kTileCols) {
        PackPanel(w + j * task.w.cols, task.w.cols, std::min(kTileCols, cols - j), depth, round,
                  right + j * kDepth);
      }
    });
    for (int64_t row = row_begin; row < row_end; row += kTileRows) {
      const int64_t rows = std::min<int64_t>(kTileRows, row_end - row);
      CopyLeft(task, row, rows, k0, depth, left);
      for (int64_t j = 0; j < cols; j += kTileCols) {
        AddTile(task, row, rows, col_begin + j, std::min(kTileCols, cols - j), k0 == 0, left,
                right + j * kDepth, depth);
      }
    }
  }
}

// At least four tasks a thread, so that the last ones even out; no fewer than some 128 rows in one,
// so that packing the weights stays a small part of it.
void RunLinear(const Exec& exec, MatView<const float> x, const WeightView& w, const float* bias,
               MatView<float> out) {
  const Task task = {x, w, bias, out, exec.precision == Precision::kBF16};
  const int threads = ThreadsFor(exec, x.rows * w.rows * w.cols / 32);
  const int64_t col_blocks = CeilDiv(w.rows, kBlockCols);
  const int64_t row_blocks =
      std::clamp<int64_t>(CeilDiv(4 * threads, col_blocks), 1, CeilDiv(x.rows, 128));
  const int64_t block_rows = CeilDiv(CeilDiv(x.rows, row_blocks), kTileRows) * kTileRows;
  ParallelFor(threads, col_blocks * row_blocks, [&](int64_t i) {
    const int64_t row = i % row_blocks * block_rows;
    RunBlock(task, row, std::min(row + block_rows, x.rows), i / row_blocks * kBlockCols);
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunLinear);

void Linear(const Exec& exec, MatView<const float> x, const WeightView& w, const float* bias,
            MatView<float> out) {
  if (exec.precision == Precision::kBF16 && HasBF16Products()) {
    LinearBF16(exec, x, w, bias, out);
    return;
  }
  HWY_DYNAMIC_DISPATCH(RunLinear)(exec, x, w, bias, out);
}

}  // namespace pith::cpu
#endif
