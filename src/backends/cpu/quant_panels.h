// How quantised matrices lie in panels (WeightFormat::kQuantPanels), so that a product reads one
// run of memory from first to last.
//
// A panel is `lanes` rows of the matrix. It is cut into blocks of columns, 32 or, for types whose
// scales are nested, 256. A block is
//   [nested: d, f16 × lanes; with minimums also dmin, f16 × lanes]
//   for each 32 columns: numbers; then scales: none (kI8), d, f16 × lanes, or, nested, int8 × lanes
//   for each group; then, with minimums, int8 × lanes.
// Numbers are 32-bit words, one a lane and step. A step is 4 columns of 8 bits, one a byte, or 8
// columns of 4 bits: the low halves of the bytes hold columns 0 to 3, the high halves 4 to 7.
#ifndef PITH_BACKENDS_CPU_QUANT_PANELS_H_
#define PITH_BACKENDS_CPU_QUANT_PANELS_H_

#include <cstdint>
#include <span>

#include "core/blocks.h"
#include "core/exec.h"
#include "core/quantise.h"
#include "core/weight.h"

namespace pith::cpu {

struct QuantLayout {
  QuantForm form;
  int64_t lanes;

  constexpr int64_t step_columns() const { return 32 / form.bits; }
  constexpr int64_t number_bytes() const { return kActivationGroup * form.bits / 8 * lanes; }
  constexpr int64_t groups() const {  // of scales, in 32 columns
    return form.group == 0 ? 0 : kActivationGroup / form.group;
  }
  constexpr int64_t scale_bytes() const {
    if (form.nested) return (groups() + (form.minimums ? 1 : 0)) * lanes;
    return groups() * 2 * lanes;
  }
  constexpr int64_t part_bytes() const { return number_bytes() + scale_bytes(); }
  constexpr int64_t parts() const { return form.nested ? 256 / kActivationGroup : 1; }
  constexpr int64_t head_bytes() const { return form.nested ? (form.minimums ? 4 : 2) * lanes : 0; }
  constexpr int64_t block_bytes() const { return head_bytes() + parts() * part_bytes(); }

  int64_t blocks(int64_t cols) const {
    const int64_t columns = parts() * kActivationGroup;
    return (cols + columns - 1) / columns;
  }
  int64_t panel_bytes(int64_t cols) const { return blocks(cols) * block_bytes(); }
  // Where the 32 columns `part` begin in a panel, and the block's head. Inline by order: g++ leaves
  // them as calls in the kernels' loops, around which all vectors are saved.
  [[gnu::always_inline]] constexpr int64_t PartAt(int64_t part) const {
    return part / parts() * block_bytes() + head_bytes() + part % parts() * part_bytes();
  }
  [[gnu::always_inline]] constexpr int64_t HeadAt(int64_t part) const {
    return part / parts() * block_bytes();
  }
};

// Bytes of all panels, and of kI8's scales behind them, filled up with 0.
int64_t QuantPanelsBytes(const StoredMatrix& stored, int64_t lanes);

// Packs and gives the view.
WeightView PackQuantPanels(const Exec& exec, const StoredMatrix& stored, int64_t lanes, void* to);

// Row r of the whole matrix, widened to f32 as WidenRow does.
void WidenPanelRow(const WeightView& w, int64_t r, std::span<float> to);

}  // namespace pith::cpu

#endif  // PITH_BACKENDS_CPU_QUANT_PANELS_H_
