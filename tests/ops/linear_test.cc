// Linear and LinearStep against the reference, in every weight dtype and precision, on odd shapes
// and strided views; and the law that a row's bits depend on nothing but that row and the weights.
//
// Bound: a sum of n products in any order, each rounded once or twice, errs by at most
// (n + 2) · 2⁻²⁴ · (Σ|x||w| + |bias|) (Higham, "Accuracy and Stability", §3.1), plus the rounding
// of the reference's own result. In kBF16 both sides round the same inputs, so the bound holds too.
#include "ops/linear.h"

#include "tests/ops/ops_testing.h"

namespace pith {
namespace {

using namespace ops_testing;

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
  WeightView view() const { return {dtype, bytes.data(), rows, cols}; }

  DType dtype;
  int64_t rows, cols;
  std::vector<std::byte> bytes;
};

using Operator = void (*)(const Exec&, MatView<const float>, const WeightView&, const float*,
                          MatView<float>);
constexpr Operator kOperators[] = {Linear, LinearStep};
constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

class LinearTest : public CpuTest {
 protected:
  void Compare(int64_t rows, int64_t depth, int64_t cols, DType dtype, Precision precision) {
    const uint32_t seed = rows * 7919 + depth * 131 + cols;
    SCOPED_TRACE(StrCat("seed ", seed, ", rows ", rows, ", in ", depth, ", out ", cols, ", ",
                        Name(dtype), precision == Precision::kBF16 ? ", bf16" : ", f32"));
    Random random(seed);
    const Strided x(random, rows, depth);
    const Weights w(random, dtype, cols, depth);
    const std::vector<float> bias_values = random.Vector(cols);
    const float* bias = seed % 2 ? bias_values.data() : nullptr;
    Exec reference = kReference;
    reference.precision = precision;
    Strided expected(rows, cols);
    Linear(reference, x.view(), w.view(), bias, expected.view());
    for (const Operator op : kOperators) {
      Exec exec = Cpu(2);
      exec.precision = precision;
      Strided out(rows, cols);
      op(exec, x.view(), w.view(), bias, out.view());
      ExpectNear(out, expected, [&](int64_t r, int64_t c) {
        double sum = bias ? std::abs(bias[c]) : 0;
        for (int64_t k = 0; k < depth; ++k) sum += std::abs(1.01 * x.At(r, k) * w.At(c, k));
        return (depth + 3) * kRounding * sum;
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
}

TEST_F(LinearTest, AgreesWithReferenceOnEveryWidth) {
  for (const int64_t cols : kSizes) {
    for (const DType dtype : kDTypes) {
      Compare(14, 20, cols, dtype, Precision::kF32);
      Compare(14, 20, cols, dtype, Precision::kBF16);
    }
  }
}

// Every row of a batch has the bits that it has alone, wherever it stands, at every thread count.
TEST_F(LinearTest, RowsDoNotDependOnTheirBatch) {
  constexpr int64_t kRows = 300;
  constexpr int64_t kDepth = 300;
  constexpr int64_t kCols = 150;
  Random random(11);
  const Strided x(random, kRows, kDepth);
  for (const DType dtype : kDTypes) {
    const Weights w(random, dtype, kCols, kDepth);
    const std::vector<float> bias = random.Vector(kCols);
    for (const Operator op : kOperators) {
      for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
        const auto run = [&](int threads, int64_t begin, int64_t count) {
          Exec exec = Cpu(threads);
          exec.precision = precision;
          Strided out(count, kCols);
          op(exec, x.view().Rows(begin, count), w.view(), bias.data(), out.view());
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
    op(Cpu(2), x.view(), w.view(), nullptr, a.view());
    op(Cpu(2), std::as_const(reversed).view(), w.view(), nullptr, b.view());
    for (int64_t r = 0; r < 50; ++r) {
      EXPECT_TRUE(SameBits(a.view().Row(r), b.view().Row(49 - r), 45)) << "row " << r;
    }
  }
}

// Integers and their sums are exact in every order and dtype.
TEST_F(LinearTest, IntegersAreExact) {
  Random random(13);
  Strided x(9, 600);
  Weights w(random, DType::kBF16, 37, 600);
  for (int64_t r = 0; r < 9; ++r) {
    for (int64_t k = 0; k < 600; ++k) x.view().Row(r)[k] = std::floor(random.Uniform(-8, 9));
  }
  for (int64_t i = 0; i < 37 * 600; ++i) w.Set(i, std::floor(random.Uniform(-8, 9)));
  Strided expected(9, 37);
  Linear(kReference, std::as_const(x).view(), w.view(), nullptr, expected.view());
  for (const Operator op : kOperators) {
    Strided out(9, 37);
    op(Cpu(2), std::as_const(x).view(), w.view(), nullptr, out.view());
    ExpectSameBits(out.view(), expected.view());
  }
}

TEST_F(LinearTest, NoRowsIsNoWork) {
  Random random(14);
  const Weights w(random, DType::kF32, 4, 4);
  Strided x(0, 4), out(0, 4);
  for (const Operator op : kOperators) op(Cpu(), x.view(), w.view(), nullptr, out.view());
}

TEST_F(LinearTest, WrongShapesAreBugs) {
  Random random(15);
  const Weights w(random, DType::kF32, 4, 6);
  Strided x(2, 5), out(2, 4);
  EXPECT_THROW(Linear(Cpu(), x.view(), w.view(), nullptr, out.view()), Error);
}

}  // namespace
}  // namespace pith
