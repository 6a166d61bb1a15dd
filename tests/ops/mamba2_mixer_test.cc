// Whole mixers against the single operators on the reference backend, and the laws that hold for
// them to the last bit: other sequences, cuts at whole chunks and the rows that are wanted change
// nothing.
//
// Bound: between its operators a whole mixer rounds to 16 bits: the normalised rows, in_proj's
// outputs, the convolution's, C Bᵀ with its decay and the state as operands, y, the gated rows, and
// out_proj's operands. Each of these 8 roundings moves a value by at most u of itself (2⁻⁸ for
// bf16, 2⁻¹¹ for f16), at random, so the relative distance of all values together stays below 8 u.
#include "ops/mamba2_mixer.h"

#include <limits>

#include "ops/importance.h"
#include "ops/kernels.h"
#include "ops/linear.h"
#include "ops/rows.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

constexpr int64_t kModel = 128, kHeads = 4, kHead = 64, kState = 128, kInner = kHeads * kHead;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

double Distance(const Shared<float>& a, const Shared<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / size);
}

// Weights, and the states of some sequences, with 16-byte alignment as models have it.
struct Mixer {
  Mixer(const Exec& exec, int64_t groups, bool norm_before_gate = false, int64_t sequences = 4)
      : exec(exec), groups(groups), before(norm_before_gate) {
    Random random(static_cast<uint32_t>(groups));
    norm = random.Vector(kModel, 0.5f, 1.5f);
    in = random.Vector(in_rows() * kModel, -0.15f, 0.15f);
    out = random.Vector(kModel * kInner, -0.1f, 0.1f);
    conv_weight = random.Vector(channels() * 4, -0.5f, 0.5f);
    conv_bias = random.Vector(channels(), -0.1f, 0.1f);
    dt_bias = random.Vector(kHeads, -4, -1);
    a = random.Vector(kHeads, -4, -0.5f);
    d = random.Vector(kHeads);
    gated = random.Vector(kInner, 0.5f, 1.5f);
    conv_states = random.Vector(sequences * conv_size());
    states = random.Vector(sequences * state_size());
    in_proj = Prepare(exec, in, in_rows(), kModel);
    out_proj = Prepare(exec, out, kModel, kInner);
  }
  // The states become of this type, rounded.
  void RoundStates(DType type) {
    state_type = type;
    halves.resize(states.size());
    for (size_t i = 0; i < states.size(); ++i) {
      halves[i] = type == DType::kBF16 ? ToBF16(states[i]).bits : ToF16(states[i]).bits;
    }
  }
  Shared<float> WideStates() const {
    Shared<float> wide;
    for (const uint16_t bits : halves) {
      wide.push_back(state_type == DType::kBF16 ? ToFloat(BF16{bits}) : ToFloat(F16{bits}));
    }
    return wide;
  }
  // Where slot 0 lies, and the floats from one slot to the next.
  StateSlots SlotsOf(const std::vector<int32_t>& slots) {
    if (state_type == DType::kF32) return {states.data(), state_size(), slots};
    return {reinterpret_cast<float*>(halves.data()), state_size() / 2, slots, state_type};
  }
  int64_t channels() const { return kInner + 2 * groups * kState; }
  int64_t in_rows() const { return kInner + channels() + kHeads; }
  int64_t conv_size() const { return 3 * channels(); }
  static int64_t state_size() { return kHeads * kState * kHead; }

  Mamba2MixerArgs Args(const std::vector<Segment>& segments, const std::vector<int32_t>& slots) {
    return {.norm = {.weight = Vec(norm)},
            .in_proj = in_proj.view(),
            .conv = {.weight = Vec(conv_weight),
                     .bias = Vec(conv_bias),
                     .segments = segments,
                     .states = {conv_states.data(), conv_size(), slots}},
            .ssd = {.n_heads = kHeads,
                    .head_dim = kHead,
                    .n_groups = groups,
                    .d_state = kState,
                    .dt_bias = Vec(dt_bias),
                    .dt_max = kInfinity,
                    .a = Vec(a),
                    .d = Vec(d),
                    .segments = segments,
                    .states = SlotsOf(slots)},
            .gate = {.norm_weight = Vec(gated), .group = kInner, .norm_before_gate = before},
            .out_proj = out_proj.view()};
  }

  Exec exec;
  int64_t groups;
  bool before;
  Shared<float> norm, in, out, conv_weight, conv_bias, dt_bias, a, d, gated, conv_states, states;
  Shared<uint16_t> halves;  // the states, where their type is not f32
  DType state_type = DType::kF32;
  Weight in_proj, out_proj;
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

// What importance is wanted of the rows, and where.
struct Ranking {
  ImportanceKind kind = ImportanceKind::kClip;
  VecView<float> importance = {};
};

// h of the wanted rows of x.
Shared<float> Whole(Mixer& mixer, const Work& run, Shared<float> x, Shared<float>* y = nullptr,
                    const Ranking& ranking = {}) {
  const int64_t rows = static_cast<int64_t>(x.size()) / kModel;
  Mamba2MixerArgs args = mixer.Args(run.segments, run.slots);
  Shared<float> normed(x.size()), squares(rows * kHeads), proj(rows * mixer.in_rows()),
      gated(rows * kInner), conv(rows * mixer.channels()), dt(rows * kHeads), scan(rows * kInner);
  const int64_t wanted = run.wanted.empty() ? rows : static_cast<int64_t>(run.wanted.size());
  Shared<float> h(wanted * kModel);
  args.norm.x = View(x, kModel);
  args.norm.out = View(normed, kModel);
  args.step = run.step;
  args.importance = ranking.importance;
  args.importance_kind = ranking.kind;
  args.wanted = run.wanted;
  args.h = View(h, kModel);
  args.squares = View(squares, kHeads);
  if (run.step) {
    args.step_proj = View(proj, mixer.in_rows());
    args.kept_gated = View(gated, kInner);
  } else if (y != nullptr) {
    args.kept_conv = View(conv, mixer.channels());
    args.kept_dt = View(dt, kHeads);
    args.kept_y = View(scan, kInner);
    args.kept_gated = View(gated, kInner);
  }
  Mamba2Mixer(mixer.exec, args);
  mixer.exec.backend->Synchronize(mixer.exec.queue);
  if (y != nullptr) *y = scan;
  return h;
}

// The same by single operators.
Shared<float> Parts(Mixer& mixer, const Work& run, Shared<float> x,
                    Shared<float>* y_out = nullptr) {
  const Exec& exec = mixer.exec;
  const int64_t rows = static_cast<int64_t>(x.size()) / kModel;
  const Mamba2MixerArgs args = mixer.Args(run.segments, run.slots);
  Shared<float> normed(x.size()), proj(rows * mixer.in_rows()), conv(rows * mixer.channels()),
      y(rows * kInner), h(x.size());
  AddNormArgs norm = args.norm;
  norm.x = View(x, kModel);
  norm.out = View(normed, kModel);
  AddNorm(exec, norm);
  const MatView<float> p = View(proj, mixer.in_rows());
  Linear(exec, norm.out, args.in_proj, {}, p);
  CausalConv1dArgs convolution = args.conv;
  convolution.x = p.Cols(kInner, mixer.channels());
  convolution.out = View(conv, mixer.channels());
  CausalConv1d(exec, convolution);
  SsdArgs ssd = args.ssd;
  const int64_t bc = mixer.groups * kState;
  ssd.x = convolution.out.Cols(0, kInner);
  ssd.b = convolution.out.Cols(kInner, bc);
  ssd.c = convolution.out.Cols(kInner + bc, bc);
  ssd.dt = p.Cols(kInner + mixer.channels(), kHeads);
  ssd.y = View(y, kInner);
  Ssd(exec, ssd);
  if (y_out != nullptr) *y_out = y;
  GateArgs gate = args.gate;
  gate.y = ssd.y;
  gate.z = p.Cols(0, kInner);
  gate.out = ssd.y;
  Gate(exec, gate);
  Linear(exec, gate.out, args.out_proj, {}, View(h, kModel));
  return h;
}

class Mamba2MixerTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    exec_ = Tested();
    exec_.precision = GetParam();
    if (KernelsFor(exec_).mamba2_mixer == nullptr) {
      GTEST_SKIP() << testing::DeviceName() << " has no kernel for whole mixers";
    }
  }
  double bound() const { return GetParam() == Precision::kBF16 ? 8 * 0x1p-8 : 8 * 0x1p-11; }
  static Shared<float> Rows(int64_t rows) {
    return Random(static_cast<uint32_t>(rows)).Vector(rows * kModel);
  }

  Exec exec_;
};

TEST_P(Mamba2MixerTest, EqualsItsParts) {
  for (const int64_t groups : {1, 2}) {
    for (const bool before : {false, true}) {
      Mixer mixer(exec_, groups, before), reference(kReference, groups, before);
      const Work run{{{0, 200}, {200, 1}, {201, 64}, {265, 67}}, {2, 0, 3, 1}};
      const Shared<float> x = Rows(332);
      ASSERT_TRUE(TakesMamba2Mixer(exec_, mixer.Args(run.segments, run.slots)));
      Shared<float> y, expected_y;
      const Shared<float> h = Whole(mixer, run, x, &y);
      const Shared<float> expected = Parts(reference, run, x, &expected_y);
      EXPECT_LE(Distance(h, expected), bound());
      EXPECT_LE(Distance(y, expected_y), bound());
      EXPECT_LE(Distance(mixer.states, reference.states), bound());
      EXPECT_LE(Distance(mixer.conv_states, reference.conv_states), bound());
    }
  }
}

TEST_P(Mamba2MixerTest, OtherSequencesAndCutsChangeNoBit) {
  const Shared<float> x = Rows(300);
  Mixer all(exec_, 1);
  const Shared<float> h = Whole(all, {{{0, 230}, {230, 70}}, {1, 0}}, x);
  Mixer cut(exec_, 1);
  Shared<float> joined;
  // The first sequence alone, in three pieces; then the second one.
  for (const Segment part :
       {Segment{0, 64}, Segment{64, 128}, Segment{192, 38}, Segment{230, 70}}) {
    const Shared<float> rows(x.begin() + part.begin * kModel,
                             x.begin() + (part.begin + part.count) * kModel);
    const Shared<float> piece = Whole(cut, {{{0, part.count}}, {part.begin < 230 ? 1 : 0}}, rows);
    joined.insert(joined.end(), piece.begin(), piece.end());
  }
  ExpectSameBits(h, joined);
  ExpectSameBits(all.states, cut.states);
  ExpectSameBits(all.conv_states, cut.conv_states);
}

// Where few sequences are read, a GPU cuts long ones into runs that it scans side by side.
TEST_P(Mamba2MixerTest, LongSequencesHaveTheBitsOfTheirPieces) {
  const Shared<float> x = Rows(1470);
  Mixer all(exec_, 2), cut(exec_, 2);
  Shared<float> y, joined, joined_y;
  const Shared<float> h = Whole(all, {{{0, 70}, {70, 1300}, {1370, 100}}, {1, 0, 2}}, x, &y);
  for (const Segment part : {Segment{0, 70}, Segment{70, 320}, Segment{390, 448}, Segment{838, 64},
                             Segment{902, 468}, Segment{1370, 100}}) {
    const Shared<float> rows(x.begin() + part.begin * kModel,
                             x.begin() + (part.begin + part.count) * kModel);
    const int32_t slot = part.begin < 70 ? 1 : part.begin < 1370 ? 0 : 2;
    Shared<float> piece_y;
    const Shared<float> piece = Whole(cut, {{{0, part.count}}, {slot}}, rows, &piece_y);
    joined.insert(joined.end(), piece.begin(), piece.end());
    joined_y.insert(joined_y.end(), piece_y.begin(), piece_y.end());
  }
  ExpectSameBits(h, joined);
  ExpectSameBits(y, joined_y);
  ExpectSameBits(all.states, cut.states);
  ExpectSameBits(all.conv_states, cut.conv_states);
}

// Where there are more heads than a GPU scans at once, they are shared out in equal pieces.
TEST_P(Mamba2MixerTest, ManySequencesHaveTheBitsOfEach) {
  constexpr int64_t kMany = 130;
  Work run;
  int64_t rows = 0;
  for (int64_t i = 0; i < kMany; ++i) {
    run.segments.push_back({rows, 193 + i * 37 % 64});
    run.slots.push_back(static_cast<int32_t>(kMany - 1 - i));
    rows += run.segments.back().count;
  }
  const Shared<float> x = Rows(rows);
  for (const bool keep : {false, true}) {
    Mixer all(exec_, 2, false, kMany), alone(exec_, 2, false, kMany);
    Shared<float> y, joined, joined_y;
    const Shared<float> h = Whole(all, run, x, keep ? &y : nullptr);
    for (size_t i = 0; i < run.segments.size(); ++i) {
      const Segment& segment = run.segments[i];
      const Shared<float> own(x.begin() + segment.begin * kModel,
                              x.begin() + (segment.begin + segment.count) * kModel);
      Shared<float> own_y;
      const Shared<float> own_h =
          Whole(alone, {{{0, segment.count}}, {run.slots[i]}}, own, keep ? &own_y : nullptr);
      joined.insert(joined.end(), own_h.begin(), own_h.end());
      joined_y.insert(joined_y.end(), own_y.begin(), own_y.end());
    }
    ExpectSameBits(h, joined);
    ExpectSameBits(y, joined_y);
    ExpectSameBits(all.states, alone.states);
    ExpectSameBits(all.conv_states, alone.conv_states);
  }
}

TEST_P(Mamba2MixerTest, WantedRowsHaveTheSameBits) {
  const Shared<float> x = Rows(150);
  Mixer all(exec_, 2), some(exec_, 2);
  const Shared<float> h = Whole(all, {{{0, 150}}, {0}}, x);
  const std::vector<int64_t> wanted = {3, 77, 149};
  const Shared<float> part = Whole(some, {{{0, 150}}, {0}, wanted}, x);
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_TRUE(SameBits(&part[i * kModel], &h[wanted[i] * kModel], kModel)) << wanted[i];
  }
  ExpectSameBits(all.states, some.states);
}

// What one mixer leaves for the next one in 16 bits is what it would leave in f32, rounded.
TEST_P(Mamba2MixerTest, CompactRowsAreAddedByTheNextMixer) {
  const int64_t rows = 100;
  const std::vector<Segment> segments = {{0, rows}};
  const std::vector<int32_t> slots = {0};
  Mixer mixer(exec_, 1), other(exec_, 1);
  Shared<float> x = Rows(rows);
  const Shared<float> plain = Whole(other, {segments, slots}, x);
  Mamba2MixerArgs args = mixer.Args(segments, slots);
  Shared<float> normed(x.size()), squares(rows * kHeads), h(x.size());
  CompactRows compact;
  args.norm.x = View(x, kModel);
  args.norm.out = View(normed, kModel);
  args.h = View(h, kModel);
  args.squares = View(squares, kHeads);
  args.compact = &compact;
  Mamba2Mixer(exec_, args);
  ASSERT_FALSE(compact.empty());
  const Shared<float> before = x;
  Shared<float> next_h(x.size()), next_squares(rows * kHeads);
  args.add = compact;
  args.compact = nullptr;
  args.norm.sum = View(x, kModel);
  args.h = View(next_h, kModel);
  args.squares = View(next_squares, kHeads);
  Mamba2Mixer(exec_, args);
  exec_.backend->Synchronize(exec_.queue);
  // ExpandRows and AddRows make the same bits.
  Shared<float> expanded(x.size());
  ExpandRows(exec_, compact, View(expanded, kModel));
  AddRows(exec_, View(expanded, kModel), MatView<const float>(before.data(), rows, kModel),
          View(expanded, kModel));
  exec_.backend->Synchronize(exec_.queue);
  ExpectSameBits(expanded, x);
  Shared<float> added;
  for (size_t i = 0; i < x.size(); ++i) added.push_back(x[i] - before[i]);
  EXPECT_LE(Distance(added, plain), GetParam() == Precision::kBF16 ? 0x1p-8 : 0x1p-11);
}

// A step that adds its hidden branch itself adds what it would hand out. The sums round to f32:
// three roundings of numbers below |x| + |h|.
TEST_P(Mamba2MixerTest, AStepMayAddItsBranchItself) {
  for (const int64_t rows : {1, 3, 4}) {
    std::vector<Segment> segments;
    std::vector<int32_t> slots;
    for (int64_t i = 0; i < rows; ++i) {
      segments.push_back({i, 1});
      slots.push_back(static_cast<int32_t>(3 - i));
    }
    Mixer mixer(exec_, 1), other(exec_, 1);
    Shared<float> x = Rows(rows);
    const Shared<float> before = x;
    const Shared<float> plain = Whole(other, {segments, slots, {}, true}, x);
    Mamba2MixerArgs args = mixer.Args(segments, slots);
    Shared<float> normed(x.size()), squares(rows * kHeads), h(x.size()),
        proj(rows * mixer.in_rows()), gated(rows * kInner);
    bool added = false;
    args.norm.x = View(x, kModel);
    args.norm.out = View(normed, kModel);
    args.step = true;
    args.step_proj = View(proj, mixer.in_rows());
    args.kept_gated = View(gated, kInner);
    args.h = View(h, kModel);
    args.squares = View(squares, kHeads);
    args.residual = View(x, kModel);
    args.added = &added;
    Mamba2Mixer(exec_, args);
    exec_.backend->Synchronize(exec_.queue);
    if (!added) {
      ExpectSameBits(h, plain);
      ExpectSameBits(x, before);
      continue;
    }
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(x[i], before[i] + plain[i],
                  3 * kRounding * (std::abs(before[i]) + std::abs(plain[i])));
    }
  }
}

// States of 16 bits are rounded where they are stored, and nowhere else: what is stored is the f32
// state's rounding to the nearest number (half a unit: of bf16 2⁻⁸ of it, of f16 2⁻¹¹, or below its
// normal numbers 2⁻²⁵), and rows are those of an f32 state with the same numbers. Steps may sum
// them in another order, which can move any of two roundings to 16 bits.
TEST_P(Mamba2MixerTest, StatesMayHave16Bits) {
  const Shared<float> x = Rows(100);
  for (const DType type : {DType::kBF16, DType::kF16}) {
    for (const bool step : {false, true}) {
      const int64_t rows = step ? 1 : 100;
      const Shared<float> part(x.begin(), x.begin() + rows * kModel);
      Mixer half(exec_, 2), full(exec_, 2);
      half.RoundStates(type);
      full.states = half.WideStates();
      const Work work{{{0, rows}}, {2}, {}, step};
      const Shared<float> h = Whole(half, work, part), expected = Whole(full, work, part);
      if (step) {
        EXPECT_LE(Distance(h, expected), GetParam() == Precision::kBF16 ? 2 * 0x1p-8 : 2 * 0x1p-11);
      } else {
        ExpectSameBits(h, expected);
      }
      ExpectSameBits(half.conv_states, full.conv_states);
      const Shared<float> stored = half.WideStates();
      for (size_t i = 0; i < stored.size(); ++i) {
        const double bound = type == DType::kBF16
                                 ? 0x1p-8 * std::abs(full.states[i])
                                 : std::max(0x1p-11 * std::abs(full.states[i]), 0x1p-25);
        ASSERT_NEAR(stored[i], full.states[i], bound) << i;
      }
    }
  }
}

// Bound: a head's 64 terms are summed in f32, 63 roundings of at most their absolute sum, and the
// heads' means in double; with a rounding of each term, of the mean and of its root, 2 · 66 · 2⁻²⁴
// of the mean size.
TEST_P(Mamba2MixerTest, ImportanceIsThatOfY) {
  constexpr int64_t kRows = 200;
  const Shared<float> x = Rows(kRows);
  const Work run{{{0, 133}, {133, 67}}, {1, 0}};
  for (const bool before : {false, true}) {
    Mixer keeps(exec_, 1, before);
    Shared<float> y;
    Whole(keeps, run, x, &y);
    for (const ImportanceKind kind : {ImportanceKind::kClip, ImportanceKind::kNoClip,
                                      ImportanceKind::kL1, ImportanceKind::kL2}) {
      Mixer ranks(exec_, 1, before);
      Shared<float> importance(kRows), expected(kRows), size(kRows);
      Whole(ranks, run, x, nullptr, {kind, {importance.data(), kRows}});
      RowImportance(kReference, kind, View(y, kInner), {expected.data(), kRows});
      const bool squared = kind == ImportanceKind::kL2;
      RowImportance(kReference, squared ? kind : ImportanceKind::kL1, View(y, kInner),
                    {size.data(), kRows});
      for (int64_t r = 0; r < kRows; ++r) {
        ASSERT_NEAR(importance[r], expected[r], 2 * 66 * kRounding * size[r]) << "row " << r;
      }
      ExpectSameBits(ranks.states, keeps.states);
    }
  }
}

TEST_P(Mamba2MixerTest, StepsGoOnAsTheChunksWould) {
  const Shared<float> x = Rows(131);
  const auto rows = [&](int64_t begin, int64_t count) {
    return Shared<float>(x.begin() + begin * kModel, x.begin() + (begin + count) * kModel);
  };
  for (const int64_t groups : {1, 2}) {
    Mixer mixer(exec_, groups), reference(kReference, groups);
    Whole(mixer, {{{0, 128}}, {2}}, rows(0, 128));
    Shared<float> stepped;
    for (const int64_t at : {128, 129, 130}) {
      const Shared<float> h = Whole(mixer, {{{0, 1}}, {2}, {}, true}, rows(at, 1));
      stepped.insert(stepped.end(), h.begin(), h.end());
    }
    const Shared<float> expected = Parts(reference, {{{0, 131}}, {2}}, x);
    const Shared<float> last(expected.begin() + 128 * kModel, expected.end());
    EXPECT_LE(Distance(stepped, last), bound());
    EXPECT_LE(Distance(mixer.states, reference.states), bound());
    EXPECT_LE(Distance(mixer.conv_states, reference.conv_states), bound());
  }
}

TEST_P(Mamba2MixerTest, StepsDoNotSeeEachOther) {
  const Shared<float> x = Rows(4);
  Mixer together(exec_, 2), apart(exec_, 2);
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

INSTANTIATE_TEST_SUITE_P(Precisions, Mamba2MixerTest,
                         ::testing::Values(Precision::kBF16, Precision::kF16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kBF16 ? "bf16" : "f16");
                         });

}  // namespace
}  // namespace pith::ops_testing
