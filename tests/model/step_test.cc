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

// Mamba-2 beside attention, of sizes that backends take as whole mixers, without Falcon-H1's
// factors: what the mixer makes is a part of the layer's branch, and the layer adds it. Bound: each
// of 2 mixers and of 2 other parts rounds to bf16 at most 8 times, each time by 2⁻⁸ of the values.
TEST(Step, AMixerBesideAttentionAddsNothingItself) {
  Mamba2Config mamba;
  mamba.d_inner = 256;
  mamba.d_state = 128;
  mamba.n_heads = 4;
  mamba.head_dim = 64;
  mamba.n_groups = 1;
  mamba.chunk_size = 256;
  mamba.gated_norm = true;
  mamba.gated_norm_group = mamba.d_inner;
  ModelConfig config = testing::MakeConfig({.n_layer = 0});
  config.d_model = 128;
  config.layers = {
      mamba,
      ParallelConfig{.mamba = mamba,
                     .attention = std::get<AttentionConfig>(testing::TransformerLayer(2)),
                     .attention_scale = 3},
      mamba};
  const auto steps = [&](const Exec& exec, DType dtype) {
    testing::RandomTensors tensors(1, dtype);
    return StepThrough(Model(exec, config, tensors), exec, 1)[0];
  };
  const auto expected = steps(ExecOn(Device::kReference), DType::kBF16);
  const auto got = steps(ExecOn(testing::DeviceUnderTest(), 1, Precision::kBF16), DType::kBF16);
  double difference = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(got[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  EXPECT_LT(std::sqrt(difference / size), 4 * 8 * 0x1p-8);
}

}  // namespace
}  // namespace pith
