// The count of work against the tables of the method's specification, and what a far row leaves out
// against the sum of exactly that. Where a table prints so many decimals, half a unit of its last
// place is the tolerance.
#include "model/facts.h"
#include "model/layers/work.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace pith
