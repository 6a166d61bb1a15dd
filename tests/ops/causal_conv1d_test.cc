// CausalConv1d against the reference, and the law that cutting a sequence anywhere gives its bits.
//
// Bound: the sum of d_conv products and a bias errs by at most (d_conv + 2) · 2⁻²⁴ · (Σ|w||x| +
// |b|); silu's slope is below 1.1, and its own evaluation adds 12 roundings of the result.
#include "ops/causal_conv1d.h"

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class CausalConv1dTest : public ::testing::Test {};

struct Case {
  Case(uint32_t seed, std::vector<Segment> segments, int64_t channels, int64_t d_conv)
      : random(seed),
        segments(std::move(segments)),
        channels(channels),
        d_conv(d_conv),
        x(random, RowsOf(this->segments), channels, -3, 3),
        weight(random.Vector(channels * d_conv)),
        bias(random.Vector(channels)),
        states(random, this->segments.size(), (d_conv - 1) * channels) {}

  void Run(const Exec& exec, std::span<const Segment> over, const StateSlots& state, Strided& out,
           bool with_bias = true) const {
    CausalConv1d(exec, {.x = x.view(),
                        .weight = Vec(weight),
                        .bias = with_bias ? Vec(bias) : VecView<const float>(),
                        .d_conv = d_conv,
                        .segments = over,
                        .states = state,
                        .out = out.view()});
  }

  Random random;
  std::vector<Segment> segments;
  int64_t channels, d_conv;
  Strided x;
  Shared<float> weight, bias;
  States states;
};

void Compare(std::vector<Segment> segments, int64_t channels, int64_t d_conv, bool with_bias) {
  const uint32_t seed = channels * 11 + d_conv;
  SCOPED_TRACE(StrCat("seed ", seed, ", channels ", channels, ", d_conv ", d_conv, ", rows ",
                      RowsOf(segments)));
  const Case c(seed, std::move(segments), channels, d_conv);
  const int64_t rows = RowsOf(c.segments);
  Strided out(rows, channels), expected(rows, channels);
  for (int64_t r = 0; r < rows; ++r) {  // rows of no segment keep what they held
    std::fill_n(out.view().Row(r), channels, 7.0f);
    std::fill_n(expected.view().Row(r), channels, 7.0f);
  }
  States states = c.states, expected_states = c.states;
  c.Run(kReference, c.segments, expected_states.view(), expected, with_bias);
  c.Run(Tested(2), c.segments, states.view(), out, with_bias);
  // |x| ≤ 3 and |weight|, |bias| ≤ 1 bound the sum of magnitudes.
  ExpectNear(out, expected, [&](int64_t r, int64_t i) {
    return 1.1 * (d_conv + 2) * kRounding * (3 * d_conv + 1) +
           12 * kRounding * std::abs(expected.At(r, i));
  });
  for (size_t i = 0; i < states.count(); ++i) {
    ExpectSameBits(states.Of(i), expected_states.Of(i));
  }
}

TEST_F(CausalConv1dTest, AgreesWithReference) {
  for (const int64_t channels : kSizes) Compare(SegmentsOf({5, 1, 0, 9, 2}), channels, 4, true);
  for (int64_t d_conv = 1; d_conv <= 8; ++d_conv) {
    Compare(SegmentsOf({3, 1, 0, 20, 7}), 21, d_conv, d_conv % 2);
  }
  for (const int64_t rows : kSizes) Compare(SegmentsOf({rows}), 19, 4, true);
}

// Rows cut at any place, the state carried across, have the bits of the uncut run.
TEST_F(CausalConv1dTest, AnyCutGivesTheSameBits) {
  constexpr int64_t kRows = 12;
  const Case c(5, SegmentsOf({kRows}), 37, 4);
  Strided whole(kRows, 37);
  States end = c.states;
  c.Run(Tested(), c.segments, end.view(), whole);
  for (int64_t cut = 0; cut <= kRows; ++cut) {
    SCOPED_TRACE(StrCat("cut at ", cut));
    Strided out(kRows, 37);
    States states = c.states;
    for (const Segment part : {Segment{0, cut}, Segment{cut, kRows - cut}}) {
      c.Run(Tested(2), std::span(&part, 1), states.view(), out);
    }
    ExpectSameBits(out.view(), whole.view());
    ExpectSameBits(states.Of(0), end.Of(0));
  }
}

TEST_F(CausalConv1dTest, SegmentsAndThreadsDoNotMix) {
  const Case c(6, SegmentsOf({200, 1, 133, 64}), 700, 4);
  const int64_t rows = RowsOf(c.segments);
  Strided whole(rows, 700);
  States end = c.states;
  c.Run(Tested(1), c.segments, end.view(), whole);
  for (const int threads : {2, 3}) {
    Strided out(rows, 700);
    States states = c.states;
    c.Run(Tested(threads), c.segments, states.view(), out);
    for (const Segment s : c.segments) {
      ExpectSameBits(out.view().Rows(s.begin, s.count), whole.view().Rows(s.begin, s.count));
    }
  }
  for (size_t i = 0; i < c.segments.size(); ++i) {
    const Segment s = c.segments[i];
    Strided out(rows, 700);
    States states = c.states;
    c.Run(Tested(), std::span(&s, 1), states.view(i), out);
    ExpectSameBits(out.view().Rows(s.begin, s.count), whole.view().Rows(s.begin, s.count));
    ExpectSameBits(states.Of(i), end.Of(i));
  }
}

}  // namespace
}  // namespace pith::ops_testing
