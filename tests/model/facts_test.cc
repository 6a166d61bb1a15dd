// The count of work against the tables of the method's specification, and what a far row leaves out
// against the sum of exactly that. Where a table prints so many decimals, half a unit of its last
// place is the tolerance.
#include "model/facts.h"
#include "model/layers/work.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::Mamba1Layer;
using test::Mamba1Model;
using test::Mamba2Layer;
using test::Mamba2Model;

TEST(Facts, BlockAndHeadOfPublishedModels) {
  struct Row {
    ModelConfig config;
    LayerFlops flops;
    bool mamba2;
    double block, in_proj, out_proj, ssm, head;  // MFLOP per token
  };
  const Row rows[] = {
      {Mamba2Model(2560, 64), FlopsOf(Mamba2Layer(2560), 2560), true, 85.85, 54.15, 26.21, 5.37,
       257.5},
      {Mamba2Model(2048, 48), FlopsOf(Mamba2Layer(2048), 2048), true, 56.05, 34.87, 16.78, 4.31,
       206.0},
      {Mamba1Model(2560, 64), FlopsOf(Mamba1Layer(2560), 2560), false, 82.95, 52.43, 26.21, 0.59,
       257.4},
      {Mamba1Model(2048, 48), FlopsOf(Mamba1Layer(2048), 2048), false, 53.25, 33.55, 16.78, 0.47,
       205.9},
  };
  for (const Row& row : rows) {
    const LayerFlops& block = row.flops;
    EXPECT_NEAR(block.Total() / 1e6, row.block, 0.005);
    EXPECT_NEAR(block.in_proj / 1e6, row.in_proj, 0.005);
    EXPECT_NEAR(block.out_proj / 1e6, row.out_proj, 0.005);
    // The table counts Mamba-2's step sizes with the SSM core, Mamba-1's projections apart.
    EXPECT_NEAR((block.ssm + (row.mamba2 ? block.dt : 0)) / 1e6, row.ssm, 0.005);
    EXPECT_NEAR(FactsOf(row.config).head / 1e6, row.head, 0.05);
  }
  EXPECT_NEAR(FlopsOf(Mamba1Layer(2560), 2560).dt / 1e6, 3.62, 0.005);
  EXPECT_NEAR(FlopsOf(Mamba1Layer(2048), 2048).dt / 1e6, 2.37, 0.005);
}

TEST(Facts, DescribeTheModel) {
  const ModelFacts two = FactsOf(Mamba2Model(384, 24));
  EXPECT_EQ(two.kind, "mamba2");
  EXPECT_EQ(two.n_layer(), 24);
  EXPECT_EQ(two.d_conv(), 4);
  EXPECT_TRUE(two.has_horizon());
  EXPECT_DOUBLE_EQ(two.LayersWork(), 24 * FlopsOf(Mamba2Layer(384), 384).Total());
  const ModelFacts one = FactsOf(Mamba1Model(256, 24));
  EXPECT_EQ(one.kind, "mamba1");
  EXPECT_FALSE(one.has_horizon());
}

// All heads written, a Mamba-2 row is spared: z's and C's columns of in_proj, C's convolution, all
// of the SSD but the writes into the chunk's states, the gate, out_proj, the residual add.
TEST(Facts, FarRowsOfMamba2LeaveTheReadOutAway) {
  Mamba2Config c = Mamba2Layer(384);
  c.n_groups = 2;
  const LayerFlops block = FlopsOf(c, 384);
  const double d = 384, inner = 768, heads = 12, n = 128, bc = 2 * n, taps = 2 * 4 + 4;
  const double spared = 2 * d * (inner + bc) + taps * bc + (block.ssm - 2 * heads * n * 64) +
                        block.gate + block.out_proj + d;
  const LayerWork work = FactsOf(test::ModelOf(c, 384, 2, 50288)).layers[1];
  EXPECT_DOUBLE_EQ(work.full - work.FarWritten(), spared);
  // Nothing written: the norm, Δ's columns and Δ are left.
  EXPECT_DOUBLE_EQ(work.far, 4 * d + 2 * d * heads + block.dt);
  EXPECT_EQ(work.heads, 12);
  EXPECT_EQ(work.groups, 2);
}

// A Mamba-1 row is spared: z's columns, C's rows of x_proj, the read-out (2 a state, D·x 2 a
// channel), the gate, out_proj, the residual add.
TEST(Facts, FarRowsOfMamba1LeaveTheReadOutAway) {
  const LayerFlops block = FlopsOf(Mamba1Layer(256), 256);
  const double d = 256, inner = 512, n = 16;
  const double spared =
      2 * d * inner + 2 * inner * n + 2 * inner * n + 2 * inner + block.gate + block.out_proj + d;
  const LayerWork work = FactsOf(Mamba1Model(256, 2)).layers[0];
  EXPECT_DOUBLE_EQ(work.full - work.FarWritten(), spared);
  EXPECT_EQ(work.heads, 0);
}

// 8 heads over 2, of 64 numbers that all rotate, at d_model 512: queries of 512, keys and values of
// 128 each.
constexpr AttentionConfig kHeads{.n_heads = 8, .n_kv_heads = 2, .head_dim = 64, .scale = 0.125F};

TEST(Facts, AttentionByHand) {
  AttentionConfig c = kHeads;
  c.rope.assign(32, 0.5);
  const LayerWork work = WorkOf(c, 512);
  const double write = 2 * (2 * 512 * 128) + 3 * 64 * 2;
  const double products = 2 * 512 * 512 + 2 * 512 * 512;  // of queries, and behind the heads
  const double scores = 1024 * (4 * 512 + 5 * 8);
  EXPECT_EQ(work.full, 5 * 512 + write + products + 3 * 64 * 8 + scores);
  EXPECT_EQ(work.far, 4 * 512 + write);
  EXPECT_EQ(work.FarWritten(), work.far);
  EXPECT_EQ(work.kind, LayerKind::kAttention);
  // A window of 100 rows, and no rotation.
  c.window = 100;
  c.rope.clear();
  const double seen = 100 * (4 * 512 + 5 * 8);
  EXPECT_EQ(WorkOf(c, 512).full, 5 * 512 + 4 * 512 * 128 + products + seen);
  const ProductFlops read = ProductsOf(c, 512);
  EXPECT_EQ(read.full, 4 * 512 * 128 + products);
  EXPECT_EQ(read.state, 4 * 512 * 128);
}

TEST(Facts, MlpsAndExpertsByHand) {
  const MlpConfig gated{.d_hidden = 1536};
  const MlpConfig plain{.d_hidden = 96, .activation = MlpActivation::kReluSquared, .gated = false};
  const double gated_work = 6 * 512 * 1536 + 5 * 1536;
  const double plain_work = 4 * 512 * 96 + 2 * 96;
  EXPECT_EQ(WorkOf(gated, 512).full, 5 * 512 + gated_work);
  EXPECT_EQ(WorkOf(plain, 512).full, 5 * 512 + plain_work);
  EXPECT_EQ(WorkOf(gated, 512).FarWritten(), 0);
  ExpertsConfig experts{.expert = plain, .n_experts = 8, .chosen = 3};
  const double chosen = 2 * 512 * 8 + 3 * (plain_work + 2 * 512);
  EXPECT_EQ(WorkOf(experts, 512).full, 5 * 512 + chosen);
  experts.shared = gated;
  EXPECT_EQ(WorkOf(experts, 512).full, 5 * 512 + chosen + gated_work);
  EXPECT_EQ(ProductsOf(experts, 512).full, 2 * 512 * 8 + 3 * 4 * 512 * 96 + 6 * 512 * 1536);
}

TEST(Facts, SideBySideSharesTheNorm) {
  const ParallelConfig both{.mamba = Mamba2Layer(512), .attention = kHeads};
  const LayerWork work = WorkOf(both, 512);
  const LayerWork mamba = WorkOf(both.mamba, 512), attention = WorkOf(kHeads, 512);
  EXPECT_DOUBLE_EQ(work.full, mamba.full + attention.full - 5 * 512 + 3 * 512);
  EXPECT_DOUBLE_EQ(work.far, mamba.far + 4 * 512 * 128);
  EXPECT_EQ(work.heads, mamba.heads);
  EXPECT_EQ(work.far_head, mamba.far_head);
}

// d_model 512: two heads of 512 numbers read rows of 1,024; a far row spares what it spares in
// Mamba-2 alone.
TEST(Facts, SharedBlocksByHand) {
  SharedBlockConfig c{.mamba = Mamba2Layer(512),
                      .attention = {.n_heads = 2, .n_kv_heads = 2, .head_dim = 512, .scale = 1},
                      .mlp = {.d_hidden = 96, .activation = MlpActivation::kGelu},
                      .adapter_rank = 8};
  const double heads = 2 * 1024 * 3 * 1024 + 2 * 1024 * 512;
  const double mlp = 6 * 512 * 96 + 2 * 8 * (512 + 2 * 96);
  const double products = heads + mlp + 2 * 512 * 512;
  const double scores = 1024 * (4 * 1024 + 5 * 2);
  const double others = 4 * 1024 + 4 * 512 + 5 * 96 + 2 * 96 + 512;  // norms, GELU, sums
  const LayerWork mamba = WorkOf(c.mamba, 512);
  LayerWork work = WorkOf(c, 512);
  EXPECT_DOUBLE_EQ(work.full, mamba.full + products + scores + others);
  EXPECT_DOUBLE_EQ(work.full - work.FarWritten(), mamba.full - mamba.FarWritten());
  EXPECT_DOUBLE_EQ(ProductsOf(c, 512).full, ProductsOf(c.mamba, 512).full + products);
  EXPECT_DOUBLE_EQ(ProductsOf(c, 512).state, ProductsOf(c.mamba, 512).state + products);
  c.attention_adapters = true;
  const double low = 3 * 2 * 8 * (1024 + 1024);
  EXPECT_DOUBLE_EQ(WorkOf(c, 512).full, work.full + low + 3 * 1024);
  EXPECT_DOUBLE_EQ(ProductsOf(c, 512).full, ProductsOf(c.mamba, 512).full + products + low);
}

TEST(Facts, KindsOfModels) {
  const auto kind = [](std::vector<LayerConfig> layers) {
    ModelConfig c;
    c.d_model = 512;
    c.vocab_size = 16;
    c.layers = std::move(layers);
    return FactsOf(c).kind;
  };
  const LayerConfig one = Mamba1Layer(512), two = Mamba2Layer(512), heads = kHeads;
  const LayerConfig mlp = MlpConfig{.d_hidden = 8};
  EXPECT_EQ(kind({one, one}), "mamba1");
  EXPECT_EQ(kind({two}), "mamba2");
  EXPECT_EQ(kind({heads, mlp}), "transformer");
  EXPECT_EQ(kind({two, mlp}), "hybrid");
  EXPECT_EQ(kind({one, two}), "hybrid");
}

}  // namespace
}  // namespace pith
