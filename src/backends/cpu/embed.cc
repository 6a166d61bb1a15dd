#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/embed.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "backends/cpu/quant_panels.h"
#include "core/blocks.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Row r of the whole table.
void EmbedPairs(const WeightView& table, int64_t r, float* to) {
  const int64_t panel_size = CeilDiv(table.cols, 2) * table.panel;
  const auto* const column =
      static_cast<const BF16Pair*>(table.data) + r / table.panel * panel_size + r % table.panel;
  for (int64_t j = 0; j < table.cols; ++j) {
    const BF16Pair& pair = column[j / 2 * table.panel];
    to[j] = ToFloat(j % 2 == 0 ? pair.first : pair.second);
  }
}

void RunEmbed(const WeightView& table, std::span<const int32_t> ids, MatView<float> out) {
  VisitFloat(table.dtype, [&]<class T>() HWY_ATTR {
    for (int64_t i = 0; i < out.rows; ++i) {
      float* to = out.Row(i);
      const int64_t r = table.first + ids[i];
      if (table.format == WeightFormat::kPairPanels) {
        EmbedPairs(table, r, to);
        continue;
      }
      if (table.format == WeightFormat::kPanels) {
        const T* column = static_cast<const T*>(table.data) +
                          r / table.panel * table.panel * table.cols + r % table.panel;
        for (int64_t j = 0; j < table.cols; ++j) to[j] = ToFloat(column[j * table.panel]);
        continue;
      }
      const T* row = static_cast<const T*>(table.data) + r * table.cols;
      ForVectors(table.cols,
                 [&](auto d, int64_t j) HWY_ATTR { hn::StoreU(LoadWide(d, row + j), d, to + j); });
    }
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunEmbed);

namespace {

void WidenTableRow(const WeightView& table, int64_t r, std::span<float> to) {
  if (table.format == WeightFormat::kQuantPanels) return WidenPanelRow(table, r, to);
  WidenRow({table.dtype, table.data, r + 1, table.cols, table.scales}, r, to);
}

}  // namespace

// One thread: a gather of rows takes less time than waking a second.
void Embed(const Exec&, const WeightView& table, std::span<const int32_t> ids, MatView<float> out) {
  if (IsQuantised(table.dtype)) {
    for (int64_t i = 0; i < out.rows; ++i) {
      WidenTableRow(table, table.first + ids[i], {out.Row(i), static_cast<size_t>(table.cols)});
    }
    return;
  }
  HWY_DYNAMIC_DISPATCH(RunEmbed)(table, ids, out);
}

}  // namespace pith::cpu
#endif
