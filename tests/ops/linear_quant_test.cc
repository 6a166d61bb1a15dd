// Products with quantised weights against the reference, which widens weights and rounds
// activations by the contract's rule and sums in double; and the laws on bits.
//
// Bound, with u = 2⁻²⁴: sums of whole numbers are exact. Of n groups of scales, each with a minimum
// or without, come at most 2n terms; each is rounded three times at most and added once, and kI8's
// scale and the bias come last: (2n + 6) u S, S the sum of what the terms are at most. The
// reference's weights are rounded to f32 twice at most: 2 u S more.
#ifdef PITH_TEST_SIMD
#include "backends/cpu/kernels.h"
#endif

#include <random>

#include "core/blocks.h"
#include "core/quantise.h"
#include "ops/embed.h"
#include "ops/linear.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

struct QuantWeights {
  QuantWeights(uint32_t seed, DType dtype, int64_t rows, int64_t cols)
      : dtype(dtype), rows(rows), cols(cols), bytes(rows * BytesOf(dtype, cols)), scales(rows) {
    std::mt19937 engine(seed);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine() & 0xff);
    for (float& scale : scales) scale = 0x1p-10f * static_cast<float>(engine() % 1000 + 1);
    // Halves between 2⁻⁷ and 2, of either sign.
    for (int64_t at = 0; IsBlocked(dtype) && at < std::ssize(bytes); at += BlockOf(dtype).bytes) {
      std::vector<int64_t> halves = {1};
      if (dtype == DType::kQ4_K) halves = {1, 3};
      if (dtype == DType::kQ6_K) halves = {209};
      for (const int64_t half : halves) {
        bytes[at + half] = (bytes[at + half] & std::byte{0x9f}) | std::byte{0x20};
      }
    }
  }

  StoredMatrix stored() const { return {dtype, bytes.data(), rows, cols, scales.data()}; }
  Weight On(const Exec& exec, WeightUse use = WeightUse::kProduct) const {
    return exec.backend->Prepare(exec, stored(), use);
  }
  // |scale · q| + |minimum| of each weight of row r.
  std::vector<double> Magnitudes(int64_t r) const {
    std::vector<double> to(static_cast<size_t>(cols));
    const std::byte* row = bytes.data() + r * BytesOf(dtype, cols);
    const QuantForm form = QuantFormOf(dtype);
    for (int64_t k = 0; k < cols; ++k) {
      if (dtype == DType::kI8) {
        to[k] = scales[r] * std::abs(static_cast<int8_t>(row[k]));
        continue;
      }
      const BlockShape block = BlockOf(dtype);
      const BlockParts parts = PartsOf(dtype, row + k / block.values * block.bytes);
      const int at = static_cast<int>(k % block.values);
      const int group = at / form.group;
      const int scale = form.nested ? parts.scale[group] : 1;
      to[k] = std::abs(static_cast<double>(parts.d) * scale * parts.q[at]);
      if (form.minimums) to[k] += std::abs(static_cast<double>(parts.dmin) * parts.min[group]);
    }
    return to;
  }
  int64_t groups() const {
    const int group = QuantFormOf(dtype).group;
    return (cols + 31) / 32 * (group == 16 ? 2 : 1);
  }

  DType dtype;
  int64_t rows, cols;
  std::vector<std::byte> bytes;
  std::vector<float> scales;
};

std::vector<double> RoundedRow(const Strided& x, int64_t r) {
  std::vector<double> out;
  for (int64_t begin = 0; begin < x.view().cols; begin += kActivationGroup) {
    const int64_t count = std::min(kActivationGroup, x.view().cols - begin);
    const ActivationGroup group =
        QuantiseActivations({x.view().Row(r) + begin, static_cast<size_t>(count)});
    for (int64_t k = 0; k < count; ++k) {
      out.push_back(static_cast<double>(group.scale) * group.q[k]);
    }
  }
  return out;
}

using Operator = void (*)(const Exec&, MatView<const float>, const WeightView&,
                          VecView<const float>, MatView<float>);
constexpr Operator kOperators[] = {Linear, LinearStep};

class LinearQuantTest : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (testing::DeviceUnderTest() == Device::kCuda) {
      GTEST_SKIP() << "a GPU widens quantised weights when it prepares them (BlockedWeights)";
    }
  }
  static constexpr int64_t kSmallest(DType dtype) { return BlockOf(dtype).values; }

  static Strided Product(Operator op, int threads, MatView<const float> x, const QuantWeights& w,
                         const Shared<float>& bias) {
    const Exec exec = Tested(threads);
    Strided out(x.rows, w.rows);
    op(exec, x, w.On(exec).view(), Vec(bias), out.view());
    return out;
  }

  void Compare(int64_t rows, int64_t depth, int64_t cols) {
    const auto seed = static_cast<uint32_t>(rows * 7919 + depth * 131 + cols);
    SCOPED_TRACE(StrCat("seed ", seed, ", rows ", rows, ", in ", depth, ", out ", cols));
    Random random(seed);
    const Strided x(random, rows, depth);
    const QuantWeights w(seed, GetParam(), cols, depth);
    const Shared<float> bias_values = random.Vector(cols);
    const VecView<const float> bias = seed % 2 ? Vec(bias_values) : VecView<const float>();
    Strided expected(rows, cols);
    Linear(kReference, x.view(), w.On(kReference).view(), bias, expected.view());
    std::vector<std::vector<double>> in, magnitudes;
    for (int64_t r = 0; r < rows; ++r) in.push_back(RoundedRow(x, r));
    for (int64_t c = 0; c < cols; ++c) magnitudes.push_back(w.Magnitudes(c));
    for (const Operator op : kOperators) {
      Strided out(rows, cols);
      op(Tested(2), x.view(), w.On(Tested(2)).view(), bias, out.view());
      ExpectNear(out, expected, [&](int64_t r, int64_t c) {
        double sum = bias.empty() ? 0 : std::abs(bias_values[c]);
        for (int64_t k = 0; k < depth; ++k) sum += std::abs(in[r][k]) * magnitudes[c][k];
        return (2.0 * static_cast<double>(w.groups()) + 9) * kRounding * sum;
      });
    }
  }
};

TEST_P(LinearQuantTest, AgreesWithReferenceOnEveryRowCount) {
  for (const int64_t rows : kSizes) Compare(rows, 256, 33);
}

TEST_P(LinearQuantTest, AgreesWithReferenceOnEveryWidth) {
  for (const int64_t cols : kSizes) Compare(5, 512, cols);
}

TEST_P(LinearQuantTest, AgreesWithReferenceOnEveryDepth) {
  const int64_t block = kSmallest(GetParam());
  for (const int64_t blocks : {1, 2, 3, 5}) Compare(7, blocks * block, 19);
  if (GetParam() != DType::kI8) return;
  for (const int64_t depth : kSizes) Compare(3, depth, 19);  // the last group is filled up
}

// Whole numbers and scales that are powers of two: nothing is rounded anywhere, and the product is
// that of the numbers.
TEST_P(LinearQuantTest, RoundsActivationsByTheRule) {
  if (GetParam() != DType::kI8) GTEST_SKIP() << "one matrix of ones tells it";
  constexpr int64_t kDepth = 75;
  Random random(5);
  Strided x(random, 3, kDepth, -4, 4);
  for (int64_t k = 32; k < 64; ++k) x.view().Row(1)[k] = 0x1p-101f;
  QuantWeights identity(1, DType::kI8, kDepth, kDepth);
  for (int64_t i = 0; i < kDepth * kDepth; ++i)
    identity.bytes[i] = std::byte(i % (kDepth + 1) == 0);
  for (float& scale : identity.scales) scale = 1;
  Strided out(3, kDepth);
  const Exec exec = Tested();
  Linear(exec, std::as_const(x).view(), identity.On(exec).view(), {}, out.view());
  for (int64_t r = 0; r < 3; ++r) {
    const std::vector<double> rounded = RoundedRow(x, r);
    for (int64_t k = 0; k < kDepth; ++k) {
      ASSERT_EQ(out.At(r, k), static_cast<float>(rounded[k])) << r << ", " << k;
    }
  }
}

TEST_P(LinearQuantTest, WhatIsNotFiniteStaysSo) {
  Random random(6);
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Strided x(random, 3, 256);
    x.view().Row(1)[100] = bad;
    const QuantWeights w(6, GetParam(), 20, 256);
    Strided out(3, 20);
    const Exec exec = Tested();
    Linear(exec, std::as_const(x).view(), w.On(exec).view(), {}, out.view());
    for (int64_t c = 0; c < 20; ++c) {
      EXPECT_TRUE(std::isfinite(out.At(0, c)));
      EXPECT_TRUE(std::isnan(out.At(1, c)));
      EXPECT_TRUE(std::isfinite(out.At(2, c)));
    }
  }
}

TEST_P(LinearQuantTest, RowsDoNotDependOnTheirBatch) {
  constexpr int64_t kRows = 300, kDepth = 512, kCols = 150;
  Random random(11);
  const Strided x(random, kRows, kDepth);
  const QuantWeights w(11, GetParam(), kCols, kDepth);
  const Shared<float> bias = random.Vector(kCols);
  const auto run = [&](Operator op, int threads, int64_t begin, int64_t count) {
    return Product(op, threads, x.view().Rows(begin, count), w, bias);
  };
  const Strided whole = run(Linear, 1, 0, kRows);
  for (const Operator op : kOperators) {
    for (const int threads : {2, 3})
      ExpectSameBits(run(op, threads, 0, kRows).view(), whole.view());
    for (const int64_t count : kSizes) {
      SCOPED_TRACE(StrCat(count, " rows"));
      const int64_t begin = (count * 37) % (kRows - count + 1);
      ExpectSameBits(run(op, 2, begin, count).view(), whole.view().Rows(begin, count));
    }
  }
}

// Few rows meet several panels side by side, and threads share the weights' bytes, of which there
// must be 100 kB for each.
TEST_P(LinearQuantTest, FewRowsAreSharedByThreads) {
  constexpr int64_t kRows = 7, kDepth = 512, kCols = 900;
  Random random(12);
  const Strided x(random, kRows, kDepth);
  const QuantWeights w(12, GetParam(), kCols, kDepth);
  const Shared<float> bias = random.Vector(kCols);
  const auto run = [&](Operator op, int threads, int64_t count) {
    return Product(op, threads, x.view().Rows(0, count), w, bias);
  };
  const Strided whole = run(Linear, 1, kRows);
  for (const Operator op : kOperators) {
    for (int64_t count = 1; count <= kRows; ++count) {
      for (const int threads : {1, 2, 3}) {
        SCOPED_TRACE(StrCat(count, " rows, ", threads, " threads"));
        ExpectSameBits(run(op, threads, count).view(), whole.view().Rows(0, count));
      }
    }
  }
}

TEST_P(LinearQuantTest, SlicesHaveTheBitsOfTheWhole) {
  constexpr int64_t kCols = 150;
  Random random(16);
  const Exec exec = Tested(2);
  const Strided x(random, 40, 256);
  const QuantWeights w(16, GetParam(), kCols, 256);
  const Shared<float> bias = random.Vector(kCols);
  for (const WeightUse use : {WeightUse::kProduct, WeightUse::kBoth}) {
    const Weight prepared = w.On(exec, use);
    for (const int64_t rows : {1, 2, 5, 40}) {
      const MatView<const float> in = x.view().Rows(0, rows);
      Strided whole(rows, kCols);
      Linear(exec, in, prepared.view(), Vec(bias), whole.view());
      for (const auto& [begin, count] :
           {std::pair{0, 1}, {1, 15}, {7, 9}, {16, 16}, {31, 64}, {149, 1}, {3, 147}}) {
        SCOPED_TRACE(StrCat("rows ", rows, ", from ", begin, ", ", count));
        Strided out(rows, count);
        const VecView<const float> part{bias.data() + begin, count};
        Linear(exec, in, prepared.view().Rows(begin, count), part, out.view());
        ExpectSameBits(std::as_const(out).view(), std::as_const(whole).view().Cols(begin, count));
        out.CheckPadding();
      }
    }
  }
}

TEST_P(LinearQuantTest, EmbeddedRowsAreThoseWidened) {
  const QuantWeights w(18, GetParam(), 37, 512);
  const std::vector<int32_t> ids = {36, 0, 17};
  const Exec exec = Tested();
  for (const WeightUse use : {WeightUse::kTable, WeightUse::kBoth}) {
    const Weight table = w.On(exec, use);
    Strided out(3, 512);
    Embed(exec, table.view(), ids, out.view());
    std::vector<float> row(512);
    for (int64_t i = 0; i < 3; ++i) {
      WidenRow(w.stored(), ids[i], row);
      EXPECT_TRUE(SameBits(out.view().Row(i), row.data(), 512)) << ids[i];
    }
  }
}

// Panels take little more than the file's bytes. Q6_K's six bits become eight, and its two-byte
// scale a block stays: 274 for 210. Q4_K's 6-bit scales become bytes: 148 for 144.
TEST_P(LinearQuantTest, PanelsTakeWhatTheirNumbersTake) {
  if (testing::DeviceUnderTest() == Device::kReference) {
    GTEST_SKIP() << "the reference leaves weights where their file has them";
  }
  const QuantWeights w(17, GetParam(), 960, 512);  // whole panels of every target
  const Exec exec = Tested();
  const int64_t before = exec.backend->memory(MemoryUse::kWeights).bytes;
  const Weight prepared = w.On(exec);
  const int64_t held = exec.backend->memory(MemoryUse::kWeights).bytes - before;
  const int64_t bytes = w.stored().bytes();
  EXPECT_EQ(held, GetParam() == DType::kQ6_K   ? bytes / 210 * 274
                  : GetParam() == DType::kQ4_K ? bytes / 144 * 148
                  : GetParam() == DType::kI8   ? bytes + 960 * 4
                                               : bytes);
}

#ifdef PITH_TEST_SIMD  // a build with the CPU backend
// Every level that the processor has gives the same bits, with panels of its own.
TEST_P(LinearQuantTest, EverySimdLevelGivesTheSameBits) {
  if (testing::DeviceUnderTest() != Device::kCpu) GTEST_SKIP() << "of the CPU's kernels";
  Random random(21);
  const Strided x(random, 23, 512);
  const QuantWeights w(21, GetParam(), 150, 512);
  const std::vector<std::string> levels = cpu::SimdLevels();
  for (const int64_t rows : {1, 2, 3, 23}) {
    std::vector<Strided> outs;
    for (const std::string& level : levels) {
      cpu::UseSimd(level);
      Strided& out = outs.emplace_back(rows, 150);
      const Exec exec = Tested(2);
      Linear(exec, x.view().Rows(0, rows), w.On(exec).view(), {}, out.view());
    }
    for (size_t i = 0; i < levels.size(); ++i) {
      SCOPED_TRACE(StrCat(levels[i], ", ", rows, " rows"));
      ExpectSameBits(outs[i].view(), outs[0].view());
    }
  }
  cpu::UseSimd(levels.front());
  cpu::ChooseSimd();  // as the other tests have it
}
#endif

INSTANTIATE_TEST_SUITE_P(Types, LinearQuantTest,
                         ::testing::Values(DType::kI8, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K,
                                           DType::kQ6_K),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace pith::ops_testing
