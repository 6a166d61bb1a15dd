// Half-width floats, value by value: both have 65,536, so nothing is left to sampling.

#include "core/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace pith {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

// IEEE 754: (−1)^s · 2^(e−15) · (1 + m/1024), subnormal 2^−14 · m/1024; e = 31 is special.
TEST(F16, EveryValueIsWhatTheFormatSays) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const int mantissa = static_cast<int>(bits & 1023);
    const float value = ToFloat(F16{static_cast<uint16_t>(bits)});
    ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
    if (exponent == 31 && mantissa != 0) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    const float magnitude = exponent == 31  ? kInf
                            : exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                            : std::ldexp(1024.0f + mantissa, exponent - 25);
    ASSERT_EQ(std::abs(value), magnitude) << bits;
  }
}

TEST(BF16, EveryValueRoundTrips) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = ToFloat(BF16{static_cast<uint16_t>(bits)});
    ASSERT_EQ(std::bit_cast<uint32_t>(value), bits << 16);
    const uint32_t back = ToBF16(value).bits;
    if (std::isnan(value)) {
      ASSERT_TRUE(SameBits(ToFloat(BF16{static_cast<uint16_t>(back)}),
                           std::bit_cast<float>(bits << 16 | 0x400000)))
          << bits;  // the same NaN, quiet
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

// Halfway between neighbours goes to the even one, an f32 step to either side to the nearer one;
// beyond the largest that is infinity.
TEST(BF16, RoundsToNearestTiesToEven) {
  for (uint32_t low = 0; low < 0x7f80; ++low) {
    for (const uint32_t sign : {0u, 0x8000u}) {
      const uint32_t middle = (sign | low) << 16 | 0x8000;
      const auto round = [](uint32_t f32) { return ToBF16(std::bit_cast<float>(f32)).bits; };
      ASSERT_EQ(round(middle), sign | (low + (low & 1))) << low;
      ASSERT_EQ(round(middle - 1), sign | low) << low;
      ASSERT_EQ(round(middle + 1), sign | (low + 1)) << low;
    }
  }
}

// The payload may stand in the lower half alone, where cutting it off would leave infinity.
TEST(BF16, NaNStaysNaN) {
  for (const uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7fc00000u}) {
    const float nan = std::bit_cast<float>(bits);
    EXPECT_TRUE(std::isnan(ToFloat(ToBF16(nan)))) << bits;
    EXPECT_EQ(std::signbit(ToFloat(ToBF16(nan))), std::signbit(nan)) << bits;
  }
  EXPECT_EQ(ToFloat(ToBF16(kInf)), kInf);
  EXPECT_EQ(ToFloat(ToBF16(-kInf)), -kInf);
}

TEST(F16, EveryValueRoundTrips) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = ToFloat(F16{static_cast<uint16_t>(bits)});
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(ToFloat(ToF16(value)))) << bits;
    } else {
      ASSERT_EQ(ToF16(value).bits, bits);
    }
  }
}

// As BF16, over subnormals too; 65520 is halfway to what would follow the largest.
TEST(F16, RoundsToNearestTiesToEven) {
  for (uint32_t low = 0; low < 0x7c00; ++low) {
    const float value = ToFloat(F16{static_cast<uint16_t>(low)});
    const float next = low == 0x7bff ? 65536 : ToFloat(F16{static_cast<uint16_t>(low + 1)});
    const float middle = value + (next - value) / 2;
    for (const float sign : {1.0f, -1.0f}) {
      const uint32_t bit = sign < 0 ? 0x8000 : 0;
      ASSERT_EQ(ToF16(sign * middle).bits, bit | (low + (low & 1))) << low;
      ASSERT_EQ(ToF16(sign * std::nextafter(middle, 0.0f)).bits, bit | low) << low;
      ASSERT_EQ(ToF16(sign * std::nextafter(middle, 1e9f)).bits, bit | (low + 1)) << low;
    }
  }
}

TEST(DType, VisitsTheTypeOfItsSize) {
  const auto is = [](DType dtype, auto expected) {
    return VisitFloat(dtype, [&]<class T>() {
      return std::is_same_v<T, decltype(expected)> && sizeof(T) == SizeOf(dtype);
    });
  };
  EXPECT_TRUE(is(DType::kF32, 0.0f));
  EXPECT_TRUE(is(DType::kF16, F16{}));
  EXPECT_TRUE(is(DType::kBF16, BF16{}));
}

}  // namespace
}  // namespace pith
