#include "core/blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/error.h"

namespace pith {
namespace {

uint8_t ByteAt(const std::byte* from, int64_t i) { return static_cast<uint8_t>(from[i]); }

float ScaleAt(const std::byte* from, int64_t i) {
  return ToFloat(F16{static_cast<uint16_t>(ByteAt(from, i) | ByteAt(from, i + 1) << 8)});
}

BlockParts PartsQ8_0(const std::byte* block) {
  BlockParts parts;
  parts.d = ScaleAt(block, 0);
  for (int i = 0; i < 32; ++i) parts.q[i] = static_cast<int8_t>(ByteAt(block, 2 + i));
  return parts;
}

BlockParts PartsQ4_0(const std::byte* block) {
  BlockParts parts;
  parts.d = ScaleAt(block, 0);
  for (int i = 0; i < 16; ++i) {
    const int pair = ByteAt(block, 2 + i);
    parts.q[i] = static_cast<int8_t>((pair & 15) - 8);
    parts.q[16 + i] = static_cast<int8_t>((pair >> 4) - 8);
  }
  return parts;
}

// Pairs 0 to 3 lie in the low six bits of bytes i and 4 + i. Pairs 4 to 7 have their low four bits
// in the halves of byte 4 + i, and their upper two above those of pair i − 4.
struct ScaleAndMin {
  int scale, min;
};
ScaleAndMin PairQ4_K(const std::byte* pairs, int i) {
  if (i < 4) return {ByteAt(pairs, i) & 63, ByteAt(pairs, i + 4) & 63};
  const int low = ByteAt(pairs, i + 4);
  return {(low & 15) | (ByteAt(pairs, i - 4) >> 6) << 4, (low >> 4) | (ByteAt(pairs, i) >> 6) << 4};
}

BlockParts PartsQ4_K(const std::byte* block) {
  BlockParts parts;
  parts.d = ScaleAt(block, 0);
  parts.dmin = ScaleAt(block, 2);
  for (int i = 0; i < 8; ++i) {
    const ScaleAndMin pair = PairQ4_K(block + 4, i);
    parts.scale[i] = static_cast<int8_t>(pair.scale);
    parts.min[i] = static_cast<int8_t>(pair.min);
    const std::byte* const q = block + 16 + i / 2 * 32;
    const int shift = i % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      parts.q[i * 32 + j] = static_cast<int8_t>(ByteAt(q, j) >> shift & 15);
    }
  }
  return parts;
}

BlockParts PartsQ6_K(const std::byte* block) {
  BlockParts parts;
  parts.d = ScaleAt(block, 208);
  for (int i = 0; i < 16; ++i) parts.scale[i] = static_cast<int8_t>(ByteAt(block, 192 + i));
  for (int half = 0; half < 2; ++half) {
    const std::byte* const low = block + half * 64;
    const std::byte* const upper = block + 128 + half * 32;
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 32; ++j) {
        const int bits =
            (ByteAt(low, i % 2 * 32 + j) >> i / 2 * 4 & 15) | (ByteAt(upper, j) >> i * 2 & 3) << 4;
        parts.q[half * 128 + i * 32 + j] = static_cast<int8_t>(bits - 32);
      }
    }
  }
  return parts;
}

template <class T>
T NarrowOne(float value) {
  if constexpr (std::is_same_v<T, F16>) return ToF16(value);
  if constexpr (std::is_same_v<T, BF16>) return ToBF16(value);
  if constexpr (std::is_same_v<T, float>) return value;
}

}  // namespace

BlockParts PartsOf(DType dtype, const std::byte* block) {
  switch (dtype) {
    case DType::kQ8_0:
      return PartsQ8_0(block);
    case DType::kQ4_0:
      return PartsQ4_0(block);
    case DType::kQ4_K:
      return PartsQ4_K(block);
    case DType::kQ6_K:
      return PartsQ6_K(block);
    default:
      Throw(ErrorCode::kInternal, "dtype: got ", Name(dtype), ", expected one of blocks");
  }
}

void Widen(DType dtype, const std::byte* from, std::span<float> to) {
  PITH_CHECK(std::ssize(to) % BlockOf(dtype).values == 0);
  if (IsBlocked(dtype)) {
    const QuantForm form = QuantFormOf(dtype);
    const BlockShape block = BlockOf(dtype);
    for (size_t i = 0; i < to.size(); i += block.values, from += block.bytes) {
      const BlockParts parts = PartsOf(dtype, from);
      for (int j = 0; j < block.values; ++j) to[i + j] = parts.Value(form, j);
    }
    return;
  }
  VisitFloat(dtype, [&]<class T>() {
    for (size_t i = 0; i < to.size(); ++i) {
      T value;
      std::memcpy(&value, from + i * sizeof(T), sizeof(T));
      to[i] = ToFloat(value);
    }
  });
}

void WidenRow(const StoredMatrix& matrix, int64_t r, std::span<float> to) {
  PITH_CHECK(std::ssize(to) == matrix.cols);
  const auto* const row =
      static_cast<const std::byte*>(matrix.data) + r * BytesOf(matrix.dtype, matrix.cols);
  if (matrix.dtype != DType::kI8) return Widen(matrix.dtype, row, to);
  for (size_t k = 0; k < to.size(); ++k) {
    to[k] = matrix.scales[r] * static_cast<float>(static_cast<int8_t>(row[k]));
  }
}

void EncodeQ8_0(std::span<const float> from, std::byte* to) {
  constexpr int64_t kValues = BlockOf(DType::kQ8_0).values;
  PITH_CHECK(std::ssize(from) % kValues == 0);
  for (; !from.empty(); from = from.subspan(kValues)) {
    float most = 0;
    for (const float w : from.first(kValues)) most = std::max(most, std::abs(w));
    const float d = most / 127.0f;
    const float inverse = d != 0 ? 1.0f / d : 0.0f;
    const uint16_t scale = ToF16(d).bits;
    *to++ = static_cast<std::byte>(scale & 0xff);
    *to++ = static_cast<std::byte>(scale >> 8);
    for (const float w : from.first(kValues)) {
      *to++ = static_cast<std::byte>(static_cast<int8_t>(std::round(w * inverse)));
    }
  }
}

bool Narrow(DType dtype, std::span<const float> from, std::byte* to) {
  if (dtype == DType::kQ8_0) {
    constexpr float kMost = 127 * 65504.0f;  // of the largest f16 as a scale
    for (const float value : from) {
      if (!(std::abs(value) <= kMost)) return false;
    }
    EncodeQ8_0(from, to);
    return true;
  }
  bool kept = true;
  VisitFloat(dtype, [&]<class T>() {
    for (const float value : from) {
      const T narrow = NarrowOne<T>(value);
      kept &= std::isfinite(ToFloat(narrow)) || !std::isfinite(value);
      std::memcpy(to, &narrow, sizeof(T));
      to += sizeof(T);
    }
  });
  return kept;
}

}  // namespace pith
