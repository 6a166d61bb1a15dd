// Element types of stored tensors, their conversions, and dispatch over them.
#ifndef PITH_CORE_DTYPE_H_
#define PITH_CORE_DTYPE_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.h"

namespace pith {

// The last four are GGUF's: they hold blocks of values that share scales (core/blocks.h). kI8 holds
// whole numbers, of which each row has a scale that lies apart (StoredMatrix::scales).
enum class DType : uint8_t { kF32, kF16, kBF16, kI8, kQ8_0, kQ4_0, kQ4_K, kQ6_K };

struct BlockShape {
  int64_t values = 1;  // of one row, side by side
  int64_t bytes = 0;
};

constexpr BlockShape BlockOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return {1, 4};
    case DType::kF16:
    case DType::kBF16:
      return {1, 2};
    case DType::kI8:
      return {1, 1};
    case DType::kQ8_0:
      return {32, 34};
    case DType::kQ4_0:
      return {32, 18};
    case DType::kQ4_K:
      return {256, 144};
    case DType::kQ6_K:
      return {256, 210};
  }
  return {};
}

constexpr bool IsBlocked(DType dtype) { return BlockOf(dtype).values > 1; }

// Whether values are whole numbers times a scale, which products read as such (ops/linear.h).
constexpr bool IsQuantised(DType dtype) { return IsBlocked(dtype) || dtype == DType::kI8; }

// Bytes of `count` values, whole blocks of them.
constexpr int64_t BytesOf(DType dtype, int64_t count) {
  const BlockShape block = BlockOf(dtype);
  if (count % block.values != 0) {
    Throw(ErrorCode::kInternal, "got ", count, " values, expected whole blocks of ", block.values);
  }
  return count / block.values * block.bytes;
}

// Bytes of one value, of a type that has no blocks.
constexpr size_t SizeOf(DType dtype) { return static_cast<size_t>(BytesOf(dtype, 1)); }

constexpr std::string_view Name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kI8:
      return "int8";
    case DType::kQ8_0:
      return "q8_0";
    case DType::kQ4_0:
      return "q4_0";
    case DType::kQ4_K:
      return "q4_k";
    case DType::kQ6_K:
      return "q6_k";
  }
  return "?";
}

// Brain float: the upper half of an f32.
struct BF16 {
  uint16_t bits;
};

// IEEE binary16.
struct F16 {
  uint16_t bits;
};

inline float ToFloat(float v) { return v; }
inline float ToFloat(BF16 v) { return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }
inline float ToFloat(F16 v) {
  const uint32_t sign = static_cast<uint32_t>(v.bits & 0x8000u) << 16;
  const uint32_t magnitude = v.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) {  // infinity and NaN
    return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  }
  // Scaling by 2^112 moves the exponent bias from 15 to 127 and normalises subnormals, exactly.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

// Round to nearest, ties to even; NaN stays NaN.
inline BF16 ToBF16(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

// Round to nearest, ties to even; beyond the largest f16 infinity, NaN stays NaN.
inline F16 ToF16(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // ≥ 65520
  if (magnitude < 0x38800000u) {
    // Subnormal: adding 1/2 leaves the value's multiple of 2⁻²⁴ in the last bits, rounded.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

// Calls fn.template operator()<T>() with T = float, F16 or BF16 as `dtype` says. Blocks have no
// type of their own: whoever may meet them asks IsBlocked first.
template <class Fn>
decltype(auto) VisitFloat(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kF16:
      return fn.template operator()<F16>();
    case DType::kBF16:
      return fn.template operator()<BF16>();
    case DType::kF32:
      return fn.template operator()<float>();
    default:
      Throw(ErrorCode::kInternal, "dtype: got ", Name(dtype), ", expected f32, f16 or bf16");
  }
}

}  // namespace pith

#endif  // PITH_CORE_DTYPE_H_
