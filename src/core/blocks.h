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
#include <span>

#include "core/dtype.h"

namespace pith {

// Widens values of any type, blocks or not, from bytes of any alignment. Products of scales are
// exact in f32, so the values are those of ggml's dequantize_row_*, to the bit. `from` holds
// BytesOf(dtype, to.size()).
void Widen(DType dtype, const std::byte* from, std::span<float> to);

// Rounds as ggml's quantize_row_q8_0_ref does: d = max |w| / 127, q = w / d to nearest, halves away
// from zero. Values are finite; `to` has room for BytesOf(kQ8_0, from.size()).
void EncodeQ8_0(std::span<const float> from, std::byte* to);

// The other way, of f32, f16, bf16 (to nearest, ties to even) and Q8_0. False where a finite value
// is beyond the type, or Q8_0 would have to hold NaN or infinity.
bool Narrow(DType dtype, std::span<const float> from, std::byte* to);

}  // namespace pith

#endif  // PITH_CORE_BLOCKS_H_
