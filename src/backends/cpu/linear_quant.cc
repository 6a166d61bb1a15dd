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

// How far ahead lines are asked for, over all panels that are read together. Weights of a whole
// model come from memory, for which the products of one or few rows wait, whatever their
// arithmetic.
constexpr int64_t kBytesAhead = 2048;

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

// store(r, j, sum) for rows [row, row + kRows) times kPanels panels, vector j of all of them.
template <DType kType, bool kFours, int kRows, int kPanels, class Store>
HWY_INLINE void MultiplyPanels(const QuantRows& x, int64_t row, const std::byte* data,
                               int64_t panel_bytes, const Store& store) {
  const D d;
  using P = Panel<kType>;
  constexpr QuantForm kForm = P::kForm;
  constexpr int kColumns = kForm.group == 0 ? kActivationGroup : kForm.group;
  constexpr int kExcess = Numbers<kForm.bits, kFours>::Excess(kForm.zero);
  const NumberStreams streams = {panel_bytes, kBytesAhead / kPanels};
  V total[kRows][2 * kPanels];
#pragma GCC unroll 16
  for (auto& sums : total) {
    for (V& sum : sums) sum = hn::Zero(d);
  }
  const auto panel = [&](int j) HWY_ATTR { return P{data + j / 2 * panel_bytes}; };
  for (int64_t part = 0; part < x.groups; ++part) {
    const std::byte* numbers = data + P::kLayout.PartAt(part);
    const auto at = [&](int r) { return (row + r) * x.groups + part; };
#pragma GCC unroll 2
    for (int64_t g = 0; g < kActivationGroup / kColumns; ++g) {
      VI sums[kRows][2 * kPanels];
      MultiplyNumbers<kForm.bits, kFours, kColumns, kRows, kPanels>(
          numbers, streams, x.q + row * x.stride() + part * kActivationGroup + g * kColumns,
          x.stride(), sums);
      numbers += kColumns * kForm.bits / 8 * kTileCols;
#pragma GCC unroll 16
      for (int j = 0; j < 2 * kPanels; ++j) {
        V scale = hn::Zero(d);
        if constexpr (kForm.group != 0) scale = panel(j).Scale(part, g, j % 2);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const V x_scale = hn::Set(d, x.scales[at(r)]);
          VI sum = sums[r][j];
          if constexpr (kExcess != 0) {
            const int32_t* const of = x.sums + 2 * at(r);
            const int32_t ones = kColumns == kActivationGroup ? of[1]
                                 : g == 0                     ? of[0]
                                                              : of[1] - of[0];
            sum = hn::Sub(sum, hn::Set(DI(), kExcess * ones));
          }
          const V factor = kForm.group == 0 ? x_scale : hn::Mul(scale, x_scale);
          total[r][j] = hn::Add(total[r][j], hn::Mul(hn::ConvertTo(d, sum), factor));
        }
      }
    }
    if constexpr (kForm.minimums) {
#pragma GCC unroll 16
      for (int j = 0; j < 2 * kPanels; ++j) {
        const V minimum = panel(j).Minimum(part, j % 2);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const float sum = static_cast<float>(x.sums[2 * at(r) + 1]);
          const V share = hn::Set(d, x.scales[at(r)] * sum);
          total[r][j] = hn::Sub(total[r][j], hn::Mul(minimum, share));
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int j = 0; j < 2 * kPanels; ++j) store(r, j, total[r][j]);
  }
}

struct QuantTask {
  QuantRows x;
  WeightView w;
  const float* bias;  // null: none
  MatView<float> out;

  // As of Task in sides-inl.h: columns of the output are counted from the first panel in view.
  int64_t shift() const { return w.first % kTileCols; }
  int64_t grid() const { return shift() + w.rows; }
};

// Rows of a tile. Sums of a group and totals of those before it share the registers; where each
// word costs several instructions, it should rather meet many rows.
template <bool kFours>
constexpr int kQuantRows = kFours ? 6 : kTileRows;
// Panels beside each other, as in linear_step.cc: a processor follows several streams of
// memory faster than one.
constexpr int QuantPanelsFor(int64_t rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }

template <DType kType, bool kFours>
struct QuantBlock {
  const QuantTask& task;
  int64_t begin, end;  // rows

  static constexpr const QuantLayout& kLayout = Panel<kType>::kLayout;

  const std::byte* PanelAt(int64_t col) const {
    const int64_t panel = (task.w.first - task.shift() + col) / kTileCols;
    return static_cast<const std::byte*>(task.w.data) + panel * panel_bytes();
  }
  int64_t panel_bytes() const { return kLayout.panel_bytes(task.w.cols); }
  const float* bias(int64_t col) const {
    return task.bias ? task.bias + col - task.shift() : nullptr;
  }
  const float* scales(int64_t col) const {
    return kType == DType::kI8 ? task.w.scales + task.w.first - task.shift() + col : nullptr;
  }

  // kRows rows from `row` on and kPanels panels, all of whose columns are in view.
  template <int kRows, int kPanels>
  void Whole(int64_t row, int64_t col) const {
    const D d;
    float* const out = task.out.Row(row) + col - task.shift();
    const float* const from = bias(col);
    const float* const scale = scales(col);
    MultiplyPanels<kType, kFours, kRows, kPanels>(
        task.x, row, PanelAt(col), panel_bytes(), [&](int64_t r, int j, V sum) HWY_ATTR {
          if (kType == DType::kI8) sum = hn::Mul(sum, hn::LoadU(d, scale + j * kLanes));
          if (from) sum = hn::Add(sum, hn::LoadU(d, from + j * kLanes));
          hn::StoreU(sum, d, out + r * task.out.stride + j * kLanes);
        });
  }

  // One panel, of which the columns in view are stored.
  template <int kRows>
  void Part(int64_t row, int64_t col) const {
    const D d;
    const int64_t first = std::max(col, task.shift());
    const int64_t cols = std::min(col + kTileCols, task.grid()) - first;
    const float* const scale = scales(col);
    HWY_ALIGN float sums[kRows * kTileCols];
    MultiplyPanels<kType, kFours, kRows, 1>(
        task.x, row, PanelAt(col), panel_bytes(), [&](int64_t r, int j, V sum) HWY_ATTR {
          if (kType == DType::kI8) sum = hn::Mul(sum, hn::LoadU(d, scale + j * kLanes));
          hn::Store(sum, d, sums + r * kTileCols + j * kLanes);
        });
    for (int64_t r = 0; r < kRows; ++r) {
      const float* const from = sums + r * kTileCols + first - col;
      float* const out = task.out.Row(row + r) + first - task.shift();
      for (int64_t j = 0; j < cols; ++j) out[j] = task.bias ? from[j] + bias(first)[j] : from[j];
    }
  }

  // Panels stay in L1 while all rows pass them.
  void Run(int64_t col_begin, int64_t col_end) const {
    const int64_t together = QuantPanelsFor(end - begin);
    for (int64_t col = col_begin; col < col_end;) {
      const auto whole = [&](int64_t panels) {
        return col >= task.shift() && col + panels * kTileCols <= std::min(col_end, task.grid());
      };
      const bool many = together > 1 && whole(together);
      const auto tile = [&](auto count, int64_t r0) HWY_ATTR {
        if (many) return Whole<count, QuantPanelsFor(count)>(begin + r0, col);
        if (whole(1)) return Whole<count, 1>(begin + r0, col);
        Part<count>(begin + r0, col);
      };
      ForTiles<kQuantRows<kFours>>(end - begin, tile);
      col += (many ? together : 1) * kTileCols;
    }
  }
};

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
  sums.Resize(x.rows * groups * 2);
  const QuantRows rows{groups, q.data(), scales.data(), sums.data()};
  constexpr int64_t kRowsTogether = 16;
  ParallelFor(x.rows > kRowsTogether ? threads : 1, CeilDiv(x.rows, kRowsTogether), [&](int64_t i) {
    const int64_t end = std::min(x.rows, (i + 1) * kRowsTogether);
    for (int64_t r = i * kRowsTogether; r < end; ++r) QuantiseRows(x, r, rows);
  });
  return rows;
}

// Cut as linear.cc cuts, but that for many rows a block of panels is at most what half of L2 holds.
// Few rows cost what it takes to bring the weights from memory, of which each thread gets a share.
void RunLinearQuant(const Exec& exec, MatView<const float> x, const WeightView& w,
                    VecView<const float> bias, MatView<float> out) {
  PITH_CHECK(w.panel == kTileCols);
  const bool few = x.rows <= kTileRows;
  const QuantLayout layout{QuantFormOf(w.dtype), kTileCols};
  const int64_t panel_bytes = layout.panel_bytes(w.cols);
  const int threads = few ? ThreadsForBytes(exec, w.rows / kTileCols * panel_bytes)
                          : ThreadsFor(exec, x.rows * w.rows * w.cols / 64);
  const QuantTask task = {Quantise(threads, x), w, bias.data, out};
  constexpr int64_t kBlockBytes = 256 << 10;
  const int64_t most = std::max<int64_t>(1, kBlockBytes / panel_bytes) * kTileCols;
  const int64_t together = QuantPanelsFor(x.rows) * kTileCols;
  const int64_t share = CeilDiv(CeilDiv(task.grid(), 4 * threads), together) * together;
  const int64_t block_cols = few ? share : most;
  const int64_t col_blocks = CeilDiv(task.grid(), block_cols);
  const int64_t row_blocks =
      std::clamp<int64_t>(CeilDiv(4 * threads, col_blocks), 1, CeilDiv(x.rows, 128));
  const int64_t block_rows = CeilDiv(CeilDiv(x.rows, row_blocks), kTileRows) * kTileRows;
  VisitQuantised(w.dtype, [&]<DType kType>() {
    ParallelFor(threads, col_blocks * row_blocks, [&](int64_t i) {
      const int64_t row = i % row_blocks * block_rows;
      const int64_t col = i / row_blocks * block_cols;
      const int64_t row_end = std::min(row + block_rows, x.rows);
      const int64_t col_end = std::min(col + block_cols, task.grid());
      if (kHasFours && HasByteProducts()) {
        QuantBlock<kType, true>{task, row, row_end}.Run(col, col_end);
      } else {
        QuantBlock<kType, false>{task, row, row_end}.Run(col, col_end);
      }
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
