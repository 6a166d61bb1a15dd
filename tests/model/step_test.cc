// Steps that come again: a backend may record a step and launch the recording (Backend::Repeat), so
// what it says must not depend on whether it ran before, nor on models that stood in the same
// place.
#include "model/step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "ops/backend.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Kind;

constexpr int32_t kIds[] = {5, 17, 2, 96, 41};

// The logits that follow each of kIds in `passes` sequences, one after the other in one slot.
std::vector<std::vector<float>> StepThrough(const Model& model, const Exec& exec, int passes) {
  StatePool pool(model, exec, 1);
  Workspace ws;
  LayerRows rows;
  DeviceMat<float> logits;
  const int64_t vocab = model.config().vocab_size;
  logits.Resize(exec, 1, vocab);
  std::vector<std::vector<float>> all;
  for (int pass = 0; pass < passes; ++pass) {
    Sequence sequence{.slot = pool.Take()};
    std::vector<float> of_pass;
    for (const int32_t id : kIds) {
      Sequence* const sequences[] = {&sequence};
      Step(model, exec, pool, {&id, 1}, sequences, ws, rows, logits.view());
      std::vector<float> row(vocab);
      DownloadRows(exec, logits.view(), {row.data(), 1, vocab});
      of_pass.insert(of_pass.end(), row.begin(), row.end());
    }
    all.push_back(of_pass);
    pool.Free(sequence.slot);
  }
  return all;
}

TEST(Step, SaysTheSameWhenItComesAgain) {
  for (const Kind kind : testing::kKinds) {
    const Model model = testing::MakeModel({.kind = kind});
    const auto passes = StepThrough(model, ExecOn(testing::DeviceUnderTest()), 3);
    EXPECT_EQ(passes[0], passes[1]);
    EXPECT_EQ(passes[0], passes[2]);
  }
}

// Each model is gone before the next one, which stands at its address and may get its memory.
TEST(Step, KnowsAModelFromAnotherInItsPlace) {
  for (const Kind kind : testing::kKinds) {
    std::optional<Model> place;
    for (const uint64_t seed : {1, 2, 3, 4}) {
      place.reset();
      place.emplace(testing::MakeModel({.kind = kind}, seed));
      const auto passes = StepThrough(*place, ExecOn(testing::DeviceUnderTest()), 3);
      const Model model = testing::MakeModel({.kind = kind}, seed, Device::kReference);
      const auto expected = StepThrough(model, ExecOn(Device::kReference), 1)[0];
      // Logits are near 1 in magnitude; another model's differ by that much.
      for (const std::vector<float>& got : passes) {
        for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-3) << seed;
      }
    }
  }
}

}  // namespace
}  // namespace pith
