// FarLayers against the single operators on the reference backend.
//
// Bound: with u = 2⁻⁸ for bf16 and 2⁻¹¹ for f16, the normalised rows, in_proj's weights, their
// product with the norm's weight, in_proj's outputs, B, and x with its weight are rounded to 16
// bits, each by at most u of itself, at random: the relative distance of all values of a state
// together stays below 6 u. Δ is made of the first three, so that it errs by 3 u of itself; with T
// the exponent of a weight, the weight errs by 3 u (1 + |T|) of itself. Over what a head writes, T
// has about the density exp(T), and the root of the mean of (1 + |T|)² is √5: together
// (6 + 3 √5) u ≤ 13 u. The state from before has decayed by exp(T) with the T of all rows, which
// errs by 3 u |T| of itself, but for what underflows. The convolution's state holds in_proj's
// outputs: 4 u.
#include "ops/far_layers.h"

#include <algorithm>
#include <string>

#include "ops/far_weights.h"
#include "ops/far_write.h"
#include "ops/kernels.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

constexpr int64_t kHeads = 4, kHead = 64, kState = 128;

struct Case {
  int64_t far = 1, chunk = 64, groups = 1, d_model = 128, layers = 3;
  float a_low = -4, a_high = -0.5f;
  bool constant_dt = false;  // Δ follows from its bias alone
};

// The layers' weights, the rows, and the states that they find.
struct Model {
  Model(const Exec& exec, const Case& c) : exec(exec), c(c) {
    Random random(static_cast<uint32_t>(c.far * 7 + c.groups));
    stream = random.Vector(c.far * c.d_model);
    for (int64_t l = 0; l < c.layers; ++l) {
      Weights w;
      const float spread = 1.7f / std::sqrt(static_cast<float>(c.d_model));
      w.norm = random.Vector(c.d_model, 0.5f, 1.5f);
      w.in = random.Vector((shape().channels() + kHeads) * c.d_model, -spread, spread);
      if (c.constant_dt) std::fill(w.in.end() - kHeads * c.d_model, w.in.end(), 0.0f);
      w.conv_weight = random.Vector(shape().channels() * 4, -0.5f, 0.5f);
      w.conv_bias = random.Vector(shape().channels(), -0.1f, 0.1f);
      w.dt_bias = random.Vector(kHeads, -5, -1);
      w.a = random.Vector(kHeads, c.a_low, c.a_high);
      w.conv_state = random.Vector(3 * shape().channels());
      w.ssm_state = random.Vector(kHeads * kState * kHead);
      w.in_proj = Prepare(exec, w.in, shape().channels() + kHeads, c.d_model);
      weights.push_back(std::move(w));
    }
  }

  FarShape shape() const {
    return {.d_model = c.d_model,
            .n_heads = kHeads,
            .head_dim = kHead,
            .n_groups = c.groups,
            .d_state = kState};
  }
  FarRegion region() const { return {.far = c.far, .chunk = c.chunk}; }
  int64_t masks() const { return kHeads * CountChunks(region()); }
  MatView<const float> rows() const { return {stream.data(), c.far, c.d_model}; }

  std::vector<FarLayer> Layers() {
    std::vector<FarLayer> layers;
    for (Weights& w : weights) {
      layers.push_back({.norm_weight = Vec(w.norm),
                        .w = w.in_proj.view(),
                        .bias = {},
                        .conv_weight = Vec(w.conv_weight),
                        .conv_bias = Vec(w.conv_bias),
                        .dt_bias = Vec(w.dt_bias),
                        .a = Vec(w.a),
                        .conv_states = w.conv_state.data(),
                        .ssm_states = w.ssm_state.data()});
    }
    return layers;
  }
  FarText Text() const { return {.region = region(), .stream = rows()}; }
  FarLayersArgs Args(std::span<const FarLayer> layers, const Horizon& horizon,
                     std::span<const FarText> texts) const {
    return {.shape = shape(), .horizon = horizon, .layers = layers, .texts = texts, .needed = {}};
  }

  struct Weights {
    Shared<float> norm, in, conv_weight, conv_bias, dt_bias, a, conv_state, ssm_state;
    Weight in_proj;
  };
  Exec exec;
  Case c;
  Shared<float> stream;
  std::vector<Weights> weights;
};

// The masks, text after text.
std::vector<uint8_t> Write(const Exec& exec, FarLayersArgs args) {
  int64_t masks = 0;
  for (const FarText& text : args.texts) masks += args.CountMasks(text);
  Shared<uint8_t> needed(masks, 9);
  args.needed = {needed.data(), masks};
  FarLayers(exec, args);
  exec.backend->Synchronize(exec.queue);
  return {needed.begin(), needed.end()};
}

// The masks of all layers.
std::vector<uint8_t> Together(Model& model, const Horizon& horizon) {
  const FarText text = model.Text();
  const std::vector<FarLayer> layers = model.Layers();
  return Write(model.exec, model.Args(layers, horizon, {&text, 1}));
}

struct Parted {
  std::vector<uint8_t> chosen;
  Shared<float> decay;  // [kHeads]
};

// Layer l by the single operators: what they choose, while they write what `needed` says.
Parted Parts(Model& model, size_t l, const Horizon& horizon, const std::vector<uint8_t>& needed) {
  const Exec& exec = model.exec;
  const FarLayer layer = model.Layers()[l];
  const FarShape shape = model.shape();
  const int64_t far = model.c.far, chunks = CountChunks(model.region());
  Strided normed(far, shape.d_model), dt(far, kHeads), weight(kHeads, far),
      b(far, shape.n_groups * kState);
  Shared<float> decay(kHeads);
  AddNorm(exec, {.x = model.rows(),
                 .add = {},
                 .sum = {},
                 .weight = layer.norm_weight,
                 .bias = {},
                 .layer_norm = false,
                 .eps = shape.eps,
                 .out = normed.view()});
  Linear(exec, normed.view(), layer.w.Rows(shape.channels(), kHeads), {}, dt.view());
  std::vector<double> chunk_decay(model.masks()), chunk_mass(model.masks());
  FarWeights(exec, {.region = model.region(),
                    .dt = dt.view(),
                    .dt_bias = layer.dt_bias,
                    .a = layer.a,
                    .weight = weight.view(),
                    .decay = {decay.data(), kHeads},
                    .chunk_decay = chunk_decay,
                    .chunk_mass = chunk_mass});
  std::vector<uint8_t> chosen;
  for (int64_t h = 0; h < kHeads; ++h) {
    const auto head = NeededChunks(horizon, std::span(chunk_decay).subspan(h * chunks, chunks),
                                   std::span(chunk_mass).subspan(h * chunks, chunks));
    chosen.insert(chosen.end(), head.begin(), head.end());
  }
  FarWrite(exec, {.region = model.region(),
                  .n_heads = kHeads,
                  .head_dim = kHead,
                  .n_groups = shape.n_groups,
                  .d_state = kState,
                  .d_conv = 4,
                  .rows = normed.view(),
                  .w = layer.w.Rows(0, shape.channels()),
                  .bias = {},
                  .conv_weight = layer.conv_weight,
                  .conv_bias = layer.conv_bias,
                  .weight = weight.view(),
                  .decay = {decay.data(), kHeads},
                  .needed = needed,
                  .b = b.view(),
                  .conv_state = layer.conv_states,
                  .ssm_state = layer.ssm_states});
  return {chosen, decay};
}

double Size(std::span<const float> v) {
  double squares = 0;
  for (const float f : v) squares += static_cast<double>(f) * f;
  return std::sqrt(squares);
}

double Distance(std::span<const float> a, std::span<const float> b) {
  Shared<float> difference;
  for (size_t i = 0; i < a.size(); ++i) difference.push_back(a[i] - b[i]);
  return Size(difference);
}

const Horizon kByThreshold{.threshold = 0.05};
const Horizon kByMass{.mass = 0.3};
const Horizon kAll{.threshold = 0};
const Horizon kNone{.threshold = 2};  // which no decay reaches
const Horizon kRules[] = {kByThreshold, kByMass, kAll, kNone};

class FarLayersTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    exec_ = Tested();
    exec_.precision = GetParam();
    if (KernelsFor(exec_).far_layers == nullptr) {
      GTEST_SKIP() << testing::DeviceName() << " has no kernel for far rows of whole layers";
    }
  }
  double u() const { return GetParam() == Precision::kBF16 ? 0x1p-8 : 0x1p-11; }

  void ExpectClose(const Case& c, const Horizon& horizon) {
    const Model before(exec_, c);
    Model model(exec_, c), reference(kReference, c);
    const std::vector<uint8_t> needed = Together(model, horizon);
    const bool same_choice =
        c.constant_dt || (!horizon.mass && (horizon.threshold == 0 || horizon.threshold > 1));
    for (size_t l = 0; l < model.weights.size(); ++l) {
      SCOPED_TRACE(StrCat("layer ", l));
      const auto begin = needed.begin() + static_cast<int64_t>(l) * model.masks();
      const std::vector<uint8_t> masks(begin, begin + model.masks());
      const Parted parted = Parts(reference, l, horizon, masks);
      if (same_choice) {
        EXPECT_EQ(masks, parted.chosen);
      }
      const auto& conv = reference.weights[l].conv_state;
      EXPECT_LE(Distance(model.weights[l].conv_state, conv), 4 * u() * Size(conv));
      for (size_t h = 0; h < kHeads; ++h) {
        const auto head = [&](const Model& m) {
          return std::span(m.weights[l].ssm_state).subspan(h * kState * kHead, kState * kHead);
        };
        const double decay = parted.decay[h];
        const double decayed = decay > 0 ? -std::log(decay) * decay : 0;
        EXPECT_LE(
            Distance(head(model), head(reference)),
            13 * u() * Size(head(reference)) + (3 * u() * decayed + 0x1p-126) * Size(head(before)))
            << "head " << h;
      }
    }
  }

  Exec exec_;
};

std::string Describe(const Case& c, const Horizon& horizon) {
  return StrCat("far ", c.far, ", chunk ", c.chunk, ", groups ", c.groups, ", d_model ", c.d_model,
                ", threshold ", horizon.threshold, ", mass ", horizon.mass.value_or(-1));
}

// Regions that end within the convolution's window, tiles that go on and that end anywhere, and a
// d_model that no stage of a product divides.
TEST_P(FarLayersTest, EqualsItsParts) {
  for (const int64_t far : {1, 2, 3, 5, 64, 129, 200, 413}) {
    for (const int64_t groups : {1, 2}) {
      for (const Horizon& horizon : kRules) {
        const Case c{.far = far,
                     .chunk = far % 2 == 0 ? 16 : 64,
                     .groups = groups,
                     .d_model = groups == 1 ? 128 : 200};
        SCOPED_TRACE(Describe(c, horizon));
        ExpectClose(c, horizon);
      }
    }
  }
}

// Where Δ is the same number on both sides, so is the choice; and heads that hardly decay need
// chunks that lie apart.
TEST_P(FarLayersTest, ChoosesAsTheRulesSay) {
  for (const int64_t far : {7, 64, 300, 1030}) {
    for (const int64_t chunk : {1, 16, 64}) {
      for (const Horizon& horizon : kRules) {
        for (const float a : {-8.0f, -0.3f, -0.01f}) {
          const Case c{.far = far,
                       .chunk = chunk,
                       .d_model = 64,
                       .layers = 2,
                       .a_low = a,
                       .a_high = a / 2,
                       .constant_dt = true};
          SCOPED_TRACE(Describe(c, horizon));
          ExpectClose(c, horizon);
        }
      }
    }
  }
}

TEST_P(FarLayersTest, ChunksThatLieApart) {
  const Case c{
      .far = 900, .chunk = 32, .d_model = 64, .layers = 2, .a_low = -1e-3f, .a_high = -1e-4f};
  Model model(exec_, c);
  const std::vector<uint8_t> needed = Together(model, kByMass);
  const int64_t chunks = CountChunks(model.region());
  int64_t gaps = 0;
  for (size_t i = 1; i < needed.size(); ++i) {
    gaps += i % chunks != 0 && needed[i - 1] == 1 && needed[i] == 0;
  }
  EXPECT_GT(gaps, 8);
  ExpectClose(c, kByMass);
}

// Where nothing is left of a write long before the region's begin.
TEST_P(FarLayersTest, WritesThatVanish) {
  for (const Horizon& horizon : kRules) {
    const Case c{
        .far = 2500, .chunk = 64, .d_model = 64, .layers = 1, .a_low = -400, .a_high = -300};
    SCOPED_TRACE(Describe(c, horizon));
    ExpectClose(c, horizon);
  }
}

TEST_P(FarLayersTest, OtherLayersChangeNoBit) {
  const Case c{.far = 333, .chunk = 16, .groups = 2};
  for (const Horizon& horizon : kRules) {
    Model all(exec_, c), alone(exec_, c);
    const std::vector<uint8_t> needed = Together(all, horizon);
    const std::vector<FarLayer> layers = alone.Layers();
    std::vector<uint8_t> joined;
    for (const size_t l : {0, 1, 2}) {
      const FarText text = alone.Text();
      const std::vector<uint8_t> part =
          Write(exec_, alone.Args(std::span(layers).subspan(l, 1), horizon, {&text, 1}));
      joined.insert(joined.end(), part.begin(), part.end());
    }
    EXPECT_EQ(joined, needed);
    for (size_t l = 0; l < all.weights.size(); ++l) {
      ExpectSameBits(all.weights[l].ssm_state, alone.weights[l].ssm_state);
      ExpectSameBits(all.weights[l].conv_state, alone.weights[l].conv_state);
    }
  }
}

// Texts of other lengths and other chunks, whose states lie in any slots; the last of them more
// rows than are written at once.
TEST_P(FarLayersTest, OtherTextsChangeNoBit) {
  const int64_t kFars[] = {333, 1, 65, 700, 66'000}, kChunks[] = {16, 64, 64, 33, 64};
  const int32_t kSlots[] = {3, 0, 4, 1, 2};
  constexpr int64_t kTexts = std::size(kFars);
  const Case c{.far = 66'000, .groups = 2, .d_model = 64, .layers = 2};
  for (const Horizon& horizon : {kByThreshold, kByMass}) {
    Model all(exec_, c);
    // Room for the states of all slots, which differ.
    const int64_t conv = 3 * all.shape().channels(), ssm = kHeads * kState * kHead;
    std::vector<Shared<float>> states;
    std::vector<FarLayer> layers = all.Layers();
    for (int64_t l = 0; l < c.layers; ++l) {
      Random random(static_cast<uint32_t>(l));
      states.push_back(random.Vector(kTexts * (conv + ssm)));
    }
    const auto point = [&](std::vector<Shared<float>>& to) {
      for (int64_t l = 0; l < c.layers; ++l) {
        layers[l].conv_states = to[l].data();
        layers[l].ssm_states = to[l].data() + conv;
        layers[l].stride = conv + ssm;
      }
    };
    std::vector<FarText> texts;
    for (int64_t t = 0; t < kTexts; ++t) {
      texts.push_back({.region = {.far = kFars[t], .chunk = kChunks[t]},
                       .stream = all.rows().Rows(c.far - kFars[t], kFars[t]),
                       .slot = kSlots[t]});
    }
    std::vector<Shared<float>> apart = states;
    point(states);
    const std::vector<uint8_t> needed = Write(exec_, all.Args(layers, horizon, texts));
    point(apart);
    std::vector<uint8_t> joined;
    for (const FarText& text : texts) {
      const std::vector<uint8_t> part = Write(exec_, all.Args(layers, horizon, {&text, 1}));
      joined.insert(joined.end(), part.begin(), part.end());
    }
    EXPECT_EQ(joined, needed);
    for (int64_t l = 0; l < c.layers; ++l) ExpectSameBits(states[l], apart[l]);
  }
}

TEST_P(FarLayersTest, OtherShapesAreNotTaken) {
  Model model(exec_, {.far = 4096, .chunk = 1});
  std::vector<FarLayer> layers = model.Layers();
  const FarText text = model.Text();
  const FarLayersArgs args = model.Args(layers, kByThreshold, {&text, 1});
  EXPECT_TRUE(TakesFarLayers(exec_, args));
  const auto refuses = [&](auto change) {
    FarLayersArgs other = args;
    change(other);
    EXPECT_FALSE(TakesFarLayers(exec_, other));
  };
  refuses([](FarLayersArgs& a) { a.shape.d_state = 64; });
  refuses([](FarLayersArgs& a) { a.shape.head_dim = 32; });
  refuses([](FarLayersArgs& a) { a.shape.d_conv = 3; });
  refuses([](FarLayersArgs& a) { a.shape.d_model = 100; });
  refuses([](FarLayersArgs& a) { a.shape.layer_norm = true; });
  refuses([](FarLayersArgs& a) { a.horizon = kByMass; });  // 4096 chunks
  layers[1].bias = Vec(model.weights[1].in);
  EXPECT_FALSE(TakesFarLayers(exec_, args));
  Exec f32 = exec_;
  f32.precision = Precision::kF32;
  EXPECT_FALSE(TakesFarLayers(f32, args));
}

INSTANTIATE_TEST_SUITE_P(Precisions, FarLayersTest,
                         ::testing::Values(Precision::kBF16, Precision::kF16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kBF16 ? "bf16" : "f16");
                         });

}  // namespace
}  // namespace pith::ops_testing
