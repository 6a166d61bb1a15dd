// Linear: panels of weights meet tiles of rows (gemm-inl.h gives the law on bits). Packed weights
// are read where they lie; 16-bit ones are widened block by block where many rows share the work.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/linear.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "backends/cpu/kernels.h"
#include "backends/cpu/sides-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Rows of the output that meet a block of weights: their left sides, kBlockRows × kDepth words,
// stay in L2 while the panels pass. A panel, kTileCols × kDepth words, stays in L1 while all tiles
// pass it, so tiles alone come from L2. Fewer rows share a thread's work more evenly; a panel of
// AVX-512's, four times as large, is fetched for more of them.
constexpr int64_t kBlockRows = kLanes >= 16 ? 264 : 132;
static_assert(kBlockRows % kTileRows == 0);

// Adds one depth block's sums to the panel's columns of the output; the first block starts from the
// bias. `col`: the panel's first grid column. `scales`: of the tile's rows.
template <class Left, class T>
void AddTile(const Task& task, int64_t row, int64_t rows, int64_t col, bool first, const Left& left,
             const float* scales, const T* right, int64_t depth) {
  const D d;
  const float* const columns = task.ColumnScales(col);
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
      sum = Unscaled<T>(sum, columns, j, scales, r);
      if (!first) {
        sum = hn::Add(hn::LoadU(d, at), sum);
      } else if (bias) {
        sum = hn::Add(hn::LoadU(d, bias + j * kLanes), sum);
      } else if constexpr (std::is_same_v<T, F16Pair>) {
        sum = hn::Add(hn::Zero(d), sum);  // no −0, which products that underflow make in f16
      }
      hn::StoreU(sum, d, at);
    });
    return;
  }
  HWY_ALIGN float sums[kTileRows * kTileCols];
  MultiplyRows(rows, left, right, kTileCols, depth, [&](int64_t r, int j, V sum) HWY_ATTR {
    hn::Store(Unscaled<T>(sum, columns, j, scales, r), d, sums + r * kTileCols + j * kLanes);
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
      sums[p][0] = AddProduct<T>(l, LoadWide(d, at), sums[p][0]);
      sums[p][1] = AddProduct<T>(l, LoadWide(d, at + kLanes), sums[p][1]);
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
      AddPanels(task, row, col, k0 == 0, left, right, task.steps() * kTileCols, depth);
      col += kTogether;
      continue;
    }
    AddTile(task, row, 1, col, k0 == 0, LeftRows{left}, nullptr, right, depth);
    col += kTileCols;
  }
}

// What a block of a product's sums is made of: rows [row_begin, row_end) with their left sides, and
// steps [k0, k0 + depth).
struct Block {
  int64_t row_begin, row_end;
  int64_t col_begin, col_end;
  int64_t k0, depth;
  const float* left;    // null: left sides are read where they lie
  const float* scales;  // [rows] ScaleOfRow
};

// What panels hold of the block at grid column `col`, for the tiles before it to ask for; nothing
// beyond the block.
Ahead AheadOf(const Task& task, const Block& block, int64_t col) {
  if (col >= block.col_end) return {nullptr, 0, 1};
  const int64_t tiles = CeilDiv(block.row_end - block.row_begin, kTileRows);
  return VisitPanels(task.w, [&]<class T>() -> Ahead {
    const int64_t columns = task.pairs && !kIsPair<T> ? 2 : 1;  // a step
    return {PackedPanel<T>(task, col, columns * block.k0),
            columns * block.depth * kTileCols * static_cast<int64_t>(sizeof(T)), tiles};
  });
}

// The left sides of the tile at `row`, as far as the block has them: see CopyLeft.
void AskForTile(const Task& task, const Block& block, int64_t row) {
  for (int64_t r = row; r < std::min(row + kTileRows, block.row_end); ++r) {
    AskFor(task.x.Row(r) + block.k0, block.depth);
  }
}

// A block's tiles meet the panel at grid column `col`.
template <class T>
void AddPanel(const Task& task, const Block& block, int64_t col, const T* right) {
  Ahead ahead = AheadOf(task, block, col + kTileCols);
  for (int64_t row = block.row_begin; row < block.row_end; row += kTileRows) {
    const int64_t rows = std::min<int64_t>(kTileRows, block.row_end - row);
    const float* const scales = block.scales + (row - block.row_begin);
    ahead.Ask();
    if constexpr (!kIsPair<T>) {
      if (block.left == nullptr) {
        if (col == block.col_begin) AskForTile(task, block, row + kTileRows);
        const LeftMatrix tile = {task.x.Row(row) + block.k0, task.x.stride};
        AddTile(task, row, rows, col, block.k0 == 0, tile, scales, right, block.depth);
        continue;
      }
    }
    const LeftRows tile = {block.left + (row - block.row_begin) * kLeftStride};
    AddTile(task, row, rows, col, block.k0 == 0, tile, scales, right, block.depth);
  }
}

template <class T>
void AddInPlace(const Task& task, const Block& block) {
  if constexpr (!std::is_same_v<T, F16Pair>) {
    if (block.row_end - block.row_begin == 1) {
      AddRow<T>(task, block.row_begin, block.col_begin, block.col_end, block.k0, block.left,
                block.depth);
      return;
    }
  }
  for (int64_t col = block.col_begin; col < block.col_end; col += kTileCols) {
    AddPanel(task, block, col, PackedPanel<T>(task, col, block.k0));
  }
}

void AddFilled(const Task& task, const Block& block, float* filled) {
  for (int64_t col = block.col_begin; col < block.col_end; col += kTileCols) {
    FillPanel(task, col, block.k0, block.depth, filled);
    if constexpr (kHasPairs) {
      if (task.pairs) {
        AddPanel(task, block, col, reinterpret_cast<const BF16Pair*>(filled));
        continue;
      }
    }
    AddPanel<float>(task, block, col, filled);
  }
}

// Whether left sides are read where they lie: a copy costs as much as some panels save by it.
bool LeftLies(const Task& task, int64_t rows, int64_t cols) {
  constexpr int64_t kFewPanels = 8;
  return !task.bf16 && rows > 1 && cols <= kFewPanels * kTileCols;
}

// Left sides of all rows and of the whole depth, with the rows' scales, for threads that share
// them.
struct LeftSides {
  Blocked left;
  float* scales;
};

LeftSides CopyLeftSides(const Task& task, int threads) {
  constexpr int64_t kRowsTogether = 2 * kTileRows;
  const int64_t rows = task.x.rows;
  const int64_t size = CeilDiv(task.steps(), kDepth) * rows * kLeftStride;
  static thread_local BufferOwner<float> memory;
  memory.Resize(size + rows);
  const LeftSides sides = {{memory.data(), rows}, memory.data() + size};
  ParallelFor(threads, CeilDiv(rows, kRowsTogether), [&](int64_t i) {
    const int64_t begin = i * kRowsTogether, count = std::min(kRowsTogether, rows - begin);
    float* const scales = sides.scales + begin;
    for (int64_t r = 0; r < count; ++r) scales[r] = ScaleOfRow(task, task.x.Row(begin + r));
    ForDepth(task.steps(), [&](int64_t k0, int64_t depth) {
      CopyLeft(task, begin, count, scales, k0, depth, sides.left.At(begin, k0));
    });
  });
  return sides;
}

// Output rows [row_begin, row_end), no more than kBlockRows, of grid columns [col_begin, col_end).
// `shared`: null where this block copies its own left sides.
void RunBlock(const Task& task, const LeftSides* shared, int64_t row_begin, int64_t row_end,
              int64_t col_begin, int64_t col_end) {
  thread_local BufferOwner<float> scratch;
  scratch.Resize(kTileCols * kDepth + kBlockRows * (kLeftStride + 1));
  float* const filled = scratch.data();
  float* const own = filled + kTileCols * kDepth;
  float* const own_scales = own + kBlockRows * kLeftStride;
  if (!shared) {
    for (int64_t r = row_begin; r < row_end; ++r) {
      own_scales[r - row_begin] = ScaleOfRow(task, task.x.Row(r));
    }
  }
  const float* const scales = shared ? shared->scales + row_begin : own_scales;
  const bool lies = LeftLies(task, row_end - row_begin, col_end - col_begin);
  const auto left = [&](int64_t k0, int64_t depth) -> const float* {
    if (shared) return shared->left.At(row_begin, k0);
    if (lies) return nullptr;
    CopyLeft(task, row_begin, row_end - row_begin, scales, k0, depth, own);
    return own;
  };
  ForDepth(task.steps(), [&](int64_t k0, int64_t depth) {
    const Block block = {row_begin, row_end, col_begin,       col_end,
                         k0,        depth,   left(k0, depth), scales};
    if (task.in_place()) {
      VisitPanels(task.w, [&]<class T>() { AddInPlace<T>(task, block); });
    } else {
      AddFilled(task, block, filled);
    }
  });
}

// Several threads get at least four tasks each, so that the last ones even out: first by rows, and
// by columns where there are too few of them. Smaller blocks of rows would have each panel fetched
// for fewer of them: with blocks of 72 rows two threads take a seventh longer (Emerald Rapids).
void RunLinear(const Exec& exec, MatView<const float> x, const WeightView& w,
               VecView<const float> bias, MatView<float> out) {
  const Task task = TaskOf(exec, x, w, bias, out);
  const int64_t work_unit = x.rows <= kTileRows ? 16 : task.pairs ? 64 : 32;
  const int threads = ThreadsFor(exec, x.rows * w.rows * w.cols / work_unit);
  const int64_t row_blocks = CeilDiv(x.rows, kBlockRows);
  const int64_t block_rows = CeilDiv(CeilDiv(x.rows, row_blocks), kTileRows) * kTileRows;
  const int64_t share = CeilDiv(
      task.grid(), threads == 1 ? 1 : std::max<int64_t>(1, CeilDiv(4 * threads, row_blocks)));
  const int64_t block_cols = CeilDiv(share, kTileCols) * kTileCols;
  const int64_t col_blocks = CeilDiv(task.grid(), block_cols);
  // Rounding the rows to pairs for each share of the columns was 9 % of a prefill on two threads.
  // Of floats, which are but copied, threads gain nothing by sharing them.
  const bool share_sides = task.pairs && col_blocks > 1 && x.rows > kTileRows;
  LeftSides sides;
  if (share_sides) sides = CopyLeftSides(task, threads);
  ParallelFor(threads, col_blocks * row_blocks, [&](int64_t i) {
    const int64_t row = i % row_blocks * block_rows;
    const int64_t col = i / row_blocks * block_cols;
    RunBlock(task, share_sides ? &sides : nullptr, row, std::min(row + block_rows, x.rows), col,
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
  if (w.rows == 0) return;
  HWY_DYNAMIC_DISPATCH(RunLinear)(exec, x, w, bias, out);
}

}  // namespace pith::cpu
#endif
