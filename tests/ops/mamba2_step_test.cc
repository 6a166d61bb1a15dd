// Steps of whole mixers, one row a sequence: against the single operators on the reference backend,
// and what a step may do beyond them. No sequence changes a bit of another.
#include <limits>

#include "tests/ops/mamba2_mixer_testing.h"

namespace pith::ops_testing {
namespace {

class Mamba2StepTest : public Mamba2MixerTest {};

TEST_P(Mamba2StepTest, StepsGoOnAsTheChunksWould) {
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

TEST_P(Mamba2StepTest, StepsDoNotSeeEachOther) {
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

// Steps of rows that have slots 0, 1, … Each adds its hidden branch to x itself, where the backend
// does so.
struct Stepping {
  Stepping(const Exec& exec, const Shared<float>& rows, int64_t first_slot = 0, Sizes sizes = {})
      : mixer(exec, 1, false, 40, sizes), x(rows) {
    const int64_t count = static_cast<int64_t>(x.size()) / sizes.model;
    for (int64_t i = 0; i < count; ++i) {
      segments.push_back({i, 1});
      slots.push_back(static_cast<int32_t>(first_slot + i));
    }
    room.assign(count * MostSquares(sizes.model), std::numeric_limits<float>::quiet_NaN());
  }
  // Whether the branch, which is h otherwise, has been added. The norm reads `squares`.
  bool Step(MatView<const float> squares) {
    Mamba2MixerArgs args = mixer.Args(segments, slots);
    const auto count = std::ssize(segments);
    Shared<float> normed(x.size()), gate(count * mixer.sizes.heads), proj(count * mixer.in_rows()),
        gated(count * mixer.inner());
    h.resize(x.size());
    args.norm.x = View(x, mixer.sizes.model);
    args.norm.squares = squares;
    args.norm.out = View(normed, mixer.sizes.model);
    args.step = true;
    args.step_proj = View(proj, mixer.in_rows());
    args.kept_gated = View(gated, mixer.inner());
    args.h = View(h, mixer.sizes.model);
    args.squares = View(gate, mixer.sizes.heads);
    args.residual = View(x, mixer.sizes.model);
    args.residual_squares = View(room, MostSquares(mixer.sizes.model));
    added = {};
    args.added = &added;
    Mamba2Mixer(mixer.exec, args);
    mixer.exec.backend->Synchronize(mixer.exec.queue);
    return added.added;
  }

  Mixer mixer;
  Shared<float> x, h, room;
  std::vector<Segment> segments;
  std::vector<int32_t> slots;
  AddedRows added;
};

// A step that adds its hidden branch itself adds what it would hand out. The sums round to f32:
// three roundings of numbers below |x| + |h|.
TEST_P(Mamba2StepTest, AStepMayAddItsBranchItself) {
  for (const int64_t rows : {1, 3, 9, 20}) {
    const Shared<float> before = Rows(rows);
    Stepping stepping(exec_, before);
    Mixer other(exec_, 1, false, 40);
    const Shared<float> plain = Whole(other, {stepping.segments, stepping.slots, {}, true}, before);
    if (!stepping.Step({})) {
      ExpectSameBits(stepping.h, plain);
      ExpectSameBits(stepping.x, before);
      continue;
    }
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_NEAR(stepping.x[i], before[i] + plain[i],
                  3 * kRounding * (std::abs(before[i]) + std::abs(plain[i])));
    }
  }
}

// The squares that it leaves beside the rows are theirs (each sum rounds at most once a term), and
// the next step reads them: its rows are those of a norm that adds the squares up itself, but for a
// last bit of the factor, which moves some of the rounded rows by u; and another row changes no
// bit.
TEST_P(Mamba2StepTest, AStepLeavesSquaresForTheNext) {
  for (const int64_t rows : {1, 3, 9, 20}) {
    const Shared<float> x = Rows(rows);
    Stepping all(exec_, x), plain(exec_, x);
    const bool added = all.Step({});
    ASSERT_EQ(plain.Step({}), added);
    if (!added || all.added.squares.empty()) GTEST_SKIP() << "this GPU's steps leave no squares";
    const MatView<const float> squares = all.added.squares;
    for (int64_t row = 0; row < rows; ++row) {
      double got = 0, expected = 0;
      for (int64_t i = 0; i < squares.cols; ++i) got += squares.Row(row)[i];
      for (int64_t i = 0; i < kModel; ++i) {
        const double v = all.x[static_cast<size_t>(row * kModel + i)];
        expected += v * v;
      }
      EXPECT_NEAR(got, expected, kModel * kRounding * expected) << row;
    }
    const Shared<float> between = all.x;
    all.Step(squares);
    plain.Step({});
    Shared<float> by_squares, by_norm;
    for (size_t i = 0; i < between.size(); ++i) {
      by_squares.push_back(all.x[i] - between[i]);
      by_norm.push_back(plain.x[i] - between[i]);
    }
    EXPECT_LE(Distance(by_squares, by_norm), GetParam() == Precision::kBF16 ? 0x1p-8 : 0x1p-11);
    for (int64_t row = 0; row < rows; ++row) {
      const auto begin = x.begin() + row * kModel;
      Stepping alone(exec_, Shared<float>(begin, begin + kModel), row);
      alone.Step({});
      alone.Step(alone.added.squares);
      EXPECT_TRUE(SameBits(alone.x.data(), &all.x[static_cast<size_t>(row * kModel)], kModel))
          << row;
    }
  }
}

// Sizes of which a row's squares come in more parts than are read at once; of which two blocks
// share out_proj's sums, so that some parts are padding; of which two share in_proj's. Two steps,
// of which the second reads the squares that the first left: twice the bound of one.
TEST_P(Mamba2StepTest, RowsOfAnyWidth) {
  for (const Sizes sizes : {Sizes{704, 4}, Sizes{544, 44}, Sizes{2624, 4}}) {
    for (const int64_t rows : {1, 40}) {
      SCOPED_TRACE(StrCat("d_model ", sizes.model, ", ", sizes.heads, " heads, ", rows, " rows"));
      const Shared<float> x = Random(static_cast<uint32_t>(rows)).Vector(rows * sizes.model);
      Stepping stepping(exec_, x, 0, sizes);
      Mixer reference(kReference, 1, false, 40, sizes);
      Shared<float> expected = x, got_change, expected_change;
      for (int step = 0; step < 2; ++step) {
        const bool added = stepping.Step(stepping.added.squares);
        const Shared<float> h = Parts(reference, {stepping.segments, stepping.slots}, expected);
        for (size_t i = 0; i < x.size(); ++i) {
          expected[i] += h[i];
          if (!added) stepping.x[i] += stepping.h[i];
        }
      }
      for (size_t i = 0; i < x.size(); ++i) {
        got_change.push_back(stepping.x[i] - x[i]);
        expected_change.push_back(expected[i] - x[i]);
      }
      EXPECT_LE(Distance(got_change, expected_change), 2 * bound());
      EXPECT_LE(Distance(stepping.mixer.states, reference.states), 2 * bound());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, Mamba2StepTest,
                         ::testing::Values(Precision::kBF16, Precision::kF16), PrecisionName);

}  // namespace
}  // namespace pith::ops_testing
