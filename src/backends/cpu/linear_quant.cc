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

// store(r, j, sum) for rows [row, row + kRows) times the panel.
template <DType kType, bool kFours, int kRows, class Store>
HWY_INLINE void MultiplyPanel(const QuantRows& x, int64_t row, const std::byte* data,
                              const Store& store) {
  const D d;
  using P = Panel<kType>;
  constexpr QuantForm kForm = P::kForm;
  constexpr int kColumns = kForm.group == 0 ? kActivationGroup : kForm.group;
  constexpr int kExcess = Numbers<kForm.bits, kFours>::Excess(kForm.zero);
  const P panel{data};
  V total[kRows][2];
  ClearSums(total);
  for (int64_t part = 0; part < x.groups; ++part) {
    const std::byte* numbers = data + P::kLayout.PartAt(part);
    const auto at = [&](int r) { return (row + r) * x.groups + part; };
#pragma GCC unroll 2
    for (int64_t g = 0; g < kActivationGroup / kColumns; ++g) {
      VI sums[kRows][2];
      MultiplyNumbers<kForm.bits, kFours, kColumns, kRows>(
          numbers, x.q + row * x.stride() + part * kActivationGroup + g * kColumns, x.stride(),
          sums);
      numbers += kColumns * kForm.bits / 8 * kTileCols;
#pragma GCC unroll 16
      for (int j = 0; j < 2; ++j) {
        V scale = hn::Zero(d);
        if constexpr (kForm.group != 0) scale = panel.Scale(part, g, j);
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
      for (int j = 0; j < 2; ++j) {
        const V minimum = panel.Minimum(part, j);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const float sum = static_cast<float>(x.sums[2 * at(r) + 1]);
          const V share = hn::Set(d, x.scales[at(r)] * sum);
          total[r][j] = hn::Sub(total[r][j], hn::Mul(minimum, share));
        }
      }
    }
  }
  StoreSums(total, store);
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

// Rows of a tile. Sums of a group and totals of those before it share the registers; where each
// word costs several instructions, it should rather meet many rows.
template <bool kFours>
constexpr int kQuantRows = kFours ? 6 : kTileRows;

// Rows [begin, end) and the panel at grid column `col`, of which the columns in view are stored.
template <DType kType, bool kFours>
void RunQuantPanel(const QuantTask& task, int64_t begin, int64_t end, int64_t col,
                   const std::byte* panel) {
  const D d;
  const int64_t first = std::max(col, task.shift());
  const int64_t cols = std::min(col + kTileCols, task.grid()) - first;
  const bool whole = cols == kTileCols;
  const float* const bias = task.bias ? task.bias + first - task.shift() : nullptr;
  const float* const scales =
      kType == DType::kI8 ? task.w.scales + task.w.first - task.shift() + col : nullptr;
  HWY_ALIGN float part[kQuantRows<kFours> * kTileCols];
  const auto tile = [&](auto count, int64_t r0) HWY_ATTR {
    float* const out = task.out.Row(begin + r0) + first - task.shift();
    const int64_t stride = task.out.stride;
    MultiplyPanel<kType, kFours, count>(
        task.x, begin + r0, panel, [&](int64_t r, int j, V sum) HWY_ATTR {
          if (kType == DType::kI8) sum = hn::Mul(sum, hn::LoadU(d, scales + j * kLanes));
          if (!whole) return hn::Store(sum, d, part + r * kTileCols + j * kLanes);
          if (bias) sum = hn::Add(sum, hn::LoadU(d, bias + j * kLanes));
          hn::StoreU(sum, d, out + r * stride + j * kLanes);
        });
    if (whole) return;
    for (int64_t r = 0; r < count; ++r) {
      const float* const from = part + r * kTileCols + first - col;
      for (int64_t j = 0; j < cols; ++j) out[r * stride + j] = bias ? from[j] + bias[j] : from[j];
    }
  };
  ForTiles<kQuantRows<kFours>>(end - begin, tile);
}

// A panel stays in L1 while all rows pass it.
template <DType kType, bool kFours>
void RunQuantBlock(const QuantTask& task, int64_t row_begin, int64_t row_end, int64_t col_begin,
                   int64_t col_end) {
  const int64_t panel_bytes = Panel<kType>::kLayout.panel_bytes(task.w.cols);
  const auto* const panels = static_cast<const std::byte*>(task.w.data) +
                             (task.w.first - task.shift()) / kTileCols * panel_bytes;
  for (int64_t col = col_begin; col < col_end; col += kTileCols) {
    RunQuantPanel<kType, kFours>(task, row_begin, row_end, col,
                                 panels + col / kTileCols * panel_bytes);
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
  sums.Resize(x.rows * groups * 2);
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
      const auto run =
          kHasFours && HasByteProducts() ? RunQuantBlock<kType, true> : RunQuantBlock<kType, false>;
      run(task, row, std::min(row + block_rows, x.rows), col,
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
