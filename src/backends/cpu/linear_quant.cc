// Linear with quantised weights (ops/linear.h gives the rule for activations). Sums of whole
// numbers are exact (quant-inl.h); each group's becomes f32 and is scaled
// and added in ascending order, a multiplication and an addition apart. So every SIMD target gives
// the same bits, and a row's depend on nothing but the row and the weights.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/linear_quant.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <algorithm>

#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "backends/cpu/quant-inl.h"
#include "backends/cpu/quant_panels.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// A vector of scales: whole numbers, or f16.
HWY_INLINE V LoadNested(const std::byte* from) {
  const hn::Rebind<int8_t, D> d8;
  const auto bytes = hn::LoadU(d8, reinterpret_cast<const int8_t*>(from));
  return hn::ConvertTo(D(), hn::PromoteTo(DI(), bytes));
}
HWY_INLINE V LoadHalf(const std::byte* from) {
  return LoadWide(D(), reinterpret_cast<const F16*>(from));
}

template <DType kType>
struct Panel {
  static constexpr QuantForm kForm = QuantFormOf(kType);
  static constexpr QuantLayout kLayout{kForm, kTileCols};

  const std::byte* data;

  // Scales of vector j of group g of the 32 columns `part`.
  HWY_INLINE V Scale(int64_t part, int64_t g, int j) const {
    const std::byte* const scales = data + kLayout.PartAt(part) + kLayout.number_bytes();
    if constexpr (!kForm.nested) {
      return LoadHalf(scales + j * kLanes * 2);
    } else {
      const V d = LoadHalf(data + kLayout.HeadAt(part) + j * kLanes * 2);
      return hn::Mul(d, LoadNested(scales + g * kTileCols + j * kLanes));
    }
  }
  HWY_INLINE V Minimum(int64_t part, int j) const {
    const std::byte* const mins =
        data + kLayout.PartAt(part) + kLayout.number_bytes() + kLayout.groups() * kTileCols;
    const V d = LoadHalf(data + kLayout.HeadAt(part) + (kTileCols + j * kLanes) * 2);
    return hn::Mul(d, LoadNested(mins + j * kLanes));
  }
};

// out [kRows, kTileCols] = rows [row, row + kRows) times the panel.
template <DType kType, int kRows>
HWY_INLINE void MultiplyPanel(const QuantRows& x, int64_t row, const std::byte* data, float* out) {
  const D d;
  const DI di;
  using P = Panel<kType>;
  constexpr QuantForm kForm = P::kForm;
  constexpr int kColumns = kForm.group == 0 ? kActivationGroup : kForm.group;
  const P panel{data};
  V total[kRows][2];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) total[r][0] = total[r][1] = hn::Zero(d);
  for (int64_t part = 0; part < x.groups; ++part) {
    const std::byte* numbers = data + P::kLayout.PartAt(part);
    for (int64_t g = 0; g < kActivationGroup / kColumns; ++g) {
      VI sums[kRows][2];
      MultiplyNumbers<kForm.bits, kColumns, kRows>(
          numbers, x.q + row * x.stride() + part * kActivationGroup + g * kColumns, x.stride(),
          sums);
      numbers += kColumns * kForm.bits / 8 * kTileCols;
#pragma GCC unroll 16
      for (int j = 0; j < 2; ++j) {
        V scale = hn::Zero(d);
        if constexpr (kForm.group != 0) scale = panel.Scale(part, g, j);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const int64_t at = (row + r) * x.groups + part;
          const V x_scale = hn::Set(d, x.scales[at]);
          VI sum = sums[r][j];
          if constexpr (kForm.zero != 0) {
            sum = hn::Sub(sum, hn::Set(di, kForm.zero * x.sums[at]));
          }
          const V factor = kForm.group == 0 ? x_scale : hn::Mul(scale, x_scale);
          total[r][j] = hn::Add(total[r][j], hn::Mul(hn::ConvertTo(d, sum), factor));
        }
      }
    }
    if constexpr (kForm.minimums) {
#pragma GCC unroll 16
      for (int j = 0; j < 2; ++j) {
        const V minimum = panel.Minimum(part, j);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const int64_t at = (row + r) * x.groups + part;
          const V sum = hn::Set(d, x.scales[at] * static_cast<float>(x.sums[at]));
          total[r][j] = hn::Sub(total[r][j], hn::Mul(minimum, sum));
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    hn::StoreU(total[r][0], d, out + r * kTileCols);
    hn::StoreU(total[r][1], d, out + r * kTileCols + kLanes);
  }
}

template <DType kType, int kRows = kTileRows>
HWY_INLINE void MultiplyPanelRows(const QuantRows& x, int64_t row, int64_t rows,
                                  const std::byte* panel, float* out) {
  for (; rows >= kRows; rows -= kRows, row += kRows, out += kRows * kTileCols) {
    MultiplyPanel<kType, kRows>(x, row, panel, out);
  }
  if constexpr (kRows > 1) {
    MultiplyPanelRows<kType, SmallerTile(kRows)>(x, row, rows, panel, out);
  }
}

struct QuantTask {
  QuantRows x;
  WeightView w;
  const float* bias;  // null: none
  MatView<float> out;

  // As of Task in linear.cc: columns of the output are counted from the first panel in view.
  int64_t shift() const { return w.first % kTileCols; }
  int64_t grid() const { return shift() + w.rows; }
};

// The panel's sums, of which those in view go to the output.
void StoreColumns(const QuantTask& task, int64_t row, int64_t rows, int64_t col,
                  const float* sums) {
  const int64_t begin = std::max(col, task.shift());
  const int64_t end = std::min(col + kTileCols, task.grid());
  const int64_t first = task.w.first - task.shift();  // of the matrix's rows, at grid column 0
  for (int64_t r = 0; r < rows; ++r) {
    float* const to = task.out.Row(row + r);
    for (int64_t j = begin; j < end; ++j) {
      float sum = sums[r * kTileCols + j - col];
      if (task.w.dtype == DType::kI8) sum *= task.w.scales[first + j];
      to[j - task.shift()] = task.bias ? sum + task.bias[j - task.shift()] : sum;
    }
  }
}

template <DType kType>
void RunQuantBlock(const QuantTask& task, int64_t row_begin, int64_t row_end, int64_t col_begin,
                   int64_t col_end) {
  const int64_t panel_bytes = Panel<kType>::kLayout.panel_bytes(task.w.cols);
  const auto* const panels = static_cast<const std::byte*>(task.w.data) +
                             (task.w.first - task.shift()) / kTileCols * panel_bytes;
  HWY_ALIGN float sums[kTileRows * kTileCols];
  for (int64_t row = row_begin; row < row_end; row += kTileRows) {
    const int64_t rows = std::min<int64_t>(kTileRows, row_end - row);
    for (int64_t col = col_begin; col < col_end; col += kTileCols) {
      MultiplyPanelRows<kType>(task.x, row, rows, panels + col / kTileCols * panel_bytes, sums);
      StoreColumns(task, row, rows, col, sums);
    }
  }
}

template <class Fn>
void VisitQuantised(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kI8:
      return fn.template operator()<DType::kI8>();
    case DType::kQ8_0:
      return fn.template operator()<DType::kQ8_0>();
    case DType::kQ4_0:
      return fn.template operator()<DType::kQ4_0>();
    case DType::kQ4_K:
      return fn.template operator()<DType::kQ4_K>();
    case DType::kQ6_K:
      return fn.template operator()<DType::kQ6_K>();
    default:
      PITH_CHECK(IsQuantised(dtype));
  }
}

// Scratch of the calling thread, which its helpers read.
QuantRows Quantise(int threads, MatView<const float> x) {
  thread_local BufferOwner<int8_t> q;
  thread_local BufferOwner<float> scales;
  thread_local BufferOwner<int32_t> sums;
  const int64_t groups = CeilDiv(x.cols, kActivationGroup);
  q.Resize(x.rows * groups * kActivationGroup);
  scales.Resize(x.rows * groups);
  sums.Resize(x.rows * groups);
  const QuantRows rows{groups, q.data(), scales.data(), sums.data()};
  constexpr int64_t kRowsTogether = 16;
  ParallelFor(x.rows > kRowsTogether ? threads : 1, CeilDiv(x.rows, kRowsTogether), [&](int64_t i) {
    const int64_t end = std::min(x.rows, (i + 1) * kRowsTogether);
    for (int64_t r = i * kRowsTogether; r < end; ++r) QuantiseRows(x, r, rows);
  });
  return rows;
}

// Cut as linear.cc cuts, but that a block of panels is at most what half of L2 holds.
void RunLinearQuant(const Exec& exec, MatView<const float> x, const WeightView& w,
                    VecView<const float> bias, MatView<float> out) {
  PITH_CHECK(w.panel == kTileCols);
  const int64_t work_unit = x.rows <= kTileRows ? 16 : 64;
  const int threads = ThreadsFor(exec, x.rows * w.rows * w.cols / work_unit);
  const QuantTask task = {Quantise(threads, x), w, bias.data, out};
  constexpr int64_t kBlockBytes = 256 << 10;
  const QuantLayout layout{QuantFormOf(w.dtype), kTileCols};
  const int64_t most = std::max<int64_t>(1, kBlockBytes / layout.panel_bytes(w.cols)) * kTileCols;
  const int64_t share = CeilDiv(CeilDiv(task.grid(), 4 * threads), kTileCols) * kTileCols;
  const int64_t block_cols = x.rows <= kTileRows ? std::min(most, share) : most;
  const int64_t col_blocks = CeilDiv(task.grid(), block_cols);
  const int64_t row_blocks =
      std::clamp<int64_t>(CeilDiv(4 * threads, col_blocks), 1, CeilDiv(x.rows, 128));
  const int64_t block_rows = CeilDiv(CeilDiv(x.rows, row_blocks), kTileRows) * kTileRows;
  VisitQuantised(w.dtype, [&]<DType kType>() {
    ParallelFor(threads, col_blocks * row_blocks, [&](int64_t i) {
      const int64_t row = i % row_blocks * block_rows;
      const int64_t col = i / row_blocks * block_cols;
      RunQuantBlock<kType>(task, row, std::min(row + block_rows, x.rows), col,
                           std::min(col + block_cols, task.grid()));
    });
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunLinearQuant);

void LinearQuant(const Exec& exec, MatView<const float> x, const WeightView& w,
                 VecView<const float> bias, MatView<float> out) {
  HWY_DYNAMIC_DISPATCH(RunLinearQuant)(exec, x, w, bias, out);
}

}  // namespace pith::cpu
#endif
