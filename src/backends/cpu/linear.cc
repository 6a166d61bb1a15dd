// Linear: panels of weights meet tiles of rows (gemm-inl.h gives the law on bits). Packed weights
// are read where they lie; 16-bit ones are widened block by block where many rows share the work.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/linear.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <hwy/cache_control.h>

#include <array>

#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Rows of the output that meet a block of weights: their left sides, kBlockRows × kDepth floats,
// stay in L2 while the panels pass. Fewer rows share a thread's work more evenly; a panel of
// AVX-512's, four times as large, is fetched for more of them.
constexpr int64_t kBlockRows = kLanes >= 16 ? 264 : 132;
static_assert(kBlockRows % kTileRows == 0);
// Panels that meet a tile of rows before the next tile's turn. A panel of AVX2's, kTileCols ×
// kDepth floats, is half of L1 and stays there while all tiles pass it, so tiles alone come from
// L2. One of AVX-512's is all of L1: there the tile stays, and some panels come from L2.
constexpr int64_t kBlockCols = kTileCols * (kLanes >= 16 ? 4 : 1);

struct Task {
  MatView<const float> x;
  WeightView w;
  const float* bias;  // null: none
  MatView<float> out;
  bool bf16;

  bool packed() const { return w.format == WeightFormat::kPanels; }
  // Columns of the output are counted from the first panel that holds any of them: those before
  // `shift` belong to the matrix, but not to the view.
  int64_t shift() const { return packed() ? w.first % kTileCols : 0; }
  int64_t grid() const { return shift() + w.rows; }
  // Whether the weights are read in place by tiles.
  bool in_place() const {
    return packed() && (w.dtype == DType::kF32 ? !bf16 : x.rows <= kTileRows) && !rounds();
  }
  bool rounds() const { return bf16 && w.dtype != DType::kBF16; }
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

// Packed weights of [k0, k0 + depth) of the panel at grid column `col`.
template <class T>
const T* PackedPanel(const Task& task, int64_t col, int64_t k0) {
  const int64_t panel = (task.w.first - task.shift() + col) / kTileCols;
  return static_cast<const T*>(task.w.data) + (panel * task.w.cols + k0) * kTileCols;
}

// to[k · kTileCols + j] = the weights of grid columns col + j, as floats.
void FillPanel(const Task& task, int64_t col, int64_t k0, int64_t depth, float* to) {
  VisitFloat(task.w.dtype, [&]<class T>() HWY_ATTR {
    if (!task.packed()) {
      const T* w = static_cast<const T*>(task.w.data) + (task.w.first + col) * task.w.cols + k0;
      PackPanel(w, task.w.cols, std::min(kTileCols, task.w.rows - col), depth, task.rounds(), to);
      return;
    }
    const T* from = PackedPanel<T>(task, col, k0);
    const D d;
    const auto widen = [&](bool round) HWY_ATTR {
      for (int64_t i = 0; i < depth * kTileCols; i += kTileCols) {
        hn::Store(LoadWeights(d, from + i, round), d, to + i);
        hn::Store(LoadWeights(d, from + i + kLanes, round), d, to + i + kLanes);
      }
    };
    if (task.rounds()) {
      widen(true);
    } else {
      widen(false);
    }
  });
}

// Asks for what lies in [from, from + count) floats.
HWY_INLINE void AskFor(const float* from, int64_t count) {
  constexpr int64_t kLine = 16;
  for (int64_t i = 0; i < count; i += kLine) hwy::Prefetch(from + i);
}

// A row's piece of a block is too short for the processor to see a stream in it, and would wait for
// the outer caches. So some rows are asked for ahead.
void CopyLeft(const Task& task, int64_t row, int64_t rows, int64_t k0, int64_t depth, float* left) {
  constexpr int64_t kRowsAhead = 4;
  for (int64_t r = 0; r < rows; ++r) {
    if (r + kRowsAhead < rows) AskFor(task.x.Row(row + r + kRowsAhead) + k0, depth);
    const float* from = task.x.Row(row + r) + k0;
    float* to = left + r * kLeftStride;
    ForVectors(depth, [&](auto d, int64_t i) HWY_ATTR {
      const auto v = hn::LoadU(d, from + i);
      hn::StoreU(task.bf16 ? RoundToBF16(d, v) : v, d, to + i);
    });
  }
}

// Adds one depth block's sums to the panel's columns of the output; the first block starts from the
// bias. `col`: the panel's first grid column.
template <class T>
void AddTile(const Task& task, int64_t row, int64_t rows, int64_t col, bool first,
             const float* left, const T* right, int64_t depth) {
  const D d;
  const int64_t begin = std::max(col, task.shift());
  const int64_t cols = std::min(col + kTileCols, task.grid()) - begin;
  float* const out = task.out.Row(row) + begin - task.shift();
  const int64_t stride = task.out.stride;
  const float* const bias = task.bias ? task.bias + begin - task.shift() : nullptr;
  for (int64_t r = 0; r < rows; ++r) {  // which arrive while the sums are made
    hwy::Prefetch(out + r * stride);
    hwy::Prefetch(out + r * stride + cols - 1);
  }
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
    const float* const from = sums + r * kTileCols + begin - col;
    for (int64_t j = 0; j < cols; ++j) {
      float& at = out[r * stride + j];
      const float start = !first ? at : bias ? bias[j] : 0.0f;
      at = start + from[j];
    }
  }
}

// A single row meets so many panels at once: its sums are twice as many chains of fused
// multiply-adds, enough to hide their latency, and each keeps the order that AddTile gives it.
constexpr int kPanelsTogether = 4;

template <class T>
void AddPanels(const Task& task, int64_t row, int64_t col, bool first, const float* left,
               const T* right, int64_t panel_stride, int64_t depth) {
  const D d;
  V sums[kPanelsTogether][2];
  for (auto& panel : sums) panel[0] = panel[1] = hn::Zero(d);
  for (int64_t k = 0; k < depth; ++k) {
    const V l = hn::Set(d, left[k]);
#pragma GCC unroll 4
    for (int p = 0; p < kPanelsTogether; ++p) {
      const T* const at = right + p * panel_stride + k * kTileCols;
      sums[p][0] = hn::MulAdd(l, LoadWide(d, at), sums[p][0]);
      sums[p][1] = hn::MulAdd(l, LoadWide(d, at + kLanes), sums[p][1]);
    }
  }
  float* const out = task.out.Row(row) + col - task.shift();
  const float* const bias = task.bias ? task.bias + col - task.shift() : nullptr;
  for (int i = 0; i < 2 * kPanelsTogether; ++i) {
    V sum = sums[i / 2][i % 2];
    if (!first) {
      sum = hn::Add(hn::LoadU(d, out + i * kLanes), sum);
    } else if (bias) {
      sum = hn::Add(hn::LoadU(d, bias + i * kLanes), sum);
    }
    hn::StoreU(sum, d, out + i * kLanes);
  }
}

// A single row meets the panels of grid columns [col_begin, col_end) where they lie.
template <class T>
void AddRow(const Task& task, int64_t row, int64_t col_begin, int64_t col_end, int64_t k0,
            const float* left, int64_t depth) {
  constexpr int64_t kTogether = kPanelsTogether * kTileCols;
  for (int64_t col = col_begin; col < col_end;) {
    const T* const right = PackedPanel<T>(task, col, k0);
    if (col >= task.shift() && col + kTogether <= std::min(col_end, task.grid())) {
      AddPanels(task, row, col, k0 == 0, left, right, task.w.cols * kTileCols, depth);
      col += kTogether;
      continue;
    }
    AddTile(task, row, 1, col, k0 == 0, left, right, depth);
    col += kTileCols;
  }
}

// What is read next, asked for piece by piece while tiles are computed. Without it a panel's first
// tile waits for the panel: 6 of 92 GFLOP/s on a core of Zen 3.
class Ahead {
 public:
  Ahead(const void* begin, int64_t bytes, int64_t pieces)
      : at_(static_cast<const std::byte*>(begin)), left_(bytes), piece_(CeilDiv(bytes, pieces)) {}
  void Ask() {
    constexpr int64_t kLine = 64;
    for (int64_t asked = 0; asked < piece_ && left_ > 0; asked += kLine, left_ -= kLine) {
      hwy::Prefetch(at_);
      at_ += kLine;
    }
  }

 private:
  const std::byte* at_;
  int64_t left_;
  int64_t piece_;
};

// What a block of a product's sums is made of: rows [row_begin, row_end) with their left sides, and
// columns of [k0, k0 + depth).
struct Block {
  int64_t row_begin, row_end;
  int64_t col_begin, col_end;
  int64_t k0, depth;
  const float* left;
};

// The packed panel at grid column `col`, for the tiles before it to ask for; nothing beyond the
// block, or where all tiles pass several panels together.
Ahead AheadOf(const Task& task, const Block& block, int64_t col) {
  if (!task.packed() || kBlockCols != kTileCols || col >= block.col_end) return {nullptr, 0, 1};
  const int64_t tiles = CeilDiv(block.row_end - block.row_begin, kTileRows);
  return VisitFloat(task.w.dtype, [&]<class T>() -> Ahead {
    return {PackedPanel<T>(task, col, block.k0),
            block.depth * kTileCols * static_cast<int64_t>(sizeof(T)), tiles};
  });
}

// Up to kBlockCols columns [col, end) of a block, whose panels are right + p · panel_stride.
template <class T>
void AddPart(const Task& task, const Block& block, int64_t col, int64_t end, const T* right,
             int64_t panel_stride, Ahead ahead) {
  for (int64_t row = block.row_begin; row < block.row_end; row += kTileRows) {
    const int64_t rows = std::min<int64_t>(kTileRows, block.row_end - row);
    const float* const tile = block.left + (row - block.row_begin) * kLeftStride;
    ahead.Ask();
    for (int64_t c = col, p = 0; c < end; c += kTileCols, ++p) {
      AddTile(task, row, rows, c, block.k0 == 0, tile, right + p * panel_stride, block.depth);
    }
  }
}

template <class T>
void AddInPlace(const Task& task, const Block& block) {
  if (block.row_end - block.row_begin == 1) {
    AddRow<T>(task, block.row_begin, block.col_begin, block.col_end, block.k0, block.left,
              block.depth);
    return;
  }
  const int64_t panel_stride = task.w.cols * kTileCols;
  for (int64_t col = block.col_begin; col < block.col_end; col += kBlockCols) {
    const int64_t end = std::min(col + kBlockCols, block.col_end);
    const T* const right = PackedPanel<T>(task, col, block.k0);
    AddPart(task, block, col, end, right, panel_stride, AheadOf(task, block, end));
  }
}

void AddFilled(const Task& task, const Block& block, float* filled) {
  for (int64_t col = block.col_begin; col < block.col_end; col += kBlockCols) {
    const int64_t end = std::min(col + kBlockCols, block.col_end);
    for (int64_t c = col; c < end; c += kTileCols) {
      FillPanel(task, c, block.k0, block.depth, filled + (c - col) * kDepth);
    }
    AddPart(task, block, col, end, filled, kTileCols * kDepth, AheadOf(task, block, end));
  }
}

// Output rows [row_begin, row_end), no more than kBlockRows, of grid columns [col_begin, col_end).
void RunBlock(const Task& task, int64_t row_begin, int64_t row_end, int64_t col_begin,
              int64_t col_end) {
  thread_local BufferOwner<float> scratch;
  scratch.Resize(kBlockCols * kDepth + kBlockRows * kLeftStride);
  float* const filled = scratch.data();
  float* const left = filled + kBlockCols * kDepth;
  for (int64_t k0 = 0; k0 < task.w.cols; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, task.w.cols - k0);
    const Block block = {row_begin, row_end, col_begin, col_end, k0, depth, left};
    CopyLeft(task, row_begin, row_end - row_begin, k0, depth, left);
    if (task.in_place()) {
      VisitFloat(task.w.dtype, [&]<class T>() { AddInPlace<T>(task, block); });
    } else {
      AddFilled(task, block, filled);
    }
  }
}

// Several threads get at least four tasks each, so that the last ones even out: first by rows,
// whose left sides are then copied once, and by columns where there are too few of them.
void RunLinear(const Exec& exec, MatView<const float> x, const WeightView& w,
               VecView<const float> bias, MatView<float> out) {
  const Task task = {x, w, bias.data, out, exec.precision == Precision::kBF16};
  const int64_t work_unit = x.rows <= kTileRows ? 16 : 32;
  const int threads = ThreadsFor(exec, x.rows * w.rows * w.cols / work_unit);
  const int64_t row_blocks = CeilDiv(x.rows, kBlockRows);
  const int64_t block_rows = CeilDiv(CeilDiv(x.rows, row_blocks), kTileRows) * kTileRows;
  const int64_t share = CeilDiv(
      task.grid(), threads == 1 ? 1 : std::max<int64_t>(1, CeilDiv(4 * threads, row_blocks)));
  const int64_t block_cols = CeilDiv(share, kTileCols) * kTileCols;
  const int64_t col_blocks = CeilDiv(task.grid(), block_cols);
  ParallelFor(threads, col_blocks * row_blocks, [&](int64_t i) {
    const int64_t row = i % row_blocks * block_rows;
    const int64_t col = i / row_blocks * block_cols;
    RunBlock(task, row, std::min(row + block_rows, x.rows), col,
             std::min(col + block_cols, task.grid()));
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunLinear);

void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out) {
  if (w.format == WeightFormat::kQuantPanels) return LinearQuant(exec, x, w, bias, out);
  if (exec.precision == Precision::kBF16 && w.format == WeightFormat::kRows && HasBF16Products()) {
    LinearBF16(exec, x, w, bias, out);
    return;
  }
  HWY_DYNAMIC_DISPATCH(RunLinear)(exec, x, w, bias, out);
}

}  // namespace pith::cpu
#endif
