// Ssd (chunked) and SsdStep against the reference, which is the plain recurrence.
//
// Worst-case bound: run the reference on magnitudes (|x|, |B|, |C|, |d|, |state|); its y, call it
// A, is the sum of the magnitudes of all terms of the true y. Of T rows, each adds at most 9
// roundings to a term by its decay (Δ errs by 6 roundings, the exponential by 4, its argument's
// error is damped by the decay) and its addition; the products over d_state and over a chunk's rows
// add N + T more; the rest is a constant. So |error| ≤ (10 T + N + 20) · 2⁻²⁴ · A.
//
// With Precision::kBF16 the products may read what is rounded to bf16, with an error of 2⁻⁸. On its
// way to y a term of the initial state meets two such roundings (the state as it is read, C), one
// of an earlier chunk four (B, x as it is written, the state, C), one of the same chunk four (B, C,
// their product with its decay, x); on its way to the state two. The skip meets none, and steps
// none at all. Where numbers below 2⁻¹²⁶ count as 0, each of T + N terms of a sum errs by that at
// most times what it is multiplied with, which is no more than 1 here. Products of f16 round less
// but sum 32 terms in f16: all signs alike they could err by four times as much. They are held to
// the bound of bf16, which they keep.
#include "ops/ssd.h"

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class SsdTest : public ::testing::Test {};

struct Shape {
  int64_t heads = 4, head_dim = 24, groups = 2, d_state = 20;
  bool d_has_hdim = false;
  float dt_min = 0, dt_max = std::numeric_limits<float>::infinity();
  float a_low = -4;
};

using Operator = void (*)(const Exec&, const SsdArgs&);

struct Case {
  Case(uint32_t seed, std::vector<Segment> over, const Shape& shape)
      : random(seed),
        segments(std::move(over)),
        rows(RowsOf(segments)),
        shape(shape),
        x(random, rows, shape.heads * shape.head_dim),
        b(random, rows, shape.groups * shape.d_state),
        c(random, rows, shape.groups * shape.d_state),
        dt(random, rows, shape.heads, -6, 2),
        dt_bias(random.Vector(shape.heads)),
        a(random.Vector(shape.heads, shape.a_low, -0.01f)),
        d(random.Vector(shape.heads * (shape.d_has_hdim ? shape.head_dim : 1))),
        states(random, segments.size(), shape.heads * shape.d_state * shape.head_dim) {}

  Strided Run(Operator op, const Exec& exec, int64_t chunk, std::span<const Segment> over,
              const StateSlots& state, std::span<const int64_t> wanted_from = {}) const {
    Strided y(rows, shape.heads * shape.head_dim);
    for (int64_t r = 0; r < rows; ++r) std::fill_n(y.view().Row(r), y.view().cols, 7.0f);
    op(exec, {.n_heads = shape.heads,
              .head_dim = shape.head_dim,
              .n_groups = shape.groups,
              .d_state = shape.d_state,
              .chunk = chunk,
              .x = x.view(),
              .b = b.view(),
              .c = c.view(),
              .dt = dt.view(),
              .dt_bias = Vec(dt_bias),
              .dt_min = shape.dt_min,
              .dt_max = shape.dt_max,
              .a = Vec(a),
              .d = Vec(d),
              .d_has_hdim = shape.d_has_hdim,
              .segments = over,
              .states = state,
              .y = y.view(),
              .wanted_from = wanted_from});
    return y;
  }
  Strided Run(Operator op, const Exec& exec, int64_t chunk, States& state) const {
    return Run(op, exec, chunk, segments, state.view());
  }

  Case Magnitudes() const {
    Case m = *this;
    const auto abs = [](float& v) { v = std::abs(v); };
    for (Strided* s : {&m.x, &m.b, &m.c}) {
      for (int64_t r = 0; r < rows; ++r) std::for_each_n(s->view().Row(r), s->view().cols, abs);
    }
    std::for_each(m.d.begin(), m.d.end(), abs);
    m.states.MakePositive();
    return m;
  }

  Random random;
  std::vector<Segment> segments;
  int64_t rows;
  Shape shape;
  Strided x, b, c, dt;
  Shared<float> dt_bias, a, d;
  States states;
};

constexpr Precision kPrecisions[] = {Precision::kF32, Precision::kBF16};

Exec TestedIn(Precision precision, int threads = 1) {
  return ExecOn(testing::DeviceUnderTest(), threads, precision);
}

const char* NameOf(Precision precision) { return precision == Precision::kBF16 ? "bf16" : "f32"; }

// What `roundings` of bf16 and then a relative error of `rest` make together.
double Bound(int roundings, double rest) {
  return std::pow(1 + 0x1p-8, roundings) * (1 + rest) - 1;
}

void CompareIn(Precision precision, const Case& c, int64_t chunk) {
  const Case magnitudes = c.Magnitudes();
  States expected_states = c.states, bound_states = magnitudes.states;
  const Strided expected = c.Run(Ssd, kReference, chunk, expected_states);
  const Strided bound = magnitudes.Run(Ssd, kReference, chunk, bound_states);
  const double rest = (10.0 * c.rows + c.shape.d_state + 20) * kRounding;
  for (const Operator op : {Ssd, SsdStep}) {
    SCOPED_TRACE(StrCat(op == Ssd ? "chunked, " : "by steps, ", NameOf(precision)));
    const bool rounds = precision == Precision::kBF16 && op == Ssd;
    const double of_y = Bound(rounds ? 4 : 0, rest), of_state = Bound(rounds ? 2 : 0, rest);
    const double tiny = rounds ? (c.rows + c.shape.d_state) * 0x1p-126 : 1e-37;
    States states = c.states;
    const Strided y = c.Run(op, TestedIn(precision, 2), chunk, states);
    ExpectNear(y, expected,
               [&](int64_t r, int64_t i) { return of_y * bound.At(r, i) + (rounds ? tiny : 0); });
    for (size_t s = 0; s < states.count(); ++s) {
      for (size_t i = 0; i < states.size(); ++i) {
        ASSERT_NEAR(states.At(s, i), expected_states.At(s, i),
                    of_state * bound_states.At(s, i) + tiny)
            << "state " << s << " at " << i;
      }
    }
  }
}

void Compare(std::vector<Segment> segments, const Shape& shape, int64_t chunk) {
  const uint32_t seed = shape.head_dim * 31 + shape.d_state * 7 + chunk;
  SCOPED_TRACE(StrCat("seed ", seed, ", heads ", shape.heads, ", head_dim ", shape.head_dim,
                      ", groups ", shape.groups, ", d_state ", shape.d_state, ", chunk ", chunk,
                      ", rows ", RowsOf(segments)));
  const Case c(seed, std::move(segments), shape);
  for (const Precision precision : kPrecisions) CompareIn(precision, c, chunk);
}

TEST_F(SsdTest, AgreesWithReferenceOnEveryLengthAndChunk) {
  for (const int64_t rows : kSizes) {
    for (const int64_t chunk : {1, 2, 16, 64, 256}) {
      Compare(SegmentsOf({rows}), {.heads = 2, .head_dim = 8, .groups = 1}, chunk);
    }
  }
  Compare(SegmentsOf({600}), {.heads = 1, .head_dim = 5, .groups = 1}, 512);
}

TEST_F(SsdTest, AgreesWithReferenceOnEveryWidth) {
  for (const int64_t head_dim : kSizes) {
    Compare(SegmentsOf({19}), {.heads = 2, .head_dim = head_dim, .groups = 1}, 16);
  }
  for (const int64_t d_state : {1, 7, 16, 17, 33, 64, 128, 256, 300}) {
    Compare(SegmentsOf({19}), {.heads = 2, .groups = 1, .d_state = d_state}, 16);
  }
}

TEST_F(SsdTest, AgreesWithReferenceOnSegmentsGroupsAndOptions) {
  const auto segments = SegmentsOf({33, 1, 0, 16, 2, 47});
  for (const int64_t groups : {1, 2, 3, 6}) Compare(segments, {.heads = 6, .groups = groups}, 16);
  Compare(segments, {.d_has_hdim = true}, 16);
  Compare(segments, {.dt_min = 0.01f, .dt_max = 0.1f}, 16);
}

// Decays that underflow within a chunk, and hardly any: no overflow, no NaN, the same bound.
TEST_F(SsdTest, AgreesWithReferenceOnStrongAndWeakDecays) {
  Compare(SegmentsOf({100}), {.a_low = -200}, 64);
  Compare(SegmentsOf({100}), {.a_low = -0.02f}, 64);
}

Strided PlainLoop(const Case& c) {
  const Shape& shape = c.shape;
  Strided y(c.rows, shape.heads * shape.head_dim);
  Shared<float> state = c.states.Of(0);
  for (int64_t h = 0; h < shape.heads; ++h) {
    const int64_t group = h / (shape.heads / shape.groups);
    for (int64_t t = 0; t < c.rows; ++t) {
      const float dt = std::log1p(std::exp(c.dt.At(t, h) + c.dt_bias[h]));
      const float decay = std::exp(dt * c.a[h]);
      for (int64_t p = 0; p < shape.head_dim; ++p) {
        const float x = c.x.At(t, h * shape.head_dim + p);
        float sum = 0;
        for (int64_t n = 0; n < shape.d_state; ++n) {
          float& cell = state[(h * shape.d_state + n) * shape.head_dim + p];
          cell = decay * cell + dt * c.b.At(t, group * shape.d_state + n) * x;
          sum += c.c.At(t, group * shape.d_state + n) * cell;
        }
        y.view().Row(t)[h * shape.head_dim + p] = sum + c.d[h] * x;
      }
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

// In the typical case: at most twice the error of a plain f32 loop.
TEST_F(SsdTest, ErrsNoMoreThanTwiceAPlainLoop) {
  for (const float a_low : {-0.02f, -1.0f, -16.0f}) {
    SCOPED_TRACE(StrCat("seed 31, a ≥ ", a_low));
    const Case c(31, SegmentsOf({257}),
                 {.head_dim = 64, .groups = 1, .d_state = 128, .a_low = a_low});
    States expected_states = c.states;
    const Strided expected = c.Run(Ssd, kReference, 64, expected_states);
    const double plain = RootMeanSquareError(PlainLoop(c), expected);
    for (const Operator op : {Ssd, SsdStep}) {
      States states = c.states;
      EXPECT_LE(RootMeanSquareError(c.Run(op, Tested(2), 64, states), expected), 2 * plain);
    }
  }
}

// Inputs of any magnitude are read alike: powers of two change no other bit.
TEST_F(SsdTest, PowersOfTwoAreExact) {
  constexpr int kX = 30, kB = -12, kC = 17;  // beyond what f16 holds
  const Case c(36, SegmentsOf({77}), {.head_dim = 40, .d_state = 33});
  Case scaled = c;
  for (const auto& [matrix, power] : {std::pair{&scaled.x, kX}, {&scaled.b, kB}, {&scaled.c, kC}}) {
    for (int64_t r = 0; r < c.rows; ++r) {
      const MatView<float> rows = matrix->view();
      for (int64_t i = 0; i < rows.cols; ++i) rows.Row(r)[i] = std::ldexp(rows.Row(r)[i], power);
    }
  }
  for (float& d : scaled.d) d = std::ldexp(d, kB + kC);
  scaled.states.Scale(std::ldexp(1.0f, kX + kB));
  for (const Precision precision : kPrecisions) {
    SCOPED_TRACE(NameOf(precision));
    States states = c.states, scaled_states = scaled.states;
    const Strided y = c.Run(Ssd, TestedIn(precision, 2), 16, states);
    const Strided scaled_y = scaled.Run(Ssd, TestedIn(precision, 2), 16, scaled_states);
    const int64_t begin = c.segments[0].begin, end = begin + c.segments[0].count;
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = 0; i < c.shape.heads * c.shape.head_dim; ++i) {
        ASSERT_EQ(scaled_y.At(r, i), std::ldexp(y.At(r, i), kX + kB + kC)) << r << ", " << i;
      }
    }
    for (size_t s = 0; s < states.count(); ++s) {
      for (size_t i = 0; i < states.size(); ++i) {
        ASSERT_EQ(scaled_states.At(s, i), std::ldexp(states.At(s, i), kX + kB)) << s << ", " << i;
      }
    }
  }
}

// What is no number takes no digit of what it does not meet: other columns of x, rows before one of
// B, rows beside one of C.
TEST_F(SsdTest, ANaNTakesNoDigits) {
  constexpr int64_t kRow = 21, kColumn = 13;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Case c(37, SegmentsOf({77}), {.head_dim = 40, .d_state = 33});
  const int64_t begin = c.segments[0].begin, end = begin + c.segments[0].count;
  for (Strided Case::*matrix : {&Case::x, &Case::b, &Case::c}) {
    (c.*matrix).view().Row(begin + kRow)[kColumn] = 0;
  }
  for (Strided Case::*matrix : {&Case::x, &Case::b, &Case::c}) {
    Case broken = c;
    (broken.*matrix).view().Row(begin + kRow)[kColumn] = nan;
    for (const Precision precision : kPrecisions) {
      States states = c.states, broken_states = c.states;
      const Strided y = c.Run(Ssd, TestedIn(precision, 2), 16, states);
      const Strided broken_y = broken.Run(Ssd, TestedIn(precision, 2), 16, broken_states);
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t i = 0; i < c.shape.heads * c.shape.head_dim; ++i) {
          const bool meets = matrix == &Case::x   ? i == kColumn
                             : matrix == &Case::b ? r >= begin + kRow
                                                  : r == begin + kRow;
          if (meets) continue;
          ASSERT_EQ(broken_y.At(r, i), y.At(r, i)) << NameOf(precision) << ", " << r << ", " << i;
        }
      }
      EXPECT_TRUE(std::isnan(broken_y.At(begin + kRow, kColumn)));
    }
  }
}

TEST_F(SsdTest, CutsAtMultiplesOfTheChunkGiveTheSameBits) {
  const Case c(32, SegmentsOf({77}), {});
  const auto compare = [&](Precision precision, int64_t chunk) {
    States end = c.states;
    const Strided whole = c.Run(Ssd, TestedIn(precision), chunk, end);
    for (int64_t cut = 0; cut <= 77; cut += chunk) {
      SCOPED_TRACE(StrCat(NameOf(precision), ", chunk ", chunk, ", cut at ", cut));
      States states = c.states;
      for (const Segment part : {Segment{0, cut}, Segment{cut, 77 - cut}}) {
        const Strided y =
            c.Run(Ssd, TestedIn(precision, 2), chunk, std::span(&part, 1), states.view());
        ExpectSameBits(y.view().Rows(part.begin, part.count),
                       whole.view().Rows(part.begin, part.count));
      }
      ExpectSameBits(states.Of(0), end.Of(0));
    }
  };
  for (const Precision precision : kPrecisions) {
    for (const int64_t chunk : {1, 2, 5, 16, 64}) compare(precision, chunk);
  }
}

// What is wanted of a segment changes no bit of it, nor of the state.
TEST_F(SsdTest, RowsThatNobodyWantsChangeNoBit) {
  const Case c(35, SegmentsOf({77, 40}), {});
  for (const Precision precision : kPrecisions) {
    SCOPED_TRACE(NameOf(precision));
    States end = c.states;
    const Strided whole = c.Run(Ssd, TestedIn(precision), 16, end);
    const int64_t wanted_from[] = {70, 40};
    States states = c.states;
    const Strided y =
        c.Run(Ssd, TestedIn(precision, 2), 16, c.segments, states.view(), wanted_from);
    const Segment& first = c.segments[0];
    ExpectSameBits(y.view().Rows(first.begin + 70, 7), whole.view().Rows(first.begin + 70, 7));
    for (size_t i = 0; i < 2; ++i) ExpectSameBits(states.Of(i), end.Of(i));
  }
}

TEST_F(SsdTest, AnyCutOfStepsGivesTheSameBits) {
  if (testing::DeviceUnderTest() == Device::kReference) {
    GTEST_SKIP() << "the reference carries a double state and rounds it at each cut";
  }
  const Case c(33, SegmentsOf({12}), {});
  States end = c.states;
  const Strided whole = c.Run(SsdStep, Tested(), 64, end);
  for (int64_t cut = 0; cut <= 12; ++cut) {
    States states = c.states;
    for (const Segment part : {Segment{0, cut}, Segment{cut, 12 - cut}}) {
      const Strided y = c.Run(SsdStep, Tested(2), 64, std::span(&part, 1), states.view());
      ExpectSameBits(y.view().Rows(part.begin, part.count),
                     whole.view().Rows(part.begin, part.count));
    }
    ExpectSameBits(states.Of(0), end.Of(0));
  }
}

void CompareParts(const Case& c, Operator op, Precision precision) {
  States end = c.states;
  const Strided whole = c.Run(op, TestedIn(precision, 1), 32, end);
  for (const int threads : {2, 3}) {
    States states = c.states;
    ExpectSameBits(c.Run(op, TestedIn(precision, threads), 32, states).view(), whole.view());
    for (size_t i = 0; i < 4; ++i) ExpectSameBits(states.Of(i), end.Of(i));
  }
  for (size_t i = 0; i < 4; ++i) {
    const Segment s = c.segments[i];
    States states = c.states;
    const Strided y = c.Run(op, TestedIn(precision, 2), 32, std::span(&s, 1), states.view(i));
    ExpectSameBits(y.view().Rows(s.begin, s.count), whole.view().Rows(s.begin, s.count));
    ExpectSameBits(states.Of(i), end.Of(i));
  }
}

TEST_F(SsdTest, SegmentsAndThreadsDoNotMix) {
  const Case c(34, SegmentsOf({70, 1, 33, 128}), {.heads = 6, .head_dim = 40, .groups = 2});
  for (const Precision precision : kPrecisions) {
    for (const Operator op : {Ssd, SsdStep}) {
      SCOPED_TRACE(StrCat(op == Ssd ? "chunked, " : "by steps, ", NameOf(precision)));
      CompareParts(c, op, precision);
    }
  }
}

}  // namespace
}  // namespace pith::ops_testing
