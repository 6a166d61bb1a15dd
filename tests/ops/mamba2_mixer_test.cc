// Whole mixers against the single operators on the reference backend, and the laws that hold for
// them to the last bit: other sequences, cuts at whole chunks and the rows that are wanted change
// nothing.
#include "ops/mamba2_mixer.h"

#include "ops/importance.h"
#include "ops/rows.h"
#include "tests/ops/mamba2_mixer_testing.h"

namespace pith::ops_testing {
namespace {

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

INSTANTIATE_TEST_SUITE_P(Precisions, Mamba2MixerTest,
                         ::testing::Values(Precision::kBF16, Precision::kF16), PrecisionName);

}  // namespace
}  // namespace pith::ops_testing
