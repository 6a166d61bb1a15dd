// States held in 16 bits: half the memory, the numbers of the f32 state rounded, the same results
// wherever they are moved to; and a clear no from whatever cannot hold them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "model/prefill.h"
#include "model/state_pool.h"
#include "model/step.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Kind;
using testing::RandomIds;

ModelConfig WholeMixers() {
  ModelConfig config = testing::MakeConfig({});
  config.d_model = 64;
  config.layers.assign(3, testing::WholeMixer(2));
  return config;
}

Exec ExecWith(DType state, Precision precision = Precision::kBF16) {
  Exec exec = ExecOn(testing::DeviceUnderTest(), 1, precision);
  exec.state = state;
  return exec;
}

Model MakeModel(const Exec& exec, const ModelConfig& config = WholeMixers()) {
  testing::RandomTensors tensors(1, DType::kF32);
  return Model(exec, config, tensors);
}

TEST(HalfStates, TheLayoutRoundsAndWidens) {
  const StateSize sizes[] = {{.fixed = 3, .half = 4}, {.fixed = 2}, {.fixed = 1, .half = 2}};
  const std::vector<float> values = {1.1f, -2,   3e-30f, 0.1f, -1e3f, 7,
                                     0,    5.5f, 6.6f,   0.3f, 1,     -0.7f};
  const std::vector<bool> half = {false, false, false, true,  true, true,
                                  true,  false, false, false, true, true};
  for (const DType type : {DType::kBF16, DType::kF16}) {
    const StateLayout layout(sizes, type);
    EXPECT_EQ(layout.values(), 12);
    EXPECT_EQ(layout.bytes(), 6 * 4 + 6 * 2);
    const std::vector<float> content = layout.Round(values);
    EXPECT_EQ(static_cast<int64_t>(content.size()), layout.floats());
    const std::vector<float> wide = layout.Widen(content);
    ASSERT_EQ(wide.size(), values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const float rounded =
          type == DType::kBF16 ? ToFloat(ToBF16(values[i])) : ToFloat(ToF16(values[i]));
      EXPECT_EQ(wide[i], half[i] ? rounded : values[i]) << i;
    }
    const std::vector<float> again = layout.Round(wide);
    EXPECT_EQ(std::memcmp(again.data(), content.data(), layout.bytes()), 0);
  }
}

TEST(HalfStates, WhatCannotHoldThemSaysSo) {
  const auto refused = [](const Exec& exec, const ModelConfig& config) {
    try {
      MakeModel(exec, config);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      EXPECT_NE(std::string(error.what()).find("state-dtype: got f16, expected f32"),
                std::string::npos)
          << error.what();
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused(ExecWith(DType::kF16), testing::MakeConfig({.kind = Kind::kMamba1})));
  EXPECT_TRUE(refused(ExecWith(DType::kF16), testing::MakeConfig({.kind = Kind::kMamba2})));
  EXPECT_TRUE(refused(ExecWith(DType::kF16, Precision::kF32), WholeMixers()));
  EXPECT_EQ(refused(ExecWith(DType::kF16), WholeMixers()),
            testing::DeviceUnderTest() != Device::kCuda);
}

class HeldHalfStates : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (testing::DeviceUnderTest() != Device::kCuda) {
      GTEST_SKIP() << testing::DeviceName() << " holds states in f32 only";
    }
  }
  // The state and the logits behind a prompt and some steps.
  struct Text {
    std::vector<float> state, logits;
  };
  static Text Read(const Model& model, const Exec& exec, StatePool& pool, Sequence& text,
                   const std::vector<int32_t>& prompt, const std::vector<int32_t>& steps) {
    Workspace ws;
    LayerRows rows;
    if (!prompt.empty()) {
      const SequenceInput input{prompt, &text, WantRows::kNone};
      Prefill(model, exec, pool, {&input, 1}, {}, ws, nullptr);
    }
    DeviceMat<float> logits;
    logits.Resize(exec, 1, model.config().vocab_size);
    for (const int32_t id : steps) {
      Sequence* const sequences[] = {&text};
      Step(model, exec, pool, {&id, 1}, sequences, ws, rows, logits.view());
    }
    Text result{.state = pool.Download(text.slot), .logits = {}};
    if (!steps.empty()) result.logits = testing::OnHost(exec, logits.view());
    return result;
  }
  static double Distance(const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
      size += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(difference / size);
  }
};

TEST_P(HeldHalfStates, TakeHalfTheMemory) {
  const Exec exec = ExecWith(GetParam());
  const Model model = MakeModel(exec), full = MakeModel(ExecWith(DType::kF32));
  const int64_t conv = int64_t{3} * 3 * (128 + 2 * 128), ssm = int64_t{3} * 2 * 128 * 64;
  EXPECT_EQ(full.state_layout().bytes(), 4 * (conv + ssm));
  EXPECT_EQ(model.state_layout().bytes(), 4 * conv + 2 * ssm);
  const int64_t before = exec.backend->memory(MemoryUse::kStates).bytes;
  const StatePool pool(model, exec, 5);
  EXPECT_EQ(exec.backend->memory(MemoryUse::kStates).bytes - before,
            5 * model.state_layout().bytes());
}

// Each step rounds each number of the state once more, by half a unit at most: with the decay that
// lies in between, n steps after the prompt leave fewer than n + 1 such roundings, of numbers that
// are not larger than the largest of the state. What that moves passes through layers that round to
// 16 bits as coarsely: both runs differ as two bf16 runs do, and 3 layers with 8 roundings each
// (mamba2_mixer_test.cc) bound their part.
TEST_P(HeldHalfStates, AgreeWithF32States) {
  const Exec exec = ExecWith(GetParam()), f32 = ExecWith(DType::kF32);
  const Model model = MakeModel(exec), full = MakeModel(f32);
  StatePool pool(model, exec, 1), wide(full, f32, 1);
  Sequence text{.slot = pool.Take()}, same{.slot = wide.Take()};
  const std::vector<int32_t> prompt = RandomIds(150, 97, 2), steps = RandomIds(10, 97, 3);
  const Text got = Read(model, exec, pool, text, prompt, steps);
  const Text expected = Read(full, f32, wide, same, prompt, steps);
  const double unit = GetParam() == DType::kBF16 ? 0x1p-8 : 0x1p-11;
  const double bound = 11 * unit + 3 * 8 * 0x1p-8;
  EXPECT_LE(Distance(got.state, expected.state), bound);
  EXPECT_LE(Distance(got.logits, expected.logits), bound);
}

// The text goes on with the same bits where its state was brought to the host and back.
TEST_P(HeldHalfStates, ComeBackAsTheyWere) {
  const Exec exec = ExecWith(GetParam());
  const Model model = MakeModel(exec);
  StatePool pool(model, exec, 3);
  Sequence text{.slot = pool.Take()};
  const Text before = Read(model, exec, pool, text, RandomIds(70, 97, 4), {});
  Sequence fork{.slot = pool.Take(), .tokens = text.tokens};
  Sequence brought{.slot = pool.Take(), .tokens = text.tokens};
  pool.Copy(text.slot, fork.slot);
  pool.Upload(before.state, brought.slot);
  EXPECT_EQ(pool.Download(brought.slot), before.state);
  const std::vector<int32_t> more = RandomIds(65, 97, 5), steps = RandomIds(3, 97, 6);
  const Text expected = Read(model, exec, pool, text, more, steps);
  for (Sequence* other : {&fork, &brought}) {
    const Text got = Read(model, exec, pool, *other, more, steps);
    EXPECT_EQ(got.state, expected.state);
    EXPECT_EQ(got.logits, expected.logits);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, HeldHalfStates, ::testing::Values(DType::kBF16, DType::kF16),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace pith
