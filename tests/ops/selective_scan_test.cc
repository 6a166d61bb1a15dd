// SelectiveScan against the reference and a plain f32 loop, and the law that cutting a sequence
// anywhere gives its bits.
//
// Worst-case bound: run the reference on magnitudes (|x|, |B|, |C|, |d|, |state|); its y, call it
// A, is the sum of the magnitudes of all terms of the true y. A term that entered the state T rows
// ago met per row a decay and an addition: Δ errs by 6 roundings, the exponential by 4 and by its
// argument's error |Δ a| · 7, which the decay itself damps below 3 (u e⁻ᵘ < 0.37), and the update
// by 2: together ≤ 9 a row; then Δ B x (9), the N-term sum over the state and the skip. So |error|
// ≤ (9 T + N + 12) · 2⁻²⁴ · A.
#include "ops/selective_scan.h"

#include <numeric>

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class SelectiveScanTest : public ::testing::Test {};

struct Case {
  Case(uint32_t seed, std::vector<Segment> over, int64_t d_inner, int64_t d_state)
      : random(seed),
        segments(std::move(over)),
        rows(RowsOf(segments)),
        d_inner(d_inner),
        d_state(d_state),
        x(random, rows, d_inner),
        dt(random, rows, d_inner, -6, 3),
        b(random, rows, d_state),
        c(random, rows, d_state),
        dt_bias(random.Vector(d_inner)),
        a(random.Vector(d_inner * d_state, -16, -0.01f)),
        d(random.Vector(d_inner)),
        states(random, segments.size(), d_inner * d_state) {}

  Strided Run(const Exec& exec, std::span<const Segment> over, const StateSlots& state) const {
    Strided y(rows, d_inner);
    for (int64_t r = 0; r < rows; ++r) std::fill_n(y.view().Row(r), d_inner, 7.0f);
    SelectiveScan(exec, {.d_inner = d_inner,
                         .d_state = d_state,
                         .x = x.view(),
                         .dt = dt.view(),
                         .b = b.view(),
                         .c = c.view(),
                         .dt_bias = Vec(dt_bias),
                         .a = Vec(a),
                         .d = Vec(d),
                         .segments = over,
                         .states = state,
                         .y = y.view()});
    return y;
  }

  Case Magnitudes() const {
    Case m = *this;
    const auto abs = [](float& v) { v = std::abs(v); };
    for (Strided* s : {&m.x, &m.b, &m.c}) {
      for (int64_t r = 0; r < rows; ++r) {
        std::for_each_n(s->view().Row(r), s->view().cols, abs);
      }
    }
    std::for_each(m.d.begin(), m.d.end(), abs);
    m.states.MakePositive();
    return m;
  }

  Random random;
  std::vector<Segment> segments;
  int64_t rows, d_inner, d_state;
  Strided x, dt, b, c;
  Shared<float> dt_bias, a, d;
  States states;
};

void Compare(std::vector<Segment> segments, int64_t d_inner, int64_t d_state) {
  const uint32_t seed = d_inner * 17 + d_state;
  SCOPED_TRACE(StrCat("seed ", seed, ", d_inner ", d_inner, ", d_state ", d_state, ", rows ",
                      RowsOf(segments)));
  const Case c(seed, std::move(segments), d_inner, d_state);
  const Case magnitudes = c.Magnitudes();
  States states = c.states, expected_states = c.states, bound_states = magnitudes.states;
  const Strided expected = c.Run(kReference, c.segments, expected_states);
  const Strided bound = magnitudes.Run(kReference, c.segments, bound_states);
  const Strided y = c.Run(Tested(2), c.segments, states);
  const double factor = (9.0 * c.rows + d_state + 12) * kRounding;
  ExpectNear(y, expected, [&](int64_t r, int64_t i) { return factor * bound.At(r, i); });
  for (size_t s = 0; s < states.count(); ++s) {
    for (size_t i = 0; i < states.size(); ++i) {
      ASSERT_NEAR(states.At(s, i), expected_states.At(s, i), factor * bound_states.At(s, i) + 1e-37)
          << "state " << s << " at " << i;
    }
  }
}

TEST_F(SelectiveScanTest, AgreesWithReference) {
  for (const int64_t d_inner : kSizes) Compare(SegmentsOf({4, 1, 0, 6}), d_inner, 16);
  for (const int64_t d_state : kSizes) Compare(SegmentsOf({5, 2}), 21, d_state);
  for (const int64_t rows : kSizes) Compare(SegmentsOf({rows}), 18, 4);
}

// A plain f32 scan, as one would write it first.
Strided PlainScan(const Case& c) {
  Strided y(c.rows, c.d_inner);
  Shared<float> state = c.states.Of(0);
  for (int64_t t = 0; t < c.rows; ++t) {
    for (int64_t i = 0; i < c.d_inner; ++i) {
      const float dt = std::log1p(std::exp(c.dt.At(t, i) + c.dt_bias[i]));
      float sum = 0;
      for (int64_t n = 0; n < c.d_state; ++n) {
        float& cell = state[n * c.d_inner + i];
        cell = std::exp(dt * c.a[n * c.d_inner + i]) * cell + dt * c.b.At(t, n) * c.x.At(t, i);
        sum += c.c.At(t, n) * cell;
      }
      y.view().Row(t)[i] = sum + c.d[i] * c.x.At(t, i);
    }
  }
  return y;
}

double RootMeanSquareError(const Strided& y, const Strided& expected) {
  double sum = 0;
  const auto view = expected.view();
  for (int64_t r = 0; r < view.rows; ++r) {
    for (int64_t i = 0; i < view.cols; ++i) {
      sum += std::pow(static_cast<double>(y.At(r, i)) - expected.At(r, i), 2);
    }
  }
  return std::sqrt(sum / (view.rows * view.cols));
}

// In the typical case: at most twice the error of the plain loop at the same precision.
TEST_F(SelectiveScanTest, ErrsNoMoreThanTwiceAPlainLoop) {
  const Case c(21, SegmentsOf({257}), 100, 16);
  States states = c.states, expected_states = c.states;
  const Strided expected = c.Run(kReference, c.segments, expected_states);
  const Strided y = c.Run(Tested(2), c.segments, states);
  EXPECT_LE(RootMeanSquareError(y, expected), 2 * RootMeanSquareError(PlainScan(c), expected));
}

TEST_F(SelectiveScanTest, AnyCutGivesTheSameBits) {
  const Case c(22, SegmentsOf({12}), 37, 16);
  States end = c.states;
  const Strided whole = c.Run(Tested(), c.segments, end);
  for (int64_t cut = 0; cut <= 12; ++cut) {
    SCOPED_TRACE(StrCat("cut at ", cut));
    States states = c.states;
    for (const Segment part : {Segment{0, cut}, Segment{cut, 12 - cut}}) {
      const Strided y = c.Run(Tested(2), std::span(&part, 1), states);
      ExpectSameBits(y.view().Rows(part.begin, part.count),
                     whole.view().Rows(part.begin, part.count));
    }
    ExpectSameBits(states.Of(0), end.Of(0));
  }
}

TEST_F(SelectiveScanTest, SegmentsAndThreadsDoNotMix) {
  const Case c(23, SegmentsOf({40, 1, 33}), 300, 16);
  States end = c.states;
  const Strided whole = c.Run(Tested(1), c.segments, end);
  for (const int threads : {2, 3}) {
    States states = c.states;
    ExpectSameBits(c.Run(Tested(threads), c.segments, states).view(), whole.view());
    for (size_t i = 0; i < 3; ++i) ExpectSameBits(states.Of(i), end.Of(i));
  }
  for (size_t i = 0; i < 3; ++i) {
    const Segment s = c.segments[i];
    States states = c.states;
    const Strided y = c.Run(Tested(2), std::span(&s, 1), states.view(i));
    ExpectSameBits(y.view().Rows(s.begin, s.count), whole.view().Rows(s.begin, s.count));
    ExpectSameBits(states.Of(i), end.Of(i));
  }
}

// With one state, C = 1, B = 0, d = 0 and Δ = ln 2 (dt = 0), y = e^(a ln 2) · S: the exponential
// alone, over its whole range. Its 2 ulp are 4 roundings; the argument errs by 4 roundings of
// itself.
TEST_F(SelectiveScanTest, DecaysAreAccurateOverTheirRange) {
  constexpr int64_t kChannels = 20000;
  Shared<float> a(kChannels), zeros(kChannels, 0), ones(kChannels, 1);
  const Shared<float> zero = {0}, one = {1};
  for (int64_t i = 0; i < kChannels; ++i) a[i] = -130.0f * i / kChannels;
  const Segment segment = {0, 1};
  Strided y(1, kChannels);
  const int32_t slot = 0;
  SelectiveScan(Tested(), {.d_inner = kChannels,
                           .d_state = 1,
                           .x = {zeros.data(), 1, kChannels},
                           .dt = {zeros.data(), 1, kChannels},
                           .b = {zero.data(), 1, 1},
                           .c = {one.data(), 1, 1},
                           .dt_bias = Vec(zeros),
                           .a = Vec(a),
                           .d = Vec(zeros),
                           .segments = std::span(&segment, 1),
                           .states = {ones.data(), kChannels, std::span(&slot, 1)},
                           .y = y.view()});
  for (int64_t i = 0; i < kChannels; ++i) {
    const double log = a[i] * std::log(2.0);
    const double expected = std::exp(log);
    // Results below the smallest normal float come out as zero.
    ASSERT_NEAR(y.At(0, i), expected, (5 + 5 * -log) * kRounding * expected + 0x1.1p-126)
        << "a " << a[i];
  }
}

}  // namespace
}  // namespace pith::ops_testing
