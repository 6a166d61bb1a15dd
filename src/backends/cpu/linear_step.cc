// LinearStep: each panel is read once, from first to last, for all rows together.
//
// Reading is all that a step costs, so panels lie side by side in the registers, as many as a tile
// has room for: a processor follows several streams faster than one. Lines are asked for ahead,
// because its own prefetcher stops at the end of a page and begins anew in each panel.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/linear_step.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cstring>
#include <type_traits>

#include "backends/cpu/kernels.h"
#include "backends/cpu/sides-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

constexpr int64_t kLine = 64;
constexpr int64_t kBytesAhead = 512;  // of each panel
constexpr int kMostRows = 6;          // of a tile: 12 vectors of sums at the most
constexpr int kMostPanels = 4;

// As many panels beside each other as make eight chains of sums or more, which hide the latency of
// a multiply-add, and twelve at the most, which AVX2's registers hold.
constexpr int PanelsFor(int rows) { return rows == 1 ? kMostPanels : rows <= 3 ? 2 : 1; }

struct StepTask {
  const float* inputs;  // [rows, stride], rounded where the precision asks for it
  const float* scales;  // [rows] ScaleOfRow
  int64_t stride;
  int64_t rows;
  WeightView w;
  const float* bias;  // null: none
  MatView<float> out;

  // Of the depth: columns, or pairs of them.
  int64_t steps() const {
    return w.format == WeightFormat::kPairPanels ? CeilDiv(w.cols, 2) : w.cols;
  }
  // Columns are counted from the first panel that holds any of the view's.
  int64_t shift() const { return w.first % kTileCols; }
  // Of the columns of a panel: where panels are of f16.
  const float* ColumnScales(int64_t panel) const {
    return w.scales == nullptr ? nullptr : w.scales + w.first - shift() + panel * kTileCols;
  }
  int64_t panels() const { return CeilDiv(shift() + w.rows, kTileCols); }
  template <class T>
  const T* Panel(int64_t panel) const {
    return static_cast<const T*>(w.data) + (w.first / kTileCols + panel) * steps() * kTileCols;
  }
};

// Lines of the panels that begin at `at`, which are read next.
template <class T>
HWY_INLINE void AskForPanels(const T* at, int64_t panels, int64_t depth) {
  const int64_t bytes = std::min<int64_t>(kBytesAhead, depth * kTileCols * sizeof(T));
  for (int64_t p = 0; p < panels; ++p) {
    const auto* const from = reinterpret_cast<const uint8_t*>(at + p * depth * kTileCols);
    for (int64_t i = 0; i < bytes; i += kLine) hwy::Prefetch(from + i);
  }
}

// sums[r][p]: rows of `left` times `depth` rows of panels that are `panel_stride` numbers apart, a
// chain of fused multiply-adds for each element.
template <int kRows, int kPanels, bool kRound, class T>
HWY_INLINE void Chain(const float* HWY_RESTRICT left, int64_t stride, const T* HWY_RESTRICT right,
                      int64_t panel_stride, int64_t depth, V (&sums)[kRows][2 * kPanels]) {
  const D d;
  for (auto& row : sums) {
    for (V& sum : row) sum = hn::Zero(d);
  }
  const auto load = [](const T* from) HWY_ATTR {
    const V v = LoadWide(D(), from);
    return kRound ? RoundToBF16(D(), v) : v;
  };
  const auto add = [&](int64_t k) HWY_ATTR {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const T* const at = right + p * panel_stride + k * kTileCols;
      const V right0 = load(at);
      const V right1 = load(at + kLanes);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        const V l = hn::Set(d, left[r * stride + k]);
        sums[r][2 * p] = AddProduct<T>(l, right0, sums[r][2 * p]);
        sums[r][2 * p + 1] = AddProduct<T>(l, right1, sums[r][2 * p + 1]);
      }
    }
  };
  constexpr int64_t kRowBytes = kTileCols * sizeof(T);
  constexpr int64_t kTogether = std::max<int64_t>(1, kLine / kRowBytes);
  int64_t k = 0;
  for (; k + kTogether <= depth; k += kTogether) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const auto* const ahead =
          reinterpret_cast<const uint8_t*>(right + p * panel_stride) + k * kRowBytes + kBytesAhead;
      for (int64_t i = 0; i < kTogether * kRowBytes; i += kLine) hwy::Prefetch(ahead + i);
    }
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTogether; ++i) add(k + i);
  }
  for (; k < depth; ++k) add(k);
}

// The same, and of pairs of f16 as many chains as Linear makes of so many steps.
template <int kRows, int kPanels, bool kRound, class T>
HWY_INLINE void Chains(const float* HWY_RESTRICT left, int64_t stride, const T* HWY_RESTRICT right,
                       int64_t panel_stride, int64_t depth, V (&sums)[kRows][2 * kPanels]) {
  if constexpr (!std::is_same_v<T, F16Pair>) {
    return Chain<kRows, kPanels, kRound>(left, stride, right, panel_stride, depth, sums);
  }
  const auto chain = [&](int64_t k, V(&run)[kRows][2 * kPanels]) HWY_ATTR {
    Chain<kRows, kPanels, kRound>(left + k, stride, right + k * kTileCols, panel_stride,
                                  std::min(kRunOfF16, depth - k), run);
  };
  for (int64_t k = 0; k < depth; k += kWidenedOfF16) {
    V run[kRows][2 * kPanels];
    chain(k, run);
    if (k + kRunOfF16 < depth) {
      V second[kRows][2 * kPanels];
      chain(k + kRunOfF16, second);
      for (int r = 0; r < kRows; ++r) {
        for (int i = 0; i < 2 * kPanels; ++i) run[r][i] = AddF16(second[r][i], run[r][i]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < kPanels; ++p) {
        V widened[2] = {run[r][2 * p], run[r][2 * p + 1]};
        WidenF16(widened);
        for (int j = 0; j < 2; ++j) {
          V& sum = sums[r][2 * p + j];
          sum = k == 0 ? widened[j] : hn::Add(sum, widened[j]);
        }
      }
    }
  }
}

// Rows [row, row + kRows) of panels [panel, panel + kPanels). The sums of each kDepth products are
// added up as Linear adds them, so that a step and a prefill agree to the last bit.
template <int kRows, int kPanels, bool kRound, class T>
void Tile(const StepTask& task, int64_t row, int64_t panel) {
  constexpr int64_t kWidth = kPanels * kTileCols;
  const D d;
  const int64_t first = panel * kTileCols - task.shift();  // the view's column of totals[0]
  const int64_t begin = std::max<int64_t>(0, -first);
  const int64_t count = std::min(kWidth, task.w.rows - first) - begin;
  HWY_ALIGN float bias[kWidth] = {};
  if (task.bias) std::memcpy(bias + begin, task.bias + first + begin, count * sizeof(float));
  HWY_ALIGN float totals[kRows * kWidth];
  const float* const columns = task.ColumnScales(panel);
  const int64_t steps = task.steps();
  for (int64_t k0 = 0; k0 < steps; k0 += kDepth) {
    V sums[kRows][2 * kPanels];
    Chains<kRows, kPanels, kRound>(task.inputs + row * task.stride + k0, task.stride,
                                   task.Panel<T>(panel) + k0 * kTileCols, steps * kTileCols,
                                   std::min(kDepth, steps - k0), sums);
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < 2 * kPanels; ++j) {
        float* const at = totals + r * kWidth + j * kLanes;
        const V start = hn::Load(d, k0 > 0 ? at : bias + j * kLanes);
        const V sum = Unscaled<T>(sums[r][j], columns, j, task.scales, row + r);
        hn::Store(hn::Add(start, sum), d, at);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    std::memcpy(task.out.Row(row + r) + first + begin, totals + r * kWidth + begin,
                count * sizeof(float));
  }
}

// The same for any number of rows up to kRows.
template <bool kRound, class T, int kRows = kMostRows>
void Rows(const StepTask& task, int64_t row, int64_t rows, int64_t panel, int64_t panels) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return Rows<kRound, T, kRows - 1>(task, row, rows, panel, panels);
  }
  constexpr int kPanels = PanelsFor(kRows);
  for (; panels >= kPanels; panels -= kPanels, panel += kPanels) {
    Tile<kRows, kPanels, kRound, T>(task, row, panel);
  }
  for (; panels > 0; --panels, ++panel) Tile<kRows, 1, kRound, T>(task, row, panel);
}

// Panels [begin, end): all rows of some, then all rows of the next.
template <bool kRound, class T>
void Panels(const StepTask& task, int64_t begin, int64_t end) {
  const int64_t tiles = CeilDiv(task.rows, kMostRows);
  const int64_t tile_rows = CeilDiv(task.rows, tiles);
  const int64_t together = PanelsFor(static_cast<int>(tile_rows));
  for (int64_t panel = begin; panel < end; panel += together) {
    const int64_t count = std::min(together, end - panel);
    const int64_t next = panel + count;
    if (next < end) AskForPanels(task.Panel<T>(next), std::min(together, end - next), task.steps());
    for (int64_t row = 0; row < task.rows; row += tile_rows) {
      Rows<kRound, T>(task, row, std::min(tile_rows, task.rows - row), panel, count);
    }
  }
}

// x as the panels want it, with rows kept off each other's cache sets, and behind it their scales.
int64_t CopyInputs(const Task& task, BufferOwner<float>& to) {
  const int64_t steps = task.steps();
  const int64_t stride = CeilDiv(steps, 16) * 16 + 16;
  to.Resize(task.x.rows * (stride + 1));
  float* const scales = to.data() + task.x.rows * stride;
  for (int64_t r = 0; r < task.x.rows; ++r) {
    scales[r] = ScaleOfRow(task, task.x.Row(r));
    CopyRow(task, task.x.Row(r), scales[r], 0, steps, to.data() + r * stride);
  }
  return stride;
}

// Some pieces a thread, so that they even out, but each as long as it can be.
void RunLinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                   VecView<const float> bias, MatView<float> out) {
  if (out.empty()) return;
  thread_local BufferOwner<float> inputs;
  const bool bf16 = exec.precision == Precision::kBF16;
  const int64_t stride = CopyInputs(TaskOf(exec, x, w, bias, out), inputs);
  const float* const scales = inputs.data() + x.rows * stride;
  const StepTask task = {inputs.data(), scales, stride, x.rows, w, bias.data, out};
  const int threads =
      ThreadsForBytes(exec, w.rows * w.cols * static_cast<int64_t>(SizeOf(w.dtype)));
  const int64_t share = threads == 1 ? task.panels() : CeilDiv(task.panels(), 4 * threads);
  const int64_t piece = CeilDiv(share, kMostPanels) * kMostPanels;
  ParallelFor(threads, CeilDiv(task.panels(), piece), [&](int64_t i) {
    const int64_t begin = i * piece;
    const int64_t end = std::min(begin + piece, task.panels());
    VisitPanels(w, [&]<class T>() {
      constexpr bool kWide = std::is_same_v<T, float> || std::is_same_v<T, F16>;
      if (kWide && bf16) {
        Panels<kWide, T>(task, begin, end);
      } else {
        Panels<false, T>(task, begin, end);
      }
    });
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunLinearStep);

void LinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                VecView<const float> bias, MatView<float> out) {
  // Wide panels whose products are of pairs: Linear makes them.
  const bool pairs = exec.precision == Precision::kBF16 && HasBF16Products();
  if (w.format == WeightFormat::kQuantPanels || (pairs && w.format == WeightFormat::kPanels)) {
    return Linear(exec, x, w, bias, out);
  }
  HWY_DYNAMIC_DISPATCH(RunLinearStep)(exec, x, w, bias, out);
}

}  // namespace pith::cpu
#endif
