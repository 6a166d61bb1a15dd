// Packing of matrices into panels, once, as the model is loaded.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/pack.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <bit>
#include <cmath>
#include <type_traits>

#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

int64_t RunPanelRows() { return kTileCols; }

// One panel at a time: `to` is [cols, kTileCols] for rows [panel · kTileCols, …) of the matrix.
template <class T>
void PackOne(const StoredMatrix& from, int64_t panel, T* to) {
  const int64_t begin = panel * kTileCols;
  const int64_t rows = std::min(kTileCols, from.rows - begin);
  const T* const w = static_cast<const T*>(from.data) + begin * from.cols;
  // Some sixteen columns at a time, so that what is read stays in L1 until it is used up.
  constexpr int64_t kColumns = 64 / sizeof(T);
  for (int64_t k0 = 0; k0 < from.cols; k0 += kColumns) {
    const int64_t k1 = std::min(from.cols, k0 + kColumns);
    for (int64_t k = k0; k < k1; ++k) {
      for (int64_t j = 0; j < rows; ++j) to[k * kTileCols + j] = w[j * from.cols + k];
      for (int64_t j = rows; j < kTileCols; ++j) to[k * kTileCols + j] = T{};
    }
  }
}

template <class T>
BF16 Rounded(T value) {
  if constexpr (std::is_same_v<T, BF16>) {
    return value;
  } else {
    return ToBF16(ToFloat(value));
  }
}

// The same with values rounded to bf16 on the way.
void PackRounded(const StoredMatrix& from, int64_t panel, BF16* to) {
  const int64_t begin = panel * kTileCols;
  const int64_t rows = std::min(kTileCols, from.rows - begin);
  VisitFloat(from.dtype, [&]<class T>() {
    const T* const w = static_cast<const T*>(from.data) + begin * from.cols;
    for (int64_t k = 0; k < from.cols; ++k) {
      for (int64_t j = 0; j < kTileCols; ++j) {
        to[k * kTileCols + j] = j < rows ? Rounded(w[j * from.cols + k]) : BF16{};
      }
    }
  });
}

void RunPackPairs(const Exec& exec, const StoredMatrix& from, BF16Pair* to) {
  const int64_t steps = CeilDiv(from.cols, 2);
  ParallelFor(exec.threads, CeilDiv(from.rows, kTileCols), [&](int64_t panel) {
    BF16Pair* const at = to + panel * kTileCols * steps;
    std::fill_n(at, kTileCols * steps, BF16Pair{});
    VisitFloat(from.dtype, [&]<class T>() {
      const int64_t begin = panel * kTileCols;
      const T* const w = static_cast<const T*>(from.data) + begin * from.cols;
      const auto value = [&](int64_t j, int64_t k) { return Rounded(w[j * from.cols + k]); };
      for (int64_t k = 0; k < from.cols; k += 2) {
        for (int64_t j = 0; j < std::min(kTileCols, from.rows - begin); ++j) {
          BF16Pair& pair = at[k / 2 * kTileCols + j];
          pair.first = value(j, k);
          if (k + 1 < from.cols) pair.second = value(j, k + 1);
        }
      }
    });
  });
}

template <class T>
float ScaleOfWeights(const T* w, int64_t n) {
  float most = 0;
  for (int64_t k = 0; k < n; ++k) {
    const float value = std::abs(ToFloat(w[k]));
    if (std::isfinite(value)) most = std::max(most, value);
  }
  return ScaleForF16(std::bit_cast<uint32_t>(most));
}

void RunPackF16Pairs(const Exec& exec, const StoredMatrix& from, F16Pair* to, float* scales) {
  const int64_t steps = CeilDiv(from.cols, 2);
  ParallelFor(exec.threads, CeilDiv(from.rows, kTileCols), [&](int64_t panel) {
    F16Pair* const at = to + panel * kTileCols * steps;
    std::fill_n(at, kTileCols * steps, F16Pair{});
    std::fill_n(scales + panel * kTileCols, kTileCols, 1.0f);
    VisitFloat(from.dtype, [&]<class T>() {
      const int64_t begin = panel * kTileCols;
      for (int64_t j = 0; j < std::min(kTileCols, from.rows - begin); ++j) {
        const T* const w = static_cast<const T*>(from.data) + (begin + j) * from.cols;
        const float scale = ScaleOfWeights(w, from.cols);
        scales[begin + j] = InverseOfPower(scale);
        F16Pair* const column = at + F16Place(j);
        for (int64_t k = 0; k < from.cols; ++k) {
          F16Pair& pair = column[k / 2 * kTileCols];
          (k % 2 == 0 ? pair.first : pair.second) = ToF16(ToFloat(w[k]) * scale);
        }
      }
    });
  });
}

void RunPackPanels(const Exec& exec, const StoredMatrix& from, DType dtype, void* to) {
  const int64_t panel_size = kTileCols * from.cols;
  ParallelFor(exec.threads, CeilDiv(from.rows, kTileCols), [&](int64_t panel) {
    VisitFloat(dtype, [&]<class T>() {
      T* const at = static_cast<T*>(to) + panel * panel_size;
      if (from.dtype == dtype) {
        PackOne<T>(from, panel, at);
      } else if constexpr (std::is_same_v<T, BF16>) {
        PackRounded(from, panel, at);
      } else {
        PITH_CHECK(from.dtype == dtype);
      }
    });
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunPanelRows);
HWY_EXPORT(RunPackPanels);
HWY_EXPORT(RunPackPairs);
HWY_EXPORT(RunPackF16Pairs);

int64_t PanelRows() { return HWY_DYNAMIC_DISPATCH(RunPanelRows)(); }

void PackPanels(const Exec& exec, const StoredMatrix& from, DType dtype, void* to) {
  HWY_DYNAMIC_DISPATCH(RunPackPanels)(exec, from, dtype, to);
}

void PackPairs(const Exec& exec, const StoredMatrix& from, BF16Pair* to) {
  HWY_DYNAMIC_DISPATCH(RunPackPairs)(exec, from, to);
}

void PackF16Pairs(const Exec& exec, const StoredMatrix& from, F16Pair* to, float* scales) {
  HWY_DYNAMIC_DISPATCH(RunPackF16Pairs)(exec, from, to, scales);
}

}  // namespace pith::cpu
#endif
