// Steps that come again: a backend may record a step and launch the recording (Backend::Repeat), so
// what it says must not depend on whether it ran before, nor on models that stood in the same
// place. And mixers that are a part of a layer, in steps and in prefill.
#include "model/step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "model/prefill.h"
#include "ops/backend.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Kind;
using testing::OnHost;
using testing::RelativeError;
using testing::Slots;
using testing::WholeMixer;

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

// Of layers of which a Mamba-2 mixer is a part, of sizes that backends take as whole mixers.
struct MixerInside {
  std::string name;
  LayerConfig layer;
};

// Beside attention, without Falcon-H1's factors; and behind a shared block, as in Zamba2.
std::vector<MixerInside> MixersInside() {
  const AttentionConfig attention{.n_heads = 4, .n_kv_heads = 4, .head_dim = 64, .scale = 0.125F};
  return {{"beside attention",
           ParallelConfig{.mamba = WholeMixer(4), .attention = attention, .attention_scale = 3}},
          {"behind a shared block", SharedBlockConfig{.mamba = WholeMixer(4),
                                                      .attention = attention,
                                                      .mlp = {.d_hidden = 56},
                                                      .adapter_rank = 7}}};
}

std::vector<float> ReadThrough(const Model& model, const Exec& exec) {
  Slots slots(model, exec, 1);
  Workspace ws;
  std::vector<float> all;
  const SequenceInput batch[] = {{kIds, slots.sequences.data(), WantRows::kAll}};
  Prefill(model, exec, slots.pool, batch, {}, ws,
          [&](std::span<const OutputRow> /*rows*/, MatView<const float> normed) {
            const std::vector<float> rows = OnHost(exec, normed);
            all.insert(all.end(), rows.begin(), rows.end());
          });
  return all;
}

// What the mixer makes is a part of what the layer adds to its rows, in steps and in prefill, and
// the norm in front of it may read other rows than those. Bound: each of 3 mixers and of up to 3
// other parts rounds to bf16 at most 8 times, each time by 2⁻⁸ of the values.
TEST(Step, AMixerInsideALayerLeavesTheRestToIt) {
  for (const MixerInside& inside : MixersInside()) {
    ModelConfig config = testing::MakeConfig({.n_layer = 0});
    config.d_model = 128;
    config.layers = {WholeMixer(4), inside.layer, WholeMixer(4)};
    const Exec exec = ExecOn(testing::DeviceUnderTest(), 1, Precision::kBF16);
    const Exec reference = ExecOn(Device::kReference);
    testing::RandomTensors tensors(1, DType::kBF16), same(1, DType::kBF16);
    const Model model(exec, config, tensors), expected(reference, config, same);
    EXPECT_LT(RelativeError(StepThrough(model, exec, 1)[0], StepThrough(expected, reference, 1)[0]),
              6 * 8 * 0x1p-8)
        << inside.name;
    EXPECT_LT(RelativeError(ReadThrough(model, exec), ReadThrough(expected, reference)),
              6 * 8 * 0x1p-8)
        << inside.name;
  }
}

}  // namespace
}  // namespace pith
