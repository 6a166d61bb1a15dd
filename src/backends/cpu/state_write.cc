// StateWrite: a product of B's columns with weighted rows of x, added to the state.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/state_write.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <algorithm>

#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/state_write.h"
#include "core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Rows written at a time: their panel of x stays in L1 while the states pass it.
constexpr int64_t kRowsTogether = 128;

// panels[(p / kTileCols, t, p % kTileCols)] = weight · x of rows [begin, begin + rows), 0 beyond x.
void WeighRows(const StateWriteArgs& args, int64_t begin, int64_t rows, float* panels) {
  const int64_t width = args.x.cols;
  for (int64_t p = 0; p < width; p += kTileCols) {
    for (int64_t t = 0; t < rows; ++t, panels += kTileCols) {
      const float weight = args.weight[begin + t];
      const float* const x = args.x.Row(begin + t) + p;
      const int64_t cols = std::min(kTileCols, width - p);
      ForVectors(cols, [&](auto d, int64_t i) HWY_ATTR {
        hn::StoreU(hn::Mul(hn::Set(d, weight), hn::LoadU(d, x + i)), d, panels + i);
      });
      std::fill(panels + cols, panels + kTileCols, 0.0f);
    }
  }
}

// The states' columns [col, col + kTileCols), as far as there are any, go on through `rows` rows.
void WritePanel(const StateWriteArgs& args, int64_t begin, int64_t rows, int64_t col,
                const float* panel) {
  const int64_t width = args.x.cols;
  const int64_t cols = std::min(kTileCols, width - col);
  ForTiles(args.b.cols, [&](auto count, int64_t n) HWY_ATTR {
    const D d;
    float* const cells = args.state + n * width + col;
    HWY_ALIGN float part[count * kTileCols];
    const bool whole = cols == kTileCols;
    float* const at = whole ? cells : part;
    const int64_t stride = whole ? width : kTileCols;
    if (!whole) {
      std::fill_n(part, count * kTileCols, 0.0f);
      for (int r = 0; r < count; ++r) std::copy_n(cells + r * width, cols, part + r * kTileCols);
    }
    V sums[count][2];
    for (int r = 0; r < count; ++r) {
      sums[r][0] = hn::LoadU(d, at + r * stride);
      sums[r][1] = hn::LoadU(d, at + r * stride + kLanes);
    }
    AddProductsOf(LeftColumns{args.b.Row(begin) + n, args.b.stride}, panel, kTileCols, rows, sums);
    StoreSums(sums, [&](int64_t r, int j, V sum)
                        HWY_ATTR { hn::StoreU(sum, d, at + r * stride + j * kLanes); });
    if (!whole) {
      for (int r = 0; r < count; ++r) std::copy_n(part + r * kTileCols, cols, cells + r * width);
    }
  });
}

void RunStateWrite(const StateWriteArgs& args) {
  const int64_t width = args.x.cols;
  static thread_local BufferOwner<float> panels;
  panels.Resize(CeilDiv(width, kTileCols) * kTileCols * kRowsTogether);
  for (int64_t begin = 0; begin < args.x.rows; begin += kRowsTogether) {
    const int64_t rows = std::min(kRowsTogether, args.x.rows - begin);
    WeighRows(args, begin, rows, panels.data());
    for (int64_t col = 0; col < width; col += kTileCols) {
      WritePanel(args, begin, rows, col, panels.data() + col * rows);
    }
  }
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunStateWrite);

void StateWrite(const StateWriteArgs& args) { HWY_DYNAMIC_DISPATCH(RunStateWrite)(args); }

}  // namespace pith::cpu
#endif
