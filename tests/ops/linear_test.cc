// Linear and LinearStep against the reference, in every weight dtype and precision, on odd shapes
// and strided views; and the law that a row's bits depend on nothing but that row and the weights.
//
// Bound: ProductBound of ops_testing.h, plus the rounding of the reference's own result.
#include "ops/linear.h"

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

struct Weights {
  Weights(Random& random, DType dtype, int64_t rows, int64_t cols)
      : dtype(dtype), rows(rows), cols(cols), bytes(rows * cols * SizeOf(dtype)) {
    for (int64_t i = 0; i < rows * cols; ++i) Set(i, random.Uniform(-1, 1));
  }
  // f16: values of eleven bits built from their parts, subnormals among them.
  void Set(int64_t i, float value) {
    if (dtype == DType::kF32) {
      std::memcpy(&bytes[i * 4], &value, 4);
      return;
    }
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint16_t half = dtype == DType::kBF16
                              ? ToBF16(value).bits
                              : static_cast<uint16_t>((bits >> 31 << 15) | (bits >> 9 & 0x3bff));
    std::memcpy(&bytes[i * 2], &half, 2);
  }
  float At(int64_t r, int64_t c) const {
    float value = 0;
    VisitFloat(dtype, [&]<class T>() {
      T stored;
      std::memcpy(&stored, &bytes[(r * cols + c) * sizeof(T)], sizeof(T));
      value = ToFloat(stored);
    });
    return value;
  }
  StoredMatrix stored() const { return {dtype, bytes.data(), rows, cols}; }
  Weight On(const Exec& exec, WeightUse use = WeightUse::kProduct) const {
    return exec.backend->Prepare(exec, stored(), use);
  }

  DType dtype;
  int64_t rows, cols;
  std::vector<std::byte> bytes;
};

using Operator = void (*)(const Exec&, MatView<const float>, const WeightView&,
                          VecView<const float>, MatView<float>);
constexpr Operator kOperators[] = {Linear, LinearStep};
constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

class LinearTest : public ::testing::Test {
 protected:
  void Compare(int64_t rows, int64_t depth, int64_t cols, DType dtype, Precision precision,
               WeightUse use = WeightUse::kProduct) {
    const uint32_t seed = rows * 7919 + depth * 131 + cols;
    SCOPED_TRACE(StrCat("seed ", seed, ", rows ", rows, ", in ", depth, ", out ", cols, ", ",
                        Name(dtype), precision == Precision::kBF16 ? ", bf16" : ", f32"));
    Random random(seed);
    const Strided x(random, rows, depth);
    const Weights w(random, dtype, cols, depth);
    const Shared<float> bias_values = random.Vector(cols);
    const VecView<const float> bias = seed % 2 ? Vec(bias_values) : VecView<const float>();
    Exec exec = Tested(2), reference = kReference;
    exec.precision = precision;
    const Weight prepared = w.On(exec, use);
    reference.precision = MultipliesF16(prepared.view()) ? Precision::kF32 : precision;
    Strided expected(rows, cols);
    Linear(reference, x.view(), w.On(reference).view(), bias, expected.view());
    for (const Operator op : kOperators) {
      Strided out(rows, cols);
      op(exec, x.view(), prepared.view(), bias, out.view());
      ExpectNear(out, expected, [&](int64_t r, int64_t c) {
        double sum = bias.empty() ? 0 : std::abs(bias_values[c]);
        for (int64_t k = 0; k < depth; ++k) sum += std::abs(1.01 * x.At(r, k) * w.At(c, k));
        return ProductBound(prepared.view(), depth, sum, 1);
      });
    }
  }
};

TEST_F(LinearTest, AgreesWithReferenceOnEveryRowCount) {
  for (const int64_t rows : kSizes) {
    for (const DType dtype : kDTypes) Compare(rows, 37, 33, dtype, Precision::kF32);
  }
}

TEST_F(LinearTest, AgreesWithReferenceOnEveryDepth) {
  for (const int64_t depth : kSizes) {
    for (const DType dtype : kDTypes) {
      Compare(5, depth, 19, dtype, Precision::kF32);
      Compare(5, depth, 19, dtype, Precision::kBF16);
    }
  }
  Compare(13, 1030, 40, DType::kBF16, Precision::kF32);
  Compare(13, 1301, 40, DType::kBF16, Precision::kBF16);
}

// An embedding that is the head too keeps its values exact, whatever the precision of products.
TEST_F(LinearTest, HeadsThatAreTheEmbeddingToo) {
  for (const int64_t depth : {1, 2, 7, 64, 521, 1301}) {
    for (const DType dtype : kDTypes) {
      for (const int64_t rows : {1, 5, 40}) {
        Compare(rows, depth, 83, dtype, Precision::kF32, WeightUse::kBoth);
        Compare(rows, depth, 83, dtype, Precision::kBF16, WeightUse::kBoth);
      }
    }
  }
}

// A NaN in a row or in a weight is one in all that it meets, and nowhere else.
TEST_F(LinearTest, KeepsNaN) {
  constexpr int64_t kRows = 3, kDepth = 5, kCols = 20;
  const float nan = std::bit_cast<float>(0x7f800001u);  // whose payload bf16 has no room for
  Random random(18);
  for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
    for (const WeightUse use : {WeightUse::kProduct, WeightUse::kBoth}) {
      Exec exec = Tested(2);
      exec.precision = precision;
      for (const Operator op : kOperators) {
        Strided x(random, kRows, kDepth), out(kRows, kCols);
        Weights w(random, DType::kF32, kCols, kDepth);
        x.view().Row(1)[2] = nan;
        w.Set(17 * kDepth + 4, nan);
        op(exec, std::as_const(x).view(), w.On(exec, use).view(), {}, out.view());
        for (int64_t r = 0; r < kRows; ++r) {
          for (int64_t c = 0; c < kCols; ++c) {
            EXPECT_EQ(std::isnan(out.At(r, c)), r == 1 || c == 17) << r << ", " << c;
            EXPECT_FALSE(std::isinf(out.At(r, c)));
          }
        }
      }
    }
  }
}

TEST_F(LinearTest, AgreesWithReferenceOnEveryWidth) {
  for (const int64_t cols : kSizes) {
    for (const DType dtype : kDTypes) {
      Compare(14, 20, cols, dtype, Precision::kF32);
      Compare(14, 20, cols, dtype, Precision::kBF16);
    }
  }
}

// Rows that begin at whole vectors, as models have them, and wide weights have kernels of their own
// on some backends: their own columns, more than one piece of the weight a block, sums that blocks
// share. Each against the reference, and each row against itself in another batch.
TEST_F(LinearTest, StepsOfModelsShapes) {
  constexpr int64_t kMost = 40;
  Exec exec = Tested(2), reference = kReference;
  exec.precision = Precision::kBF16;
  for (const auto& [depth, cols] : {std::pair{96, 30},
                                    {320, 1500},
                                    {2560, 70},
                                    {2592, 40},
                                    {2624, 4300},
                                    {5120, 90},
                                    {5184, 20},
                                    {72, 9000}}) {
    SCOPED_TRACE(StrCat("in ", depth, ", out ", cols));
    Random random(static_cast<uint32_t>(depth));
    const Shared<float> x = random.Vector(kMost * depth), bias = random.Vector(cols);
    const Weights w(random, DType::kBF16, cols, depth);
    const Weight prepared = w.On(exec);
    reference.precision = MultipliesF16(prepared.view()) ? Precision::kF32 : Precision::kBF16;
    const auto run = [&](int64_t begin, int64_t count) {
      Shared<float> out(count * cols + 1, -7.0f);
      LinearStep(exec, {x.data() + begin * depth, count, depth}, prepared.view(), Vec(bias),
                 {out.data(), count, cols});
      exec.backend->Synchronize(exec.queue);
      EXPECT_EQ(out.back(), -7.0f) << "written outside";
      out.pop_back();
      return out;
    };
    const Shared<float> alone = run(0, 1), all = run(0, kMost);
    Shared<float> expected(cols);
    Linear(reference, {x.data(), 1, depth}, w.On(reference).view(), Vec(bias),
           {expected.data(), 1, cols});
    for (int64_t c = 0; c < cols; ++c) {
      double sum = std::abs(bias[c]);
      for (int64_t k = 0; k < depth; ++k) sum += std::abs(1.01 * x[k] * w.At(c, k));
      ASSERT_NEAR(alone[c], expected[c], ProductBound(prepared.view(), depth, sum, 1))
          << "column " << c;
    }
    for (const auto& [begin, count] : {std::pair{0, 1}, {1, 1}, {3, 7}, {9, 13}, {20, 17}}) {
      const Shared<float> some = run(begin, count);
      EXPECT_TRUE(SameBits(some.data(), &all[begin * cols], count * cols)) << count << " rows";
    }
  }
}

// Every row of a batch has the bits that it has alone, wherever it stands, at every thread count.
TEST_F(LinearTest, RowsDoNotDependOnTheirBatch) {
  constexpr int64_t kRows = 300;
  constexpr int64_t kDepth = 521;  // blocks of columns and of pairs, and an odd end
  constexpr int64_t kCols = 150;
  Random random(11);
  const Strided x(random, kRows, kDepth);
  for (const DType dtype : kDTypes) {
    const Weights w(random, dtype, kCols, kDepth);
    const Shared<float> bias = random.Vector(kCols);
    for (const Operator op : kOperators) {
      for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
        const auto run = [&](int threads, int64_t begin, int64_t count) {
          Exec exec = Tested(threads);
          exec.precision = precision;
          Strided out(count, kCols);
          op(exec, x.view().Rows(begin, count), w.On(exec).view(), Vec(bias), out.view());
          return out;
        };
        const Strided whole = run(1, 0, kRows);
        for (const int threads : {2, 3}) {
          ExpectSameBits(run(threads, 0, kRows).view(), whole.view());
        }
        for (const int64_t count : kSizes) {
          SCOPED_TRACE(StrCat(Name(dtype), ", ", count, " rows"));
          const int64_t begin = (count * 37) % (kRows - count + 1);
          ExpectSameBits(run(2, begin, count).view(), whole.view().Rows(begin, count));
        }
      }
    }
  }
}

// Nor on whether there are few or many, where a backend multiplies few of them in another way.
TEST_F(LinearTest, RowsDoNotDependOnTheirNumber) {
  constexpr int64_t kRows = 2200, kDepth = 1024, kCols = 520;
  Random random(13);
  const Strided x(random, kRows, kDepth);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    Exec exec = Tested(2);
    if (dtype == DType::kBF16) exec.precision = Precision::kBF16;
    if (dtype == DType::kF16 && exec.backend->device() == Device::kCuda)
      exec.precision = Precision::kF16;
    const Weights weights(random, dtype, kCols, kDepth);
    const Weight w = weights.On(exec);
    const auto run = [&](int64_t begin, int64_t count) {
      Strided out(count, kCols);
      Linear(exec, x.view().Rows(begin, count), w.view(), {}, out.view());
      return out;
    };
    const Strided whole = run(0, kRows);
    for (const int64_t count : {1, 63, 64, 65, 130, 200, 257, 700, 1100, 2048, 2049}) {
      SCOPED_TRACE(StrCat(Name(dtype), ", ", count, " rows"));
      const int64_t begin = kRows - count;
      ExpectSameBits(run(begin, count).view(), whole.view().Rows(begin, count));
    }
  }
}

TEST_F(LinearTest, RowsDoNotDependOnTheirOrder) {
  Random random(12);
  const Strided x(random, 50, 70);
  Strided reversed(50, 70);
  for (int64_t r = 0; r < 50; ++r) {
    std::memcpy(reversed.view().Row(49 - r), x.view().Row(r), 70 * sizeof(float));
  }
  const Weights w(random, DType::kBF16, 45, 70);
  for (const Operator op : kOperators) {
    Strided a(50, 45), b(50, 45);
    op(Tested(2), x.view(), w.On(Tested(2)).view(), {}, a.view());
    op(Tested(2), std::as_const(reversed).view(), w.On(Tested(2)).view(), {}, b.view());
    for (int64_t r = 0; r < 50; ++r) {
      EXPECT_TRUE(SameBits(a.view().Row(r), b.view().Row(49 - r), 45)) << "row " << r;
    }
  }
}

// Integers and their sums are exact in every order, dtype and precision.
TEST_F(LinearTest, IntegersAreExact) {
  Random random(13);
  Strided x(9, 600);
  Weights w(random, DType::kBF16, 37, 600);
  for (int64_t r = 0; r < 9; ++r) {
    for (int64_t k = 0; k < 600; ++k) x.view().Row(r)[k] = std::floor(random.Uniform(-8, 9));
  }
  for (int64_t i = 0; i < 37 * 600; ++i) w.Set(i, std::floor(random.Uniform(-8, 9)));
  Strided expected(9, 37);
  Linear(kReference, std::as_const(x).view(), w.On(kReference).view(), {}, expected.view());
  for (const Operator op : kOperators) {
    for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
      Exec exec = Tested(2);
      exec.precision = precision;
      Strided out(9, 37);
      op(exec, std::as_const(x).view(), w.On(exec).view(), {}, out.view());
      ExpectSameBits(out.view(), expected.view());
    }
  }
}

// Any rows of a packed matrix, wherever panels begin, give the bits that they give in the whole;
// and a step of them gives the bits of many rows. (On a GPU a library multiplies rows in bf16: a
// slice is another product of its own, which promises no bits of the whole.)
TEST_F(LinearTest, SlicesHaveTheBitsOfTheWhole) {
  constexpr int64_t kCols = 150, kDepth = 521;
  Random random(16);
  const Strided x(random, 40, kDepth);
  for (const DType dtype : kDTypes) {
    for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
      Exec exec = Tested(2);
      exec.precision = precision;
      const Weights w(random, dtype, kCols, kDepth);
      for (const WeightUse use : {WeightUse::kProduct, WeightUse::kBoth}) {
        const Weight prepared = w.On(exec, use);
        if (precision == Precision::kBF16 && prepared.view().format == WeightFormat::kRows) {
          continue;
        }
        for (const int64_t rows : {1, 5, 40}) {
          const MatView<const float> in = x.view().Rows(0, rows);
          Strided whole(rows, kCols);
          Linear(exec, in, prepared.view(), {}, whole.view());
          for (const auto& [begin, count] :
               {std::pair{0, 1}, {1, 15}, {7, 9}, {16, 16}, {31, 64}, {149, 1}, {3, 147}}) {
            SCOPED_TRACE(StrCat(Name(dtype), ", rows ", rows, ", from ", begin, ", ", count));
            Strided out(rows, count);
            Linear(exec, in, prepared.view().Rows(begin, count), {}, out.view());
            ExpectSameBits(std::as_const(out).view(),
                           std::as_const(whole).view().Cols(begin, count));
            out.CheckPadding();
            if (prepared.view().format == WeightFormat::kRows) continue;
            // Panels are read in one order by both.
            LinearStep(exec, in, prepared.view().Rows(begin, count), {}, out.view());
            ExpectSameBits(std::as_const(out).view(),
                           std::as_const(whole).view().Cols(begin, count));
          }
        }
      }
    }
  }
}

// Rows and weights of any magnitude are multiplied alike: powers of two change no other bit.
TEST_F(LinearTest, PowersOfTwoAreExact) {
  constexpr int64_t kRows = 14, kDepth = 521, kCols = 40;
  const auto row_power = [](int64_t r) { return std::ldexp(1.0f, static_cast<int>(r * 9 - 60)); };
  const auto column_power = [](int64_t c) { return std::ldexp(1.0f, static_cast<int>(c - 20)); };
  Random random(19);
  const Strided x(random, kRows, kDepth);
  const Weights w(random, DType::kF32, kCols, kDepth);
  Strided scaled_x(kRows, kDepth);
  Weights scaled_w = w;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t k = 0; k < kDepth; ++k) scaled_x.view().Row(r)[k] = x.At(r, k) * row_power(r);
  }
  for (int64_t c = 0; c < kCols; ++c) {
    for (int64_t k = 0; k < kDepth; ++k) scaled_w.Set(c * kDepth + k, w.At(c, k) * column_power(c));
  }
  for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
    Exec exec = Tested(2);
    exec.precision = precision;
    for (const Operator op : kOperators) {
      Strided plain(kRows, kCols), out(kRows, kCols);
      op(exec, x.view(), w.On(exec).view(), {}, plain.view());
      op(exec, std::as_const(scaled_x).view(), scaled_w.On(exec).view(), {}, out.view());
      for (int64_t r = 0; r < kRows; ++r) {
        for (int64_t c = 0; c < kCols; ++c) {
          EXPECT_EQ(out.At(r, c), plain.At(r, c) * row_power(r) * column_power(c))
              << r << ", " << c;
        }
      }
    }
  }
}

// Whatever kBF16 multiplies, it is as near the product of f32 as if both sides were rounded to bf16
// and nothing else.
TEST_F(LinearTest, BF16ErrsAsRoundedInputsDo) {
  constexpr int64_t kRows = 40, kDepth = 1023, kCols = 70;
  Random random(20);
  const Strided x(random, kRows, kDepth);
  const Weights w(random, DType::kF32, kCols, kDepth);
  Strided exact(kRows, kCols);
  Linear(kReference, x.view(), w.On(kReference).view(), {}, exact.view());
  const auto distance = [&](Operator op, Exec exec) {
    exec.precision = Precision::kBF16;
    Strided out(kRows, kCols);
    op(exec, x.view(), w.On(exec).view(), {}, out.view());
    double error = 0;
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < kCols; ++c) error += std::pow(out.At(r, c) - exact.At(r, c), 2);
    }
    return std::sqrt(error);
  };
  for (const Operator op : kOperators) {
    EXPECT_LE(distance(op, Tested(2)), 1.01 * distance(Linear, kReference));
  }
}

// What a prepared matrix takes is counted while it is held, and not much more than its values.
TEST_F(LinearTest, PreparedWeightsAreCounted) {
  if (testing::DeviceUnderTest() == Device::kReference) {
    GTEST_SKIP() << "the reference leaves weights where their file has them";
  }
  Random random(17);
  const Weights w(random, DType::kBF16, 1000, 64);
  const Exec exec = Tested();
  const int64_t before = exec.backend->memory(MemoryUse::kWeights).bytes;
  {
    const Weight prepared = w.On(exec);
    const int64_t held = exec.backend->memory(MemoryUse::kWeights).bytes - before;
    EXPECT_TRUE(prepared.owns());
    EXPECT_GE(held, w.stored().bytes());
    EXPECT_LE(held, w.stored().bytes() * 1.05);
    EXPECT_GE(exec.backend->memory(MemoryUse::kWeights).peak, before + held);
  }
  EXPECT_EQ(exec.backend->memory(MemoryUse::kWeights).bytes, before);
}

TEST_F(LinearTest, NoRowsIsNoWork) {
  Random random(14);
  const Weights w(random, DType::kF32, 4, 4);
  Strided x(0, 4), out(0, 4);
  for (const Operator op : kOperators)
    op(Tested(), x.view(), w.On(Tested()).view(), {}, out.view());
}

TEST_F(LinearTest, WrongShapesAreBugs) {
  Random random(15);
  const Weights w(random, DType::kF32, 4, 6);
  Strided x(2, 5), out(2, 4);
  EXPECT_THROW(Linear(Tested(), x.view(), w.On(Tested()).view(), {}, out.view()), Error);
}

}  // namespace
}  // namespace pith::ops_testing
