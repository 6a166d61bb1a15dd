// Steps of whole mixers, one row a sequence: against the single operators on the reference backend,
// and what a step may do beyond them. No sequence changes a bit of another.
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

// A step that adds its hidden branch itself adds what it would hand out. The sums round to f32:
// three roundings of numbers below |x| + |h|.
TEST_P(Mamba2StepTest, AStepMayAddItsBranchItself) {
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

INSTANTIATE_TEST_SUITE_P(Precisions, Mamba2StepTest,
                         ::testing::Values(Precision::kBF16, Precision::kF16), PrecisionName);

}  // namespace
}  // namespace pith::ops_testing
