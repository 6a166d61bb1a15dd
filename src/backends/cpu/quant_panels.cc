#include "backends/cpu/quant_panels.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"

namespace pith::cpu {
namespace {

// Where the number of a lane and a column of its 32 lies: a byte of the numbers, and the lowest
// bit.
struct Place {
  int64_t byte;
  int shift;
};
Place PlaceOf(const QuantLayout& layout, int64_t lane, int64_t column) {
  const int64_t step = column / layout.step_columns();
  const int64_t at = column % layout.step_columns();
  const int64_t word = (step * layout.lanes + lane) * 4;
  return {word + at % 4, static_cast<int>(at / 4 * 4)};
}

void PutNumber(const QuantLayout& layout, std::byte* numbers, int64_t lane, int64_t column, int q) {
  const Place place = PlaceOf(layout, lane, column);
  const int bits = layout.form.bits == 8 ? q & 0xff : (q + layout.form.zero) & 15;
  numbers[place.byte] |= static_cast<std::byte>(bits << place.shift);
}

int GetNumber(const QuantLayout& layout, const std::byte* numbers, int64_t lane, int64_t column) {
  const Place place = PlaceOf(layout, lane, column);
  const int byte = static_cast<int>(numbers[place.byte]);
  if (layout.form.bits == 8) return static_cast<int8_t>(byte);
  return (byte >> place.shift & 15) - layout.form.zero;
}

void PutHalf(std::byte* at, int64_t lane, float value) {
  const F16 half = ToF16(value);  // which it was
  std::memcpy(at + lane * 2, &half, 2);
}

float GetHalf(const std::byte* at, int64_t lane) {
  F16 half;
  std::memcpy(&half, at + lane * 2, 2);
  return ToFloat(half);
}

// One stored block of a row into one lane of a block of the panel, which begins as zeros.
void PutBlock(const QuantLayout& layout, const BlockParts& parts, int64_t lane, std::byte* block) {
  const QuantForm& form = layout.form;
  if (form.nested) PutHalf(block, lane, parts.d);
  if (form.minimums) PutHalf(block + 2 * layout.lanes, lane, parts.dmin);
  for (int64_t p = 0; p < layout.parts(); ++p) {
    std::byte* const part = block + layout.PartAt(p);
    for (int64_t k = 0; k < kActivationGroup; ++k) {
      PutNumber(layout, part, lane, k, parts.q[p * kActivationGroup + k]);
    }
    std::byte* scales = part + layout.number_bytes();
    if (!form.nested) {
      PutHalf(scales, lane, parts.d);
      continue;
    }
    for (int64_t g = 0; g < layout.groups(); ++g, scales += layout.lanes) {
      scales[lane] = static_cast<std::byte>(parts.scale[p * layout.groups() + g]);
    }
    if (form.minimums) scales[lane] = static_cast<std::byte>(parts.min[p]);
  }
}

// The inverse.
BlockParts GetBlock(const QuantLayout& layout, const std::byte* block, int64_t lane) {
  const QuantForm& form = layout.form;
  BlockParts parts;
  if (form.nested) parts.d = GetHalf(block, lane);
  if (form.minimums) parts.dmin = GetHalf(block + 2 * layout.lanes, lane);
  for (int64_t p = 0; p < layout.parts(); ++p) {
    const std::byte* const part = block + layout.PartAt(p);
    for (int64_t k = 0; k < kActivationGroup; ++k) {
      parts.q[p * kActivationGroup + k] = static_cast<int8_t>(GetNumber(layout, part, lane, k));
    }
    const std::byte* scales = part + layout.number_bytes();
    if (!form.nested) {
      if (form.group != 0) parts.d = GetHalf(scales, lane);
      continue;
    }
    for (int64_t g = 0; g < layout.groups(); ++g, scales += layout.lanes) {
      parts.scale[p * layout.groups() + g] = static_cast<int8_t>(scales[lane]);
    }
    if (form.minimums) parts.min[p] = static_cast<int8_t>(scales[lane]);
  }
  return parts;
}

void PutRow(const QuantLayout& layout, const StoredMatrix& stored, int64_t r, std::byte* panel) {
  const int64_t lane = r % layout.lanes;
  const auto* row =
      static_cast<const std::byte*>(stored.data) + r * BytesOf(stored.dtype, stored.cols);
  if (stored.dtype == DType::kI8) {
    for (int64_t k = 0; k < stored.cols; ++k) {
      PutNumber(layout, panel + layout.PartAt(k / kActivationGroup), lane, k % kActivationGroup,
                static_cast<int8_t>(row[k]));
    }
    return;
  }
  for (int64_t b = 0; b < layout.blocks(stored.cols); ++b) {
    PutBlock(layout, PartsOf(stored.dtype, row), lane, panel + b * layout.block_bytes());
    row += BlockOf(stored.dtype).bytes;
  }
}

int64_t Panels(int64_t rows, int64_t lanes) { return (rows + lanes - 1) / lanes; }

}  // namespace

int64_t QuantPanelsBytes(const StoredMatrix& stored, int64_t lanes) {
  const QuantLayout layout{QuantFormOf(stored.dtype), lanes};
  const int64_t panels = Panels(stored.rows, lanes);
  const int64_t scales = stored.dtype == DType::kI8 ? panels * lanes * int64_t{sizeof(float)} : 0;
  return panels * layout.panel_bytes(stored.cols) + scales;
}

WeightView PackQuantPanels(const Exec& exec, const StoredMatrix& stored, int64_t lanes, void* to) {
  const QuantLayout layout{QuantFormOf(stored.dtype), lanes};
  const int64_t panels = Panels(stored.rows, lanes);
  const int64_t panel_bytes = layout.panel_bytes(stored.cols);
  auto* const bytes = static_cast<std::byte*>(to);
  ParallelFor(exec.threads, panels, [&](int64_t p) {
    std::byte* const panel = bytes + p * panel_bytes;
    std::memset(panel, 0, panel_bytes);
    for (int64_t r = p * lanes; r < std::min(stored.rows, (p + 1) * lanes); ++r) {
      PutRow(layout, stored, r, panel);
    }
  });
  WeightView view = RowsOf(stored);
  view.format = WeightFormat::kQuantPanels;
  view.data = to;
  view.panel = lanes;
  if (stored.dtype == DType::kI8) {
    auto* const scales = reinterpret_cast<float*>(bytes + panels * panel_bytes);
    std::copy_n(stored.scales, stored.rows, scales);
    std::fill(scales + stored.rows, scales + panels * lanes, 0.0f);
    view.scales = scales;
  }
  return view;
}

void WidenPanelRow(const WeightView& w, int64_t r, std::span<float> to) {
  const QuantLayout layout{QuantFormOf(w.dtype), w.panel};
  const auto* const panel =
      static_cast<const std::byte*>(w.data) + r / w.panel * layout.panel_bytes(w.cols);
  const int64_t columns = layout.parts() * kActivationGroup;
  for (int64_t b = 0; b < layout.blocks(w.cols); ++b) {
    BlockParts parts = GetBlock(layout, panel + b * layout.block_bytes(), r % w.panel);
    if (w.dtype == DType::kI8) parts.d = w.scales[r];
    for (int64_t k = 0; k < std::min(columns, w.cols - b * columns); ++k) {
      to[b * columns + k] = parts.Value(layout.form, static_cast<int>(k));
    }
  }
}

}  // namespace pith::cpu
