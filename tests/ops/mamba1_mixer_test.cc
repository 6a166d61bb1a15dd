// Whole mixers of Mamba-1 against the single operators on the reference backend, and the laws that
// hold for them to the last bit: other sequences, cuts anywhere and the rows that are wanted change
// nothing.
//
// Bound: between its operators a whole mixer rounds to 16 bits: the normalised rows, the outputs of
// in_proj, the convolution, x_proj, dt_proj and the gate, and four weights. Each of these 10
// roundings moves a value by at most u of itself (2⁻⁸ for bf16, 2⁻¹¹ for f16), at random, and Δ,
// its raw values being below 1, by no more; so the relative distance of all values together stays
// below 10 u.
#include "ops/mamba1_mixer.h"

#include "ops/kernels.h"
#include "ops/linear.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

constexpr int64_t kModel = 128, kInner = 192, kState = 16, kPast = 3;

double Distance(const Shared<float>& a, const Shared<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / size);
}

// Weights, and the states of up to four sequences.
struct Mixer {
  Mixer(const Exec& exec, int64_t rank) : exec(exec), rank(rank) {
    Random random(static_cast<uint32_t>(rank));
    const auto weight = [&](int64_t rows, int64_t cols, float most) {
      values.push_back(random.Vector(rows * cols, -most, most));
      return Prepare(exec, values.back(), rows, cols);
    };
    in_proj = weight(2 * kInner, kModel, 0.15f);
    x_proj = weight(width(), kInner, 0.15f);
    dt_proj = weight(kInner, rank, 0.2f / std::sqrt(static_cast<float>(rank)));
    out_proj = weight(kModel, kInner, 0.1f);
    norm = random.Vector(kModel, 0.5f, 1.5f);
    conv_weight = random.Vector(kInner * 4, -0.5f, 0.5f);
    conv_bias = random.Vector(kInner, -0.1f, 0.1f);
    dt_bias = random.Vector(kInner, -6, 1);
    a = random.Vector(kState * kInner, -8, -0.1f);
    d = random.Vector(kInner);
    conv_states = random.Vector(4 * kPast * kInner);
    states = random.Vector(4 * kState * kInner);
  }
  int64_t width() const { return rank + 2 * kState; }

  Mamba1MixerArgs Args(const std::vector<Segment>& segments, const std::vector<int32_t>& slots) {
    return {.norm = {.weight = Vec(norm)},
            .in_proj = in_proj.view(),
            .conv = {.weight = Vec(conv_weight),
                     .bias = Vec(conv_bias),
                     .segments = segments,
                     .states = {conv_states.data(), kPast * kInner, slots}},
            .x_proj = x_proj.view(),
            .dt_proj = dt_proj.view(),
            .scan = {.d_inner = kInner,
                     .d_state = kState,
                     .dt_bias = Vec(dt_bias),
                     .a = Vec(a),
                     .d = Vec(d),
                     .segments = segments,
                     .states = {states.data(), kState * kInner, slots}},
            .out_proj = out_proj.view()};
  }

  Exec exec;
  int64_t rank;
  std::vector<Shared<float>> values;
  Weight in_proj, x_proj, dt_proj, out_proj;
  Shared<float> norm, conv_weight, conv_bias, dt_bias, a, d, conv_states, states;
};

struct Work {
  std::vector<Segment> segments;
  std::vector<int32_t> slots;
  std::vector<int64_t> wanted = {};  // empty: all
  bool step = false;
};

MatView<float> View(Shared<float>& v, int64_t cols) {
  return {v.data(), static_cast<int64_t>(v.size()) / cols, cols};
}

// What policies read of a mixer.
struct Kept {
  Kept(const Mixer& mixer, int64_t rows, int64_t wanted)
      : conv(rows * kInner),
        bcdt(rows * mixer.width()),
        dt(rows * kInner),
        y(rows * kInner),
        gated(wanted * kInner) {}
  Shared<float> conv, bcdt, dt, y, gated;
};

// h of the wanted rows of x.
Shared<float> Whole(Mixer& mixer, const Work& run, Shared<float> x, Kept* kept = nullptr) {
  const int64_t rows = static_cast<int64_t>(x.size()) / kModel;
  const int64_t wanted = run.wanted.empty() ? rows : static_cast<int64_t>(run.wanted.size());
  Mamba1MixerArgs args = mixer.Args(run.segments, run.slots);
  Shared<float> normed(x.size()), proj(rows * 2 * kInner), h(wanted * kModel);
  args.norm.x = View(x, kModel);
  args.norm.out = View(normed, kModel);
  args.step = run.step;
  args.wanted = run.wanted;
  args.h = View(h, kModel);
  Kept room(mixer, rows, wanted);
  if (run.step) args.step_proj = View(proj, 2 * kInner);
  if (run.step || kept != nullptr) {
    args.kept_conv = View(room.conv, kInner);
    args.kept_bcdt = View(room.bcdt, mixer.width());
    args.kept_gated = View(room.gated, kInner);
  }
  if (kept != nullptr) {
    args.kept_dt = View(room.dt, kInner);
    args.kept_y = View(room.y, kInner);
  }
  Mamba1Mixer(mixer.exec, args);
  mixer.exec.backend->Synchronize(mixer.exec.queue);
  if (kept != nullptr) *kept = room;
  return h;
}

// The same by single operators.
Shared<float> Parts(Mixer& mixer, const Work& run, Shared<float> x, Kept& kept) {
  const Exec& exec = mixer.exec;
  const int64_t rows = static_cast<int64_t>(x.size()) / kModel;
  const Mamba1MixerArgs args = mixer.Args(run.segments, run.slots);
  Shared<float> normed(x.size()), proj(rows * 2 * kInner), h(x.size());
  AddNormArgs norm = args.norm;
  norm.x = View(x, kModel);
  norm.out = View(normed, kModel);
  AddNorm(exec, norm);
  const MatView<float> p = View(proj, 2 * kInner);
  Linear(exec, norm.out, args.in_proj, {}, p);
  CausalConv1dArgs convolution = args.conv;
  convolution.x = p.Cols(0, kInner);
  convolution.out = View(kept.conv, kInner);
  CausalConv1d(exec, convolution);
  const MatView<float> bcdt = View(kept.bcdt, mixer.width());
  Linear(exec, convolution.out, args.x_proj, {}, bcdt);
  SelectiveScanArgs scan = args.scan;
  scan.x = convolution.out;
  Linear(exec, bcdt.Cols(0, mixer.rank), args.dt_proj, {}, View(kept.dt, kInner));
  scan.dt = View(kept.dt, kInner);
  scan.b = bcdt.Cols(mixer.rank, kState);
  scan.c = bcdt.Cols(mixer.rank + kState, kState);
  scan.y = View(kept.y, kInner);
  SelectiveScan(exec, scan);
  const GateArgs gate = {
      .y = scan.y, .z = p.Cols(kInner, kInner), .norm_weight = {}, .out = View(kept.gated, kInner)};
  Gate(exec, gate);
  Linear(exec, gate.out, args.out_proj, {}, View(h, kModel));
  return h;
}

class Mamba1MixerTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    exec_ = Tested();
    exec_.precision = GetParam();
    if (KernelsFor(exec_).mamba1_mixer == nullptr) {
      GTEST_SKIP() << testing::DeviceName() << " has no kernel for whole mixers";
    }
  }
  double bound() const { return GetParam() == Precision::kBF16 ? 10 * 0x1p-8 : 10 * 0x1p-11; }
  static Shared<float> Rows(int64_t rows) {
    return Random(static_cast<uint32_t>(rows)).Vector(rows * kModel);
  }

  Exec exec_;
};

TEST_P(Mamba1MixerTest, EqualsItsParts) {
  for (const int64_t rank : {8, 24, 160}) {
    SCOPED_TRACE(rank);
    Mixer mixer(exec_, rank), reference(kReference, rank);
    const Work run{{{0, 200}, {200, 1}, {201, 64}, {265, 67}, {332, 0}}, {2, 0, 3, 1, 2}};
    const Shared<float> x = Rows(332);
    ASSERT_TRUE(TakesMamba1Mixer(exec_, mixer.Args(run.segments, run.slots)));
    Kept kept(mixer, 332, 332), expected_kept(mixer, 332, 332);
    const Shared<float> h = Whole(mixer, run, x, &kept);
    const Shared<float> expected = Parts(reference, run, x, expected_kept);
    EXPECT_LE(Distance(h, expected), bound());
    EXPECT_LE(Distance(kept.conv, expected_kept.conv), bound());
    EXPECT_LE(Distance(kept.bcdt, expected_kept.bcdt), bound());
    EXPECT_LE(Distance(kept.dt, expected_kept.dt), bound());
    EXPECT_LE(Distance(kept.y, expected_kept.y), bound());
    EXPECT_LE(Distance(kept.gated, expected_kept.gated), bound());
    EXPECT_LE(Distance(mixer.states, reference.states), bound());
    EXPECT_LE(Distance(mixer.conv_states, reference.conv_states), bound());
  }
}

TEST_P(Mamba1MixerTest, OtherSequencesAndCutsChangeNoBit) {
  const Shared<float> x = Rows(300);
  Mixer all(exec_, 24);
  const Shared<float> h = Whole(all, {{{0, 230}, {230, 70}}, {1, 0}}, x);
  Mixer cut(exec_, 24);
  Shared<float> joined;
  // The first sequence alone, in pieces of any length; then the second one.
  for (const Segment part : {Segment{0, 64}, Segment{64, 97}, Segment{161, 1}, Segment{162, 30},
                             Segment{192, 38}, Segment{230, 70}}) {
    const Shared<float> rows(x.begin() + part.begin * kModel,
                             x.begin() + (part.begin + part.count) * kModel);
    const Shared<float> piece = Whole(cut, {{{0, part.count}}, {part.begin < 230 ? 1 : 0}}, rows);
    joined.insert(joined.end(), piece.begin(), piece.end());
  }
  ExpectSameBits(h, joined);
  ExpectSameBits(all.states, cut.states);
  ExpectSameBits(all.conv_states, cut.conv_states);
}

TEST_P(Mamba1MixerTest, WantedAndKeptRowsChangeNoBit) {
  const Shared<float> x = Rows(150);
  Mixer all(exec_, 8), some(exec_, 8);
  const Shared<float> h = Whole(all, {{{0, 150}}, {0}}, x);
  const std::vector<int64_t> wanted = {3, 77, 149};
  Kept kept(some, 150, 3);
  const Shared<float> part = Whole(some, {{{0, 150}}, {0}, wanted}, x, &kept);
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_TRUE(SameBits(&part[i * kModel], &h[wanted[i] * kModel], kModel)) << wanted[i];
  }
  ExpectSameBits(all.states, some.states);
}

// What one mixer leaves for the next one in 16 bits is what it would leave in f32, rounded.
TEST_P(Mamba1MixerTest, CompactRowsAreAddedByTheNextMixer) {
  const int64_t rows = 100;
  const Work run{{{0, rows}}, {0}, {}, false};
  Mixer mixer(exec_, 24), other(exec_, 24);
  Shared<float> x = Rows(rows);
  const Shared<float> plain = Whole(other, run, x);
  Mamba1MixerArgs args = mixer.Args(run.segments, run.slots);
  Shared<float> normed(x.size()), h(x.size());
  CompactRows compact;
  args.norm.x = View(x, kModel);
  args.norm.out = View(normed, kModel);
  args.h = View(h, kModel);
  args.compact = &compact;
  Mamba1Mixer(exec_, args);
  ASSERT_FALSE(compact.empty());
  const Shared<float> before = x;
  Shared<float> next_h(x.size());
  args.add = compact;
  args.compact = nullptr;
  args.norm.sum = View(x, kModel);
  args.h = View(next_h, kModel);
  Mamba1Mixer(exec_, args);
  exec_.backend->Synchronize(exec_.queue);
  Shared<float> added;
  for (size_t i = 0; i < x.size(); ++i) added.push_back(x[i] - before[i]);
  EXPECT_LE(Distance(added, plain), GetParam() == Precision::kBF16 ? 0x1p-8 : 0x1p-11);
}

TEST_P(Mamba1MixerTest, StepsGoOnAsTheRowsWould) {
  const Shared<float> x = Rows(131);
  const auto rows = [&](int64_t begin, int64_t count) {
    return Shared<float>(x.begin() + begin * kModel, x.begin() + (begin + count) * kModel);
  };
  for (const int64_t rank : {8, 160, 256}) {
    Mixer mixer(exec_, rank), reference(kReference, rank);
    Whole(mixer, {{{0, 128}}, {2}}, rows(0, 128));
    Shared<float> stepped;
    for (const int64_t at : {128, 129, 130}) {
      const Shared<float> h = Whole(mixer, {{{0, 1}}, {2}, {}, true}, rows(at, 1));
      stepped.insert(stepped.end(), h.begin(), h.end());
    }
    Kept kept(reference, 131, 131);
    const Shared<float> expected = Parts(reference, {{{0, 131}}, {2}}, x, kept);
    const Shared<float> last(expected.begin() + 128 * kModel, expected.end());
    EXPECT_LE(Distance(stepped, last), bound());
    EXPECT_LE(Distance(mixer.states, reference.states), bound());
    EXPECT_LE(Distance(mixer.conv_states, reference.conv_states), bound());
  }
}

TEST_P(Mamba1MixerTest, StepsDoNotSeeEachOther) {
  const Shared<float> x = Rows(4);
  Mixer together(exec_, 24), apart(exec_, 24);
  const Shared<float> h =
      Whole(together, {{{0, 1}, {1, 1}, {2, 1}, {3, 1}}, {3, 1, 0, 2}, {}, true}, x);
  const int32_t slots[] = {3, 1, 0, 2};
  for (const int64_t i : {2, 0, 3, 1}) {
    const Shared<float> row(x.begin() + i * kModel, x.begin() + (i + 1) * kModel);
    const Shared<float> alone = Whole(apart, {{{0, 1}}, {slots[i]}, {}, true}, row);
    EXPECT_TRUE(SameBits(alone.data(), &h[i * kModel], kModel)) << i;
  }
  ExpectSameBits(together.states, apart.states);
  ExpectSameBits(together.conv_states, apart.conv_states);
}

INSTANTIATE_TEST_SUITE_P(Precisions, Mamba1MixerTest,
                         ::testing::Values(Precision::kBF16, Precision::kF16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kBF16 ? "bf16" : "f16");
                         });

}  // namespace
}  // namespace pith::ops_testing
