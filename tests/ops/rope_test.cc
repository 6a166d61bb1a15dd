// Rope against the reference.
//
// Bound: an angle is brought to [−π, π] without loss that counts and rounded to f32 there, by at
// most 2⁻²³; its cosine and sine are then 3 units of the last place off (Highway's bound), and they
// are rounded once more when they are multiplied by the factor. Two products and a sum add three
// roundings. With u = 2⁻²⁴ that is (2 + 6 + 1 + 3) · u · factor · (|a| + |b|).
#include "ops/rope.h"

#include <cmath>

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class RopeTest : public ::testing::Test {};

struct Shape {
  int64_t rows = 5, heads = 3, head_dim = 16, pairs = 8;
  RopePairing pairing = RopePairing::kHalf;
  float factor = 1;
};

struct Case {
  Case(uint32_t seed, const Shape& shape)
      : shape(shape), random(seed), x(random, shape.rows, shape.heads * shape.head_dim) {
    for (int64_t i = 0; i < shape.pairs; ++i) {
      frequencies.push_back(std::pow(10000.0, -static_cast<double>(i) / shape.pairs));
    }
    for (int64_t r = 0; r < shape.rows; ++r) {
      positions.push_back(r % 2 == 0 ? static_cast<int32_t>(r) : static_cast<int32_t>(131071 - r));
    }
  }
  Strided Run(const Exec& exec) const {
    Strided out = x;
    Rope(exec, {.n_heads = shape.heads,
                .head_dim = shape.head_dim,
                .pairing = shape.pairing,
                .positions = positions,
                .frequencies = frequencies,
                .factor = shape.factor,
                .x = out.view()});
    exec.backend->Synchronize(exec.queue);
    return out;
  }
  // The other number of the pair that holds column c, or c itself.
  int64_t Partner(int64_t c) const {
    const int64_t i = c % shape.head_dim;
    if (i >= 2 * shape.pairs) return c;
    if (shape.pairing == RopePairing::kInterleaved) return i % 2 == 0 ? c + 1 : c - 1;
    return i < shape.pairs ? c + shape.pairs : c - shape.pairs;
  }

  Shape shape;
  Random random;
  Strided x;
  std::vector<double> frequencies;
  std::vector<int32_t> positions;
};

void Compare(const Shape& shape) {
  const auto seed = static_cast<uint32_t>(shape.rows * 31 + shape.head_dim * 7 + shape.pairs);
  SCOPED_TRACE(StrCat("seed ", seed, ", rows ", shape.rows, ", heads ", shape.heads, ", head_dim ",
                      shape.head_dim, ", pairs ", shape.pairs));
  const Case c(seed, shape);
  const Strided expected = c.Run(kReference), out = c.Run(Tested(2));
  ExpectNear(out, expected, [&](int64_t r, int64_t i) {
    const int64_t partner = c.Partner(i);
    if (partner == i) return 0.0;
    return 12 * kRounding * shape.factor * (std::abs(c.x.At(r, i)) + std::abs(c.x.At(r, partner)));
  });
}

TEST_F(RopeTest, AgreesWithReference) {
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    for (const int64_t pairs : kSizes) {
      Compare({.head_dim = 2 * pairs, .pairs = pairs, .pairing = pairing});
      Compare({.head_dim = 2 * pairs + 3, .pairs = pairs, .pairing = pairing, .factor = 1.25f});
    }
    for (const int64_t rows : kSizes) Compare({.rows = rows, .pairing = pairing});
  }
}

// Far out, the reference is the formula in long double.
TEST_F(RopeTest, ReferenceIsTheFormulaAtEveryPosition) {
  const Case c(3, {.rows = 40});
  const Strided out = c.Run(kReference);
  for (int64_t r = 0; r < 40; ++r) {
    for (int64_t i = 0; i < 8; ++i) {
      const long double angle = static_cast<long double>(c.positions[r]) * c.frequencies[i];
      const double cosine = std::cos(angle), sine = std::sin(angle);
      const double a = c.x.At(r, 16 + i), b = c.x.At(r, 24 + i);
      EXPECT_NEAR(out.At(r, 16 + i), a * cosine - b * sine, 2e-7);
      EXPECT_NEAR(out.At(r, 24 + i), b * cosine + a * sine, 2e-7);
    }
  }
}

TEST_F(RopeTest, PositionZeroTurnsNothing) {
  Case c(4, {});
  c.positions.assign(c.positions.size(), 0);
  for (const Exec& exec : ReferenceAndTested()) ExpectSameBits(c.Run(exec).view(), c.x.view());
}

TEST_F(RopeTest, RowsDoNotDependOnTheirBatch) {
  const Case c(5, {.rows = 300, .heads = 6, .head_dim = 40, .pairs = 13});
  const Strided whole = c.Run(Tested(1));
  for (const int threads : {2, 3}) ExpectSameBits(c.Run(Tested(threads)).view(), whole.view());
  for (const int64_t count : {1, 7, 64}) {
    Case some = c;
    some.shape.rows = count;
    some.positions = {c.positions.begin() + 17, c.positions.begin() + 17 + count};
    some.x = Strided(count, c.x.view().cols);
    for (int64_t r = 0; r < count; ++r) {
      std::copy_n(c.x.view().Row(17 + r), c.x.view().cols, some.x.view().Row(r));
    }
    ExpectSameBits(some.Run(Tested(2)).view(), whole.view().Rows(17, count));
  }
}

}  // namespace
}  // namespace pith::ops_testing
