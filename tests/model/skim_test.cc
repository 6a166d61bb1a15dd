// Skim (ARCHITECTURE.md, "Laws" 8), over every kind of model:
//   - skimming nobody is dense, to the bit;
//   - with every write made it equals a forward in which far rows' updates are masked, to rounding;
//   - in the last layer alone it leaves the last row unchanged, to rounding;
//   - the same bits for any batch, thread count and rows in flight;
//   - rows that nobody wants leave the others' bits alone.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "model/prefill.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Compile;
using testing::DeviceUnderTest;
using testing::Kind;
using testing::MakeModel;
using testing::OnHost;
using testing::RandomIds;
using testing::RelativeError;
using testing::Slots;

struct Output {
  std::vector<int32_t> positions;
  std::vector<float> rows;
  std::vector<float> state;
  bool operator==(const Output&) const = default;
};

struct Settings {
  int64_t rows_per_chunk = 1024;
  int threads = 2;
  WantRows want = WantRows::kAll;
  Precision precision = Precision::kF32;
  int64_t ssd_chunk = 16;
};

std::vector<Output> Forward(const Model& model, const std::vector<std::vector<int32_t>>& texts,
                            const std::string& reduce, const Settings& settings = {},
                            PrefillResult* result_out = nullptr) {
  const Exec exec = ExecOn(DeviceUnderTest(), settings.threads, settings.precision);
  Slots slots(model, exec, texts.size());
  std::vector<SequenceInput> batch;
  for (size_t i = 0; i < texts.size(); ++i) {
    batch.push_back({texts[i], &slots.sequences[i], settings.want});
  }
  const CompiledReduction reduction = Compile(reduce, model);
  std::vector<Output> outputs(texts.size());
  Workspace ws;
  PrefillResult result =
      Prefill(model, exec, slots.pool, batch,
              {.reduction = &reduction,
               .rows_per_chunk = settings.rows_per_chunk,
               .ssd_chunk = settings.ssd_chunk},
              ws, [&](std::span<const OutputRow> rows, MatView<const float> normed) {
                const std::vector<float> values = OnHost(exec, normed);
                for (size_t r = 0; r < rows.size(); ++r) {
                  Output& out = outputs[rows[r].sequence];
                  out.positions.push_back(rows[r].position);
                  const auto row = values.begin() + static_cast<int64_t>(r) * normed.cols;
                  out.rows.insert(out.rows.end(), row, row + normed.cols);
                }
              });
  for (size_t i = 0; i < texts.size(); ++i) outputs[i].state = slots.State(i);
  if (result_out != nullptr) *result_out = std::move(result);
  return outputs;
}

// `model` is on the reference backend. The definition: all rows pass all layers, but a far row's
// stream stays where a layer skims it.
Output MaskedForward(const Model& model, const std::vector<int32_t>& text, const Skim& skim) {
  const ModelConfig& config = model.config();
  const auto n = static_cast<int64_t>(text.size());
  const int64_t far = skim.Region(n).far;
  const Exec exec = ExecOn(Device::kReference);
  Workspace ws;
  ws.Reserve(exec, config.d_model, n);
  Slots slots(model, exec, 1);
  LayerRows rows{.rows = n,
                 .segments = {{0, n}},
                 .slots = {slots.sequences[0].slot},
                 .positions = {},
                 .ids = {}};
  rows.ids.assign(text.begin(), text.end());
  for (int64_t r = 0; r < n; ++r) rows.positions.push_back(static_cast<int32_t>(r));
  const LayerContext context{.exec = exec, .ssd_chunk = 16, .ws = ws};
  model.Embed(exec, text, ws.x.view());
  for (int64_t l = 0; l < model.n_layer(); ++l) {
    model.layer(l).Forward(context, rows, slots.pool.layer(l), l > 0);
    for (int64_t r = 0; !skim.full(l) && r < far; ++r) {
      std::fill_n(ws.h.view().Row(r), config.d_model, 0.0f);
    }
  }
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < config.d_model; ++c) ws.x.view().Row(r)[c] += ws.h.view().Row(r)[c];
  }
  model.FinalNorm(exec, ws.x.view());
  Output out{.positions = {}, .rows = {}, .state = slots.State(0)};
  for (int64_t r = far; r < n; ++r) {
    out.positions.push_back(static_cast<int32_t>(r));
    out.rows.insert(out.rows.end(), ws.x.view().Row(r), ws.x.view().Row(r) + config.d_model);
  }
  return out;
}

// f32 against double sums through 4 layers of about 10 rounded operations each, sums of up to 96
// terms: 4 · 10 · √96 · 6e-8, as in prefill_test.cc.
constexpr double kBound = 2.4e-5;

class SkimLaws : public ::testing::TestWithParam<Kind> {
 protected:
  bool has_horizon() const { return model_.facts().has_horizon(); }
  // Every write made: the default where there is no horizon.
  std::string AllWritten(const std::string& rest) const {
    return "skim:" + rest + (has_horizon() ? ",horizon=0" : "");
  }
  // Shares that all layers but the first can save: far rows pass a shared block.
  std::vector<int> Shares() const {
    return GetParam() == Kind::kShared ? std::vector{5, 10} : std::vector{5, 10, 20};
  }
  std::vector<int32_t> Text(int64_t length) {
    return RandomIds(length, model_.config().vocab_size, 100 + length);
  }
  Model model_ = MakeModel({.kind = GetParam(), .n_groups = 2});
  Model reference_ = MakeModel({.kind = GetParam(), .n_groups = 2}, 1, Device::kReference);
};

constexpr int64_t kLengths[] = {1, 2, 3, 5, 16, 31, 64, 65, 257};

TEST_P(SkimLaws, SkimmingNobodyIsDense) {
  for (const int64_t length : kLengths) {
    SCOPED_TRACE(length);
    const auto dense = Forward(model_, {Text(length)}, "none");
    EXPECT_EQ(Forward(model_, {Text(length)}, "skim:full=0-3,window=1"), dense);
    EXPECT_EQ(Forward(model_, {Text(length)}, "skim:full=0-1,window=257"), dense);
    EXPECT_EQ(Forward(model_, {Text(length)}, "skim:full=2,window=300"), dense);
  }
}

TEST_P(SkimLaws, EqualsAMaskedForward) {
  for (const char* roles : {"full=0-1,window=5,protect=0", "full=0,window=16", "full=0+2,window=7",
                            "full=1+3,window=20", "full=2,window=1,protect=0",
                            "full=0-2,window=16,chunk=8", "full=0-1,window=0,protect=0"}) {
    const std::string reduce = AllWritten(roles);
    const CompiledReduction reduction = Compile(reduce, model_);
    for (const int64_t length : kLengths) {
      SCOPED_TRACE(::testing::Message() << reduce << " of " << length);
      const Output skimmed = Forward(model_, {Text(length)}, reduce)[0];
      const Output masked = MaskedForward(reference_, Text(length), *reduction.skim());
      if (reduction.skim()->full(model_.n_layer() - 1)) {
        // Far rows pass the last layer too: compare the rows that both hand out.
        ASSERT_EQ(skimmed.positions.size(), static_cast<size_t>(length));
      } else {
        ASSERT_EQ(skimmed.positions, masked.positions);
      }
      const std::vector<float> tail(skimmed.rows.end() - static_cast<int64_t>(masked.rows.size()),
                                    skimmed.rows.end());
      EXPECT_LT(RelativeError(tail, masked.rows), kBound);
      EXPECT_LT(RelativeError(skimmed.state, masked.state), kBound);
    }
  }
}

TEST_P(SkimLaws, LastLayerAloneKeepsTheLastRow) {
  for (const int64_t length : kLengths) {
    SCOPED_TRACE(length);
    const Settings last{.want = WantRows::kLast};
    const Output dense = Forward(model_, {Text(length)}, "none", last)[0];
    const Output skimmed =
        Forward(model_, {Text(length)}, AllWritten("full=0-2,window=4"), last)[0];
    EXPECT_LT(RelativeError(skimmed.rows, dense.rows), kBound);
    EXPECT_LT(RelativeError(skimmed.state, dense.state), kBound);
  }
}

TEST_P(SkimLaws, SameBitsForAnyBatchThreadsAndRows) {
  for (const std::string& reduce :
       {std::string("skim:full=0-1,window=9"), std::string("skim:full=1+3,window=5,chunk=8"),
        StrCat("skim@", Shares().back(), "%")}) {
    SCOPED_TRACE(reduce);
    std::vector<std::vector<int32_t>> texts;
    std::vector<Output> alone;
    for (const int64_t length : kLengths) {
      texts.push_back(Text(length));
      alone.push_back(Forward(model_, {texts.back()}, reduce)[0]);
    }
    for (const int64_t rows : {16, 80, 1000}) {
      for (const int threads : {1, 3}) {
        EXPECT_EQ(Forward(model_, texts, reduce, {.rows_per_chunk = rows, .threads = threads}),
                  alone);
      }
    }
    std::reverse(texts.begin(), texts.end());
    std::reverse(alone.begin(), alone.end());
    EXPECT_EQ(Forward(model_, texts, reduce), alone);
  }
}

// The exact skim of the last layer, which is always on.
TEST_P(SkimLaws, UnwantedRowsLeaveTheOthersAlone) {
  for (const char* reduce : {"none", "utrc:keep=0.8,sites=1", "skim:full=0-1,window=9"}) {
    for (const int64_t length : kLengths) {
      SCOPED_TRACE(::testing::Message() << reduce << " of " << length);
      const Output all = Forward(model_, {Text(length)}, reduce)[0];
      const Output last = Forward(model_, {Text(length)}, reduce, {.want = WantRows::kLast})[0];
      const int64_t d = model_.config().d_model;
      EXPECT_EQ(last.rows, std::vector<float>(all.rows.end() - d, all.rows.end()));
      EXPECT_EQ(last.state, all.state);
      const Output none = Forward(model_, {Text(length)}, reduce, {.want = WantRows::kNone})[0];
      EXPECT_TRUE(none.rows.empty());
      EXPECT_EQ(none.state, all.state);
    }
  }
}

TEST_P(SkimLaws, RealisedLiesBetweenItsBounds) {
  const std::string reduce = "skim:full=0-1,window=16,chunk=16";
  const CompiledReduction reduction = Compile(reduce, model_);
  PrefillResult result;
  Forward(model_, {Text(257)}, reduce, {}, &result);
  const Skim::Bounds bounds = reduction.skim()->Realised(257);
  EXPECT_GE(result.realised, bounds.all_pairs - 1e-12);
  EXPECT_LE(result.realised, bounds.no_pairs + 1e-12);
  if (has_horizon()) {
    Forward(model_, {Text(257)}, "skim:full=0-1,window=16,chunk=16,horizon=0", {}, &result);
  }
  EXPECT_NEAR(result.realised, bounds.all_pairs, 1e-12);
}

TEST_P(SkimLaws, WantedReductionIsReachedWithAllPairs) {
  for (const int percent : Shares()) {
    const double wanted = percent / 100.0;
    const CompiledReduction reduction = Compile(StrCat("skim@", percent, "%"), model_);
    for (const int64_t length : {65, 257, 2048}) {
      const Skim::Bounds bounds = reduction.skim()->Realised(length);
      // The last d_conv tokens stay near, or the last one; a short context that is far but for them
      // gets less.
      const int64_t near = std::max<int64_t>(1, model_.facts().d_conv());
      const bool all_far = reduction.skim()->Region(length).far == length - near;
      if (!all_far || length > 65) {
        EXPECT_GE(bounds.all_pairs, wanted - 1e-12) << length;
      }
      EXPECT_LT(bounds.all_pairs, wanted + 1.0 / static_cast<double>(length)) << length;
    }
  }
  EXPECT_THROW(Compile("skim@90%", model_), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SkimLaws, ::testing::ValuesIn(testing::kKinds),
                         [](const auto& info) { return testing::KindName(info.param); });

// Mamba-2 of the sizes that a GPU skims in all layers of a group at once, in 16 bits.
//
// Bound: with u = 2⁻⁸ for bf16 and 2⁻¹¹ for f16, a layer's rows and states differ by at most 13 u
// of themselves from those without rounding (tests/ops/far_layers_test.cc, mamba2_mixer_test.cc),
// and the layers' differences add up in the stream: 4 · 13 u.
class SkimIn16Bits : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    if (GetParam() == Precision::kF16 && DeviceUnderTest() == Device::kCpu) {
      GTEST_SKIP() << "the device cpu has no f16";
    }
  }
  static Model Make(Device device, Precision precision) {
    testing::RandomTensors tensors(1, DType::kF32);
    ModelConfig config = testing::MakeConfig({});
    config.d_model = 64;
    for (LayerConfig& layer : config.layers) {
      auto& mamba2 = std::get<Mamba2Config>(layer);
      mamba2.d_inner = mamba2.gated_norm_group = 128;
      mamba2.n_heads = 2;
      mamba2.head_dim = 64;
      mamba2.d_state = 128;
    }
    return Model(ExecOn(device, 1, precision), config, tensors);
  }
  Settings InChunks(int64_t rows) const {
    return {.rows_per_chunk = rows, .precision = GetParam(), .ssd_chunk = 64};
  }
  static std::vector<int32_t> Text(int64_t length) { return RandomIds(length, 97, 100 + length); }
  double bound() const { return 4 * 13 * (GetParam() == Precision::kBF16 ? 0x1p-8 : 0x1p-11); }
};

TEST_P(SkimIn16Bits, EqualsAMaskedForward) {
  const Model model = Make(DeviceUnderTest(), GetParam());
  const Model reference = Make(Device::kReference, Precision::kF32);
  for (const char* reduce :
       {"skim:full=0-1,window=5,protect=0,horizon=0", "skim:full=0+2,window=16,horizon=0",
        "skim:full=1+3,window=20,chunk=64,horizon=0"}) {
    const CompiledReduction reduction = Compile(reduce, model);
    for (const int64_t length : {5, 31, 65, 257}) {
      SCOPED_TRACE(::testing::Message() << reduce << " of " << length);
      const Output skimmed = Forward(model, {Text(length)}, reduce, InChunks(1024))[0];
      const Output masked = MaskedForward(reference, Text(length), *reduction.skim());
      const std::vector<float> tail(skimmed.rows.end() - static_cast<int64_t>(masked.rows.size()),
                                    skimmed.rows.end());
      EXPECT_LT(RelativeError(tail, masked.rows), bound());
      EXPECT_LT(RelativeError(skimmed.state, masked.state), bound());
    }
  }
}

TEST_P(SkimIn16Bits, SameBitsForAnyBatchAndRows) {
  const Model model = Make(DeviceUnderTest(), GetParam());
  for (const char* reduce :
       {"skim:full=0-1,window=9", "skim:full=1+3,window=5,chunk=8,mass=0.1", "skim@20%"}) {
    SCOPED_TRACE(reduce);
    std::vector<std::vector<int32_t>> texts;
    std::vector<Output> alone;
    for (const int64_t length : kLengths) {
      texts.push_back(Text(length));
      alone.push_back(Forward(model, {texts.back()}, reduce, InChunks(1024))[0]);
    }
    for (const int64_t rows : {64, 1024}) {
      EXPECT_EQ(Forward(model, texts, reduce, InChunks(rows)), alone);
    }
  }
}

// What is counted is what the masks say.
TEST_P(SkimIn16Bits, RealisedFollowsTheMasks) {
  const Model model = Make(DeviceUnderTest(), GetParam());
  const std::string reduce = "skim:full=0-1,window=16,chunk=16";
  PrefillResult result;
  Forward(model, {Text(257)}, reduce, InChunks(1024), &result);
  const FarReport& far = result.far[0];
  double work = 0;
  for (int64_t l = 2; l < model.n_layer(); ++l) {
    const LayerWork layer = model.layer(l).work();
    const size_t chunks = CountChunks(far.region);
    ASSERT_EQ(far.needed[l].size(), 2 * chunks);
    std::vector<uint8_t> any(chunks);
    work += layer.far * static_cast<double>(far.region.far);
    for (const size_t h : {0, 1}) {
      const auto head = std::span(far.needed[l]).subspan(h * chunks, chunks);
      work += layer.far_head * static_cast<double>(CountNeededRows(far.region, head));
      for (size_t c = 0; c < head.size(); ++c) any[c] |= head[c];
    }
    work += layer.far_group * static_cast<double>(CountNeededRows(far.region, any));
  }
  EXPECT_NEAR(far.work, work, 1e-9 * work);
}

INSTANTIATE_TEST_SUITE_P(Precisions, SkimIn16Bits,
                         ::testing::Values(Precision::kBF16, Precision::kF16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kBF16 ? "bf16" : "f16");
                         });

TEST(Skim, RefusesAHorizonForMamba1) {
  const Model model = MakeModel({.kind = Kind::kMamba1});
  for (const char* reduce : {"skim:horizon=0.01", "skim:mass=0.1", "skim@20%:mass=0.1"}) {
    EXPECT_THROW(Compile(reduce, model), Error) << reduce;
  }
}

TEST(Skim, RefusesContradictions) {
  const Model model = MakeModel({});
  for (const char* reduce :
       {"skim:horizon=0.01,mass=0.1", "skim@20%:full=0-1", "skim@20%:window=5", "skim:full=4",
        "skim:full=0+0", "skim:window=-1", "skim:horizon=2", "skim:mass=nan", "skim:depth=3"}) {
    EXPECT_THROW(Compile(reduce, model), Error) << reduce;
  }
}

}  // namespace
}  // namespace pith
