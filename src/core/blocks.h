// Blocks of quantised values, as GGUF files store them (docs/formats/gguf.md). Numbers are
// little-endian, scales f16:
//
//   Q8_0   32 values, 34 bytes: d, 32 × int8 q                      w = d·q
//   Q4_0   32 values, 18 bytes: d, 16 bytes of two q each           w = d·(q − 8)
//          value i in the low half of byte i, value 16 + i in the high half
//   Q4_K  256 values, 144 bytes: d, dmin, 12 bytes of eight 6-bit   w = d·sc·q − dmin·m
//          pairs (sc, m), one a 32 values, 128 bytes of two q each
//   Q6_K  256 values, 210 bytes: 128 bytes of low halves, 64 bytes  w = d·sc·(q − 32)
//          of upper pairs of bits, 16 × int8 sc, one a 16 values, d
//
// In Q4_K byte 32·i + j holds values 64·i + j (low half) and 64·i + 32 + j. In Q6_K, of each half
// of 128 values, low byte 32·i + j holds values 32·i + j and 64 + 32·i + j (i < 2), and upper byte
// j has two bits of each of j, 32 + j, 64 + j, 96 + j.
#ifndef PITH_CORE_BLOCKS_H_
#define PITH_CORE_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/dtype.h"
#include "core/weight.h"

namespace pith {

// What the numbers of a quantised type are: w = scale · q − min.
struct QuantForm {
  int bits = 8;         // of q: 8 signed, or 4, which are q + `zero` from 0 to 15
  int zero = 0;         // what is added to q of 4 bits
  int group = 0;        // values that share a scale; 0: a row
  bool nested = false;  // scales are whole numbers times one f16 a block, else f16; of a row, f32
  bool minimums = false;
};

constexpr QuantForm QuantFormOf(DType dtype) {
  switch (dtype) {
    case DType::kI8:
      return {};
    case DType::kQ8_0:
      return {.bits = 8, .group = 32};
    case DType::kQ4_0:
      return {.bits = 4, .zero = 8, .group = 32};
    case DType::kQ4_K:
      return {.bits = 4, .group = 32, .nested = true, .minimums = true};
    case DType::kQ6_K:
      return {.bits = 8, .group = 16, .nested = true};
    default:
      Throw(ErrorCode::kInternal, "dtype: got ", Name(dtype), ", expected a quantised one");
  }
}

// A block taken apart, whatever its type.
struct BlockParts {
  float d = 0, dmin = 0;
  int8_t scale[16] = {};  // nested ones, one a group
  int8_t min[8] = {};
  int8_t q[256] = {};

  float Value(const QuantForm& form, int i) const {
    if (!form.nested) return d * static_cast<float>(q[i]);
    const int group = i / form.group;
    const float s = d * static_cast<float>(scale[group]);
    if (!form.minimums) return s * static_cast<float>(q[i]);
    return s * static_cast<float>(q[i]) - dmin * static_cast<float>(min[group]);
  }
};

BlockParts PartsOf(DType dtype, const std::byte* block);

// Widens values of any type but kI8, blocks or not, from bytes of any alignment. Products of scales
// are exact in f32, so the values are those of ggml's dequantize_row_*, to the bit. `from` holds
// BytesOf(dtype, to.size()).
void Widen(DType dtype, const std::byte* from, std::span<float> to);

// Row r of a matrix of any type, quantised or not.
void WidenRow(const StoredMatrix& matrix, int64_t r, std::span<float> to);

// Rounds as ggml's quantize_row_q8_0_ref does: d = max |w| / 127, q = w / d to nearest, halves away
// from zero. Values are finite; `to` has room for BytesOf(kQ8_0, from.size()).
void EncodeQ8_0(std::span<const float> from, std::byte* to);

// The other way, of f32, f16, bf16 (to nearest, ties to even) and Q8_0. False where a finite value
// is beyond the type, or Q8_0 would have to hold NaN or infinity.
bool Narrow(DType dtype, std::span<const float> from, std::byte* to);

}  // namespace pith

#endif  // PITH_CORE_BLOCKS_H_
