// What one whole mixer leaves for the next one.
#ifndef PITH_OPS_COMPACT_ROWS_H_
#define PITH_OPS_COMPACT_ROWS_H_

#include <cstddef>
#include <cstdint>

namespace pith {

// A hidden branch between two layers that both take whole mixers: rows in 16 bits, each still to be
// multiplied by the factor of the gated norm before it. Only the backend that wrote it reads it.
struct CompactRows {
  const void* data = nullptr;      // [rows, d_model]; null: there is none
  const float* squares = nullptr;  // [rows, parts]; null: the factors are 1
  int64_t parts = 0;
  int64_t width = 0;  // factor = 1 / sqrt(Σ squares / width + eps)
  float eps = 0;

  bool empty() const { return data == nullptr; }
  // From a row on.
  CompactRows From(int64_t row, int64_t d_model) const {
    CompactRows rest = *this;
    rest.data = static_cast<const std::byte*>(data) + row * d_model * 2;
    if (squares != nullptr) rest.squares = squares + row * parts;
    return rest;
  }
};

}  // namespace pith

#endif  // PITH_OPS_COMPACT_ROWS_H_
