// FarWrite against the reference, and, with everything needed, against what the layer itself leaves
// behind: Linear, CausalConv1d and Ssd over the same rows.
//
// Bound, with u = 2⁻²⁴: rows are at most 1 and weights at most 1 / d_model, so that a projection is
// at most 1 and errs by (d_model + 1) u. The convolution's weights and bias sum to at most 1.25:
// its sum errs by that and (d_conv + 1) · 1.25 u; SiLU has slope ≤ 1.1 and errs by 15 u itself. So
// x and B, at most 1, err by e. A written term w · B · x errs by (2 e + e² + 3 u) w, and a sum of
// `rows` terms, the decayed state among them, by (rows + 3) u times the sum of magnitudes.
#include "ops/far_write.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "ops/far_weights.h"
#include "ops/linear.h"
#include "ops/ssd.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

struct Shape {
  int64_t far, chunk, heads, head_dim, groups, d_state, d_conv, d_model;
  int64_t channels() const { return heads * head_dim + 2 * groups * d_state; }
};

// A layer's weights, its far rows and the state that it finds.
struct Layer {
  Shape shape;
  Random random;
  Strided rows, dt;
  Shared<float> w, bias, conv_weight, conv_bias, conv_state, ssm_state, dt_bias, a;
  Strided weight;
  Shared<float> decay;
  std::vector<double> chunk_decay, chunk_mass;

  Layer(const Shape& s, uint32_t seed)
      : shape(s),
        random(seed),
        rows(random, s.far, s.d_model),
        dt(random, s.far, s.heads, -4, 1),
        w(random.Vector(s.channels() * s.d_model, -0.5f / s.d_model, 0.5f / s.d_model)),
        bias(random.Vector(s.channels(), -0.5f, 0.5f)),
        conv_weight(random.Vector(s.channels() * s.d_conv, -1.0f / s.d_conv, 1.0f / s.d_conv)),
        conv_bias(random.Vector(s.channels(), -0.25f, 0.25f)),
        conv_state(random.Vector((s.d_conv - 1) * s.channels())),
        ssm_state(random.Vector(s.heads * s.d_state * s.head_dim)),
        dt_bias(random.Vector(s.heads)),
        a(random.Vector(s.heads, -1, -0.01f)),
        weight(s.heads, s.far),
        decay(s.heads),
        chunk_decay(s.heads * CountChunks(region())),
        chunk_mass(chunk_decay.size()) {
    FarWeights(kReference, {.region = region(),
                            .dt = dt.view(),
                            .dt_bias = {dt_bias.data(), s.heads},
                            .a = {a.data(), s.heads},
                            .weight = weight.view(),
                            .decay = {decay.data(), s.heads},
                            .chunk_decay = chunk_decay,
                            .chunk_mass = chunk_mass});
  }

  FarRegion region() const { return {.far = shape.far, .chunk = shape.chunk}; }
  Weight InProj(const Exec& exec) const {
    return Prepare(exec, w, shape.channels(), shape.d_model);
  }

  struct States {
    Shared<float> conv, ssm;
  };
  States Write(const Exec& exec, const std::vector<uint8_t>& needed) const {
    States states{conv_state, ssm_state};
    const Weight in_proj = InProj(exec);
    Strided b(shape.far, shape.groups * shape.d_state);
    FarWrite(exec, {.region = region(),
                    .n_heads = shape.heads,
                    .head_dim = shape.head_dim,
                    .n_groups = shape.groups,
                    .d_state = shape.d_state,
                    .d_conv = shape.d_conv,
                    .rows = rows.view(),
                    .w = in_proj.view(),
                    .bias = Vec(bias),
                    .conv_weight = Vec(conv_weight),
                    .conv_bias = Vec(conv_bias),
                    .weight = weight.view(),
                    .decay = {decay.data(), shape.heads},
                    .needed = needed,
                    .b = b.view(),
                    .conv_state = states.conv.data(),
                    .ssm_state = states.ssm.data()});
    b.CheckPadding();
    return states;
  }

  // Of one head's cells, as above; `needed`: its chunks.
  double Bound(int64_t h, std::span<const uint8_t> needed) const {
    const double u = kRounding;
    const double e = 1.1 * ((shape.d_model + 1) * u + (shape.d_conv + 1) * 1.25 * u) + 15 * u;
    double written = 0;
    for (const RowRun& run : NeededRuns(region(), needed)) {
      for (int64_t t = run.begin; t < run.end; ++t) written += weight.At(h, t);
    }
    return (2 * e + e * e + 3 * u) * written + (shape.far + 3) * u * (written + 1);
  }
};

void ExpectClose(const Layer& layer, const Layer::States& actual, const Layer::States& expected,
                 const std::vector<uint8_t>& needed) {
  const int64_t chunks = CountChunks(layer.region());
  const int64_t size = layer.shape.d_state * layer.shape.head_dim;
  for (int64_t h = 0; h < layer.shape.heads; ++h) {
    const double bound = layer.Bound(h, std::span(needed).subspan(h * chunks, chunks));
    for (int64_t i = h * size; i < (h + 1) * size; ++i) {
      ASSERT_NEAR(actual.ssm[i], expected.ssm[i], bound) << "head " << h;
    }
  }
  for (size_t i = 0; i < actual.conv.size(); ++i) {
    ASSERT_NEAR(actual.conv[i], expected.conv[i], (layer.shape.d_model + 2) * kRounding);
  }
}

std::vector<uint8_t> Mask(const Layer& layer, uint32_t seed, float share) {
  Random random(seed);
  std::vector<uint8_t> needed(layer.chunk_mass.size());
  for (uint8_t& n : needed) n = random.Uniform(0, 1) < share ? 1 : 0;
  return needed;
}

class FarWriteTest : public ::testing::Test {};

// far, chunk, heads, head_dim, groups, d_state, d_conv, d_model: short regions that end within the
// convolution's window, one block of rows and several, and the tails of every vector width.
constexpr Shape kShapes[] = {{1, 4, 1, 1, 1, 1, 4, 5},       {2, 4, 3, 15, 3, 5, 4, 9},
                             {3, 1, 2, 16, 1, 6, 4, 32},     {20, 8, 4, 17, 2, 7, 2, 33},
                             {65, 16, 2, 63, 1, 16, 8, 40},  {150, 64, 6, 64, 3, 24, 4, 48},
                             {40, 16, 1, 80, 1, 128, 1, 20}, {1100, 64, 2, 8, 1, 12, 4, 16}};

TEST_F(FarWriteTest, AgreesWithReference) {
  for (const Shape& shape : kShapes) {
    for (const float share : {0.0f, 0.5f, 1.1f}) {
      const auto seed = static_cast<uint32_t>(shape.far * 61 + shape.head_dim);
      SCOPED_TRACE(StrCat("seed ", seed, ", far ", shape.far, ", share ", share));
      const Layer layer(shape, seed);
      const std::vector<uint8_t> needed = Mask(layer, seed, share);
      const Layer::States expected = layer.Write(kReference, needed);
      const Layer::States actual = layer.Write(Tested(1), needed);
      const Layer::States threads = layer.Write(Tested(3), needed);
      ExpectSameBits(threads.ssm, actual.ssm);
      ExpectSameBits(threads.conv, actual.conv);
      ExpectClose(layer, actual, expected, needed);
    }
  }
}

TEST(FarWrite, WithAllNeededEqualsTheStatesOfTheLayer) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(StrCat("far ", shape.far));
    const Layer layer(shape, 3);
    const int64_t d_inner = shape.heads * shape.head_dim, bc = shape.groups * shape.d_state;
    Layer::States expected{layer.conv_state, layer.ssm_state};
    Strided in(shape.far, shape.channels()), conv(shape.far, shape.channels());
    Strided y(shape.far, d_inner);
    const Segment segment{0, shape.far};
    const int32_t slot = 0;
    const Shared<float> d(shape.heads, 0.0f);
    Linear(kReference, layer.rows.view(), layer.InProj(kReference).view(), Vec(layer.bias),
           in.view());
    CausalConv1d(kReference, {.x = in.view(),
                              .weight = Vec(layer.conv_weight),
                              .bias = Vec(layer.conv_bias),
                              .d_conv = shape.d_conv,
                              .segments = {&segment, 1},
                              .states = {expected.conv.data(), 0, {&slot, 1}},
                              .out = conv.view()});
    Ssd(kReference, {.n_heads = shape.heads,
                     .head_dim = shape.head_dim,
                     .n_groups = shape.groups,
                     .d_state = shape.d_state,
                     .x = conv.view().Cols(0, d_inner),
                     .b = conv.view().Cols(d_inner, bc),
                     .c = conv.view().Cols(d_inner + bc, bc),
                     .dt = layer.dt.view(),
                     .dt_bias = Vec(layer.dt_bias),
                     .dt_max = std::numeric_limits<float>::infinity(),
                     .a = Vec(layer.a),
                     .d = Vec(d),
                     .segments = {&segment, 1},
                     .states = {expected.ssm.data(), 0, {&slot, 1}},
                     .y = y.view()});
    const std::vector<uint8_t> needed(layer.chunk_mass.size(), 1);
    for (const Exec& exec : ReferenceAndTested({2})) {
      ExpectClose(layer, layer.Write(exec, needed), expected, needed);
    }
  }
}

TEST(FarWrite, ACallersMistakeIsFound) {
  const Layer layer({9, 4, 2, 3, 1, 2, 4, 5}, 1);
  const std::vector<uint8_t> few(3, 1);
  EXPECT_THROW(layer.Write(kReference, few), Error);
}

TEST(FarRegion, ChunksAreCountedFromTheEnd) {
  const FarRegion region{.far = 150, .chunk = 64};
  EXPECT_EQ(CountChunks(region), 3);
  EXPECT_EQ(ChunkRows(region, 0), (RowRun{0, 22}));
  EXPECT_EQ(ChunkRows(region, 1), (RowRun{22, 86}));
  EXPECT_EQ(ChunkRows(region, 2), (RowRun{86, 150}));
  EXPECT_EQ(CountChunks({.far = 0, .chunk = 64}), 0);
  EXPECT_EQ(CountChunks({.far = 64, .chunk = 64}), 1);
}

TEST(FarRegion, RunsJoinNeighbours) {
  const FarRegion region{.far = 35, .chunk = 10};
  const std::vector<uint8_t> needed = {1, 1, 0, 1};
  EXPECT_EQ(NeededRuns(region, needed), (std::vector<RowRun>{{0, 15}, {25, 35}}));
  EXPECT_EQ(CountNeededRows(region, needed), 25);
  const std::vector<uint8_t> heads = {1, 0, 0, 0, 0, 0, 1, 0};
  EXPECT_EQ(NeededByAny(heads, 2), (std::vector<uint8_t>{1, 0, 1, 0}));
}

}  // namespace
}  // namespace pith::ops_testing
