// Which rows a layer works on.
#ifndef PITH_MODEL_LAYER_ROWS_H_
#define PITH_MODEL_LAYER_ROWS_H_

#include <cstdint>
#include <vector>

#include "core/exec.h"

namespace pith {

// The rows that a layer works on: packed pieces of sequences.
struct LayerRows {
  int64_t rows = 0;
  std::vector<Segment> segments;
  std::vector<int32_t> slots;  // one a segment: where its state lies
  // [rows] in the whole text, whatever was reduced before; empty where no layer reads them.
  std::vector<int32_t> positions;
  // [rows] the token at each position: also of a row into which others merged. Empty where no layer
  // reads them.
  std::vector<int32_t> ids;
  // The rows whose output is wanted, ascending; null: all. The others only write state. The wanted
  // rows' bits are the same either way.
  const std::vector<int64_t>* wanted = nullptr;

  int64_t wanted_rows() const {
    return wanted == nullptr ? rows : static_cast<int64_t>(wanted->size());
  }
  void Clear();
};

}  // namespace pith

#endif  // PITH_MODEL_LAYER_ROWS_H_
