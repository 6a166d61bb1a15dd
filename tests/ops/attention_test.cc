// WriteKv and Attention against the reference, and the law that a row's bits depend on its query
// and the rows that it sees alone: not on cuts, steps, batch, threads or wanted rows.
//
// Bound: let u = 2⁻²⁴, A the largest of scale · Σ|q||k| and P = Σ softmax |v|, which is the
// reference's result on |v|. A score errs by (head_dim + 4) · u · A; its difference from the
// running maximum, which is at most 2 A, is rounded once, and its exponential errs by 4 u. What the
// sums so far are multiplied by when the maximum grows errs by 4 u for each page, and by u times
// the growth, which is at most 2 A in all. Each of these is a relative error of a weight, the same
// in the numerator and the denominator, so the quotient errs by at most twice that, times P. Adding
// up n rows, page by page, adds n + 2 pages + 8 roundings to either.
//
// A device may round queries, keys, weights and values to 16 bits where products are, with u₁₆ =
// 2⁻⁸ for bf16 and 2⁻¹¹ for f16. A score then errs by (2 u₁₆ + u₁₆²) A more, which changes weights
// by a factor that is at most the exponential of that, and weights and values by u₁₆ each.
#include "ops/attention.h"

#include <algorithm>
#include <numeric>

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

// What tests with a precision run on; where a device computes attention in f32 whatever products
// are, once is enough.
class AttentionTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    if (GetParam() != Precision::kF32 && testing::DeviceUnderTest() != Device::kCuda) {
      GTEST_SKIP() << testing::DeviceName() << " computes attention in f32";
    }
  }
  static std::vector<Exec> Both(std::initializer_list<int> threads = {1}) {
    std::vector<Exec> backends = ReferenceAndTested(threads);
    for (Exec& exec : backends) exec.precision = GetParam();
    return backends;
  }
  static Exec Alone(int threads = 1) { return Both({threads}).back(); }
};

struct Shape {
  int64_t heads = 4, kv_heads = 2, head_dim = 24;
  int64_t window = 0;
  float q_range = 1;

  KvPageLayout layout() const { return {kv_heads, head_dim}; }
  float scale() const { return 1 / std::sqrt(static_cast<float>(head_dim)); }
};

// The pages of some sequences. What is not written stays NaN, of whatever number of rows.
class Pages {
 public:
  Pages(const KvPageLayout& layout, const std::vector<int64_t>& rows) : layout_(layout) {
    for (const int64_t n : rows) {
      const int64_t count = (n + kKvPageRows - 1) / kKvPageRows;
      data_.emplace_back(count * layout.floats(), std::numeric_limits<float>::quiet_NaN());
      lists_.emplace_back();
      for (int64_t p = 0; p < count; ++p) {
        lists_.back().push_back(data_.back().data() + p * layout.floats());
      }
    }
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  KvPages Of(size_t sequence, int64_t rows) const { return {lists_[sequence], rows}; }
  const Shared<float>& data(size_t sequence) const { return data_[sequence]; }

 private:
  KvPageLayout layout_;
  std::vector<Shared<float>> data_;
  std::vector<std::vector<float*>> lists_;
};

// Sequences whose rows all come in one call, packed with a row between them that belongs to none.
struct Case {
  Case(uint32_t seed, std::vector<int64_t> lengths, const Shape& shape)
      : random(seed), lengths(std::move(lengths)), shape(shape) {
    int64_t begin = 0;
    for (const int64_t n : this->lengths) {
      segments.push_back({begin, n});
      begin += n + 1;
    }
    rows = begin;
    q = Strided(random, rows, shape.heads * shape.head_dim, -shape.q_range, shape.q_range);
    k = Strided(random, rows, shape.layout().width());
    v = Strided(random, rows, shape.layout().width());
    positions.resize(rows);
    for (const Segment& s : segments) {
      std::iota(positions.begin() + s.begin, positions.begin() + s.begin + s.count, 0);
    }
  }

  // Positions with gaps, and runs of rows that stand before earlier ones, as skim leaves them.
  void MixPositions() {
    for (const Segment& s : segments) {
      int32_t* const at = positions.data() + s.begin;
      int32_t position = 3;
      for (int64_t i = 0; i < s.count; ++i) {
        at[i] = position += 1 + static_cast<int32_t>(random.Uniform(0, 3));
      }
      if (s.count > 10) std::rotate(at + s.count / 4, at + s.count / 3, at + s.count / 2);
    }
  }

  // Rows [begin, begin + count) of each sequence that `parts` names: written, then attended.
  struct Part {
    size_t sequence;
    int64_t begin, count;
  };
  void RunParts(const Exec& exec, const std::vector<Part>& parts, const Pages& pages,
                Strided& out) const {
    std::vector<int64_t> from;  // rows of this case
    std::vector<Segment> packed;
    std::vector<KvPages> kv;
    for (const Part& part : parts) {
      packed.push_back({static_cast<int64_t>(from.size()), part.count});
      kv.push_back(pages.Of(part.sequence, part.begin + part.count));
      for (int64_t i = 0; i < part.count; ++i) {
        from.push_back(segments[part.sequence].begin + part.begin + i);
      }
    }
    const auto count = static_cast<int64_t>(from.size());
    Strided q_part(count, q.view().cols), k_part(count, k.view().cols),
        v_part(count, k.view().cols);
    Strided result(count, q.view().cols);
    std::vector<int32_t> at;
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(q.view().Row(from[i]), q.view().cols, q_part.view().Row(i));
      std::copy_n(k.view().Row(from[i]), k.view().cols, k_part.view().Row(i));
      std::copy_n(v.view().Row(from[i]), v.view().cols, v_part.view().Row(i));
      at.push_back(positions[from[i]]);
    }
    WriteKv(exec, {.layout = shape.layout(),
                   .k = k_part.view(),
                   .v = v_part.view(),
                   .positions = at,
                   .segments = packed,
                   .kv = kv});
    Attend(exec, q_part, at, packed, kv, {}, result);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(result.view().Row(i), q.view().cols, out.view().Row(from[i]));
    }
  }

  void Attend(const Exec& exec, const Strided& queries, std::span<const int32_t> at,
              std::span<const Segment> over, std::span<const KvPages> kv,
              std::span<const int64_t> wanted, Strided& out) const {
    Attention(exec, {.layout = shape.layout(),
                     .n_heads = shape.heads,
                     .scale = shape.scale(),
                     .window = shape.window,
                     .q = queries.view(),
                     .positions = at,
                     .segments = over,
                     .kv = kv,
                     .wanted = wanted,
                     .out = out.view()});
  }

  std::vector<KvPages> AllPages(const Pages& pages) const {
    std::vector<KvPages> kv;
    for (size_t s = 0; s < lengths.size(); ++s) kv.push_back(pages.Of(s, lengths[s]));
    return kv;
  }

  void Write(const Exec& exec, const Pages& pages) const {
    const std::vector<KvPages> kv = AllPages(pages);
    WriteKv(exec, {.layout = shape.layout(),
                   .k = k.view(),
                   .v = v.view(),
                   .positions = positions,
                   .segments = segments,
                   .kv = kv});
  }

  // All rows in one call. Rows of no segment keep 7.
  Strided Run(const Exec& exec) const {
    const Pages pages(shape.layout(), lengths);
    Write(exec, pages);
    Strided out(rows, q.view().cols);
    for (int64_t r = 0; r < rows; ++r) std::fill_n(out.view().Row(r), out.view().cols, 7.0f);
    Attend(exec, q, positions, segments, AllPages(pages), {}, out);
    exec.backend->Synchronize(exec.queue);
    return out;
  }

  Random random;
  std::vector<int64_t> lengths;
  Shape shape;
  std::vector<Segment> segments;
  int64_t rows = 0;
  Strided q = {0, 0}, k = {0, 0}, v = {0, 0};
  std::vector<int32_t> positions;
};

void Compare(Precision precision, std::vector<int64_t> lengths, const Shape& shape,
             bool mixed = false) {
  const auto seed = static_cast<uint32_t>(lengths[0] * 31 + shape.head_dim * 7 + shape.heads);
  SCOPED_TRACE(StrCat("seed ", seed, ", length ", lengths[0], ", heads ", shape.heads, " / ",
                      shape.kv_heads, ", head_dim ", shape.head_dim, ", window ", shape.window,
                      mixed ? ", mixed positions" : ""));
  Case c(seed, std::move(lengths), shape);
  if (mixed) c.MixPositions();
  Case magnitudes = c;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t i = 0; i < c.v.view().cols; ++i) {
      float& value = magnitudes.v.view().Row(r)[i];
      value = std::abs(value);
    }
  }
  const Strided expected = c.Run(kReference), bound = magnitudes.Run(kReference);
  const double n = static_cast<double>(*std::max_element(c.lengths.begin(), c.lengths.end()));
  const double pages = n / kKvPageRows + 1;
  const double largest = shape.scale() * static_cast<double>(shape.head_dim) * shape.q_range;
  const double weight = (static_cast<double>(shape.head_dim) + 8) * largest + 4 * pages + 8;
  double factor = (2 * weight + 2 * (n + 2 * pages + 8)) * kRounding;
  if (precision != Precision::kF32) {
    const double u = precision == Precision::kBF16 ? 0x1p-8 : 0x1p-11;
    factor += 2 * std::expm1((2 + u) * u * largest) + 2 * u;
  }
  Exec exec = Tested(2);
  exec.precision = precision;
  const Strided out = c.Run(exec);
  // 1e-36: exponentials below 2⁻¹²⁶ may be 0.
  ExpectNear(out, expected, [&](int64_t r, int64_t i) { return factor * bound.At(r, i) + 1e-36; });
}

TEST_P(AttentionTest, AgreesWithReferenceOnEveryLength) {
  for (const int64_t rows : kSizes) {
    Compare(GetParam(), {rows}, {.head_dim = 16});
    Compare(GetParam(), {rows}, {.head_dim = 16}, true);
    Compare(GetParam(), {rows}, {.head_dim = 16, .window = 20}, true);
  }
}

TEST_P(AttentionTest, AgreesWithReferenceOnEveryHeadDim) {
  for (const int64_t head_dim : kSizes)
    Compare(GetParam(), {70}, {.heads = 2, .head_dim = head_dim});
  for (const int64_t head_dim : {56, 80, 96, 128}) {
    Compare(GetParam(), {70}, {.heads = 2, .head_dim = head_dim});
  }
  Compare(GetParam(), {70}, {.heads = 2, .head_dim = 600});
}

TEST_P(AttentionTest, AgreesWithReferenceOnGroupsAndSegments) {
  for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {6, 6}, {6, 3}, {6, 1}, {130, 1}}) {
    Compare(GetParam(), {67, 1, 0, 129, 2}, {.heads = heads, .kv_heads = kv_heads, .head_dim = 20},
            true);
  }
}

// More rows than one sum runs over, and windows that leave whole pages out.
TEST_P(AttentionTest, AgreesWithReferenceOnLongTexts) {
  Compare(GetParam(), {2200, 1030}, {.heads = 2, .kv_heads = 1, .head_dim = 8}, true);
  for (const int64_t window : {1, 63, 64, 65, 1500}) {
    Compare(GetParam(), {2200}, {.heads = 2, .kv_heads = 1, .head_dim = 8, .window = window});
  }
}

// Scores of several hundred: weights underflow, maxima grow a lot, and nothing overflows.
TEST_P(AttentionTest, AgreesWithReferenceOnLargeScores) {
  if (GetParam() == Precision::kF32) {
    Compare(GetParam(), {300}, {.head_dim = 64, .q_range = 300});
    return;
  }
  // 16 bits say nothing about weights here, but that the result lies among the values.
  const Case c(3, {300}, {.head_dim = 64, .q_range = 300});
  const Strided out = c.Run(Alone());
  for (int64_t i = 0; i < out.view().cols; ++i) {
    for (int64_t r = 0; r < 300; ++r) EXPECT_LE(std::abs(out.At(r, i)), 1 + 0x1p-7);
  }
}

// The definition, by plain loops over the rows that were given.
TEST_P(AttentionTest, ReferenceIsTheFormula) {
  for (const int64_t window : {0, 9}) {
    Case c(5, {40, 33}, {.heads = 6, .kv_heads = 2, .head_dim = 10, .window = window});
    c.MixPositions();
    const Strided out = c.Run(kReference);
    for (const Segment& s : c.segments) {
      for (int64_t t = s.begin; t < s.begin + s.count; ++t) {
        for (int64_t i = 0; i < c.q.view().cols; ++i) {
          const int64_t head = i / 10, first = head / 3 * 10;
          double sum = 0, total = 0;
          for (int64_t r = s.begin; r < s.begin + s.count; ++r) {
            const int32_t ahead = c.positions[t] - c.positions[r];
            if (ahead < 0 || (window != 0 && ahead >= window)) continue;
            double dot = 0;
            for (int64_t j = 0; j < 10; ++j) {
              dot += static_cast<double>(c.q.At(t, head * 10 + j)) * c.k.At(r, first + j);
            }
            const double weight = std::exp(dot * c.shape.scale());
            sum += weight * c.v.At(r, first + i % 10);
            total += weight;
          }
          ASSERT_NEAR(out.At(t, i), sum / total, 1e-6) << "row " << t << ", column " << i;
        }
      }
    }
  }
}

// Every backend's pages are the same, and no call touches what is not its own.
TEST_P(AttentionTest, WritesPagesAsTheLayoutSays) {
  for (const Exec& exec : Both({1, 2})) {
    Case c(7, {150, 64, 3}, {.heads = 2, .kv_heads = 2, .head_dim = 5});
    c.MixPositions();
    const KvPageLayout layout = c.shape.layout();
    const Pages pages(layout, c.lengths);
    Strided unused(c.rows, c.q.view().cols);
    c.RunParts(exec, {{0, 0, 70}, {2, 0, 3}}, pages, unused);
    c.RunParts(exec, {{1, 0, 64}, {0, 70, 80}}, pages, unused);
    exec.backend->Synchronize(exec.queue);
    for (size_t s = 0; s < c.lengths.size(); ++s) {
      Shared<float> expected(pages.data(s).size(), std::numeric_limits<float>::quiet_NaN());
      for (int64_t r = 0; r < c.lengths[s]; ++r) {
        const int64_t from = c.segments[s].begin + r, at = r % kKvPageRows;
        float* const page = expected.data() + r / kKvPageRows * layout.floats();
        page[at] = std::bit_cast<float>(c.positions[from]);
        for (int64_t i = 0; i < layout.width(); ++i) {
          page[layout.keys(i / 5) + i % 5 * kKvPageRows + at] = c.k.At(from, i);
          page[layout.values(i / 5) + at * 5 + i % 5] = c.v.At(from, i);
        }
      }
      ExpectSameBits(pages.data(s), expected);
    }
  }
}

// Cut anywhere, down to steps, in any company, by any number of threads.
TEST_P(AttentionTest, BitsDependOnTheTextAlone) {
  for (const int64_t window : {0, 100}) {
    for (const bool gaps : {false, true}) {
      SCOPED_TRACE(StrCat("window ", window, gaps ? ", gaps between positions" : ""));
      Case c(11, {1300, 65, 200}, {.heads = 6, .kv_heads = 2, .head_dim = 24, .window = window});
      if (gaps) c.MixPositions();
      // In order: each query's rows are there when it is, whatever the cuts.
      for (const Segment& s : c.segments) {
        std::sort(c.positions.begin() + s.begin, c.positions.begin() + s.begin + s.count);
      }
      for (const Exec& exec : Both({1, 2, 3})) {
        const Strided whole = c.Run(exec);
        const Pages pages(c.shape.layout(), c.lengths);
        Strided cut = whole;
        for (const Segment& s : c.segments) {
          for (int64_t r = s.begin; r < s.begin + s.count; ++r) {
            std::fill_n(cut.view().Row(r), cut.view().cols, -1.0f);
          }
        }
        c.RunParts(exec, {{2, 0, 130}, {0, 0, 1000}}, pages, cut);
        c.RunParts(exec, {{0, 1000, 17}}, pages, cut);
        c.RunParts(exec, {{1, 0, 64}, {2, 130, 1}, {0, 1017, 250}}, pages, cut);
        for (int64_t i = 1267; i < 1300; ++i) c.RunParts(exec, {{0, i, 1}}, pages, cut);
        c.RunParts(exec, {{1, 64, 1}}, pages, cut);
        for (int64_t i = 131; i < 200; ++i) c.RunParts(exec, {{2, i, 1}}, pages, cut);
        exec.backend->Synchronize(exec.queue);
        ExpectSameBits(cut.view(), whole.view());
      }
    }
  }
}

// Threads, also where one query keeps several busy.
TEST_P(AttentionTest, BitsDoNotDependOnThreads) {
  Case c(13, {5000}, {.heads = 8, .kv_heads = 1, .head_dim = 64});
  c.MixPositions();
  const Pages pages(c.shape.layout(), c.lengths);
  c.Write(Alone(), pages);
  const Segment last = {c.lengths[0] - 1, 1};
  const std::vector<KvPages> kv = c.AllPages(pages);
  Strided one(c.rows, c.q.view().cols);
  c.Attend(Alone(1), c.q, c.positions, std::span(&last, 1), kv, {}, one);
  for (const int threads : {2, 3, 8}) {
    Strided out(c.rows, c.q.view().cols);
    c.Attend(Alone(threads), c.q, c.positions, std::span(&last, 1), kv, {}, out);
    Tested().backend->Synchronize({});
    ExpectSameBits(out.view().Rows(last.begin, 1), one.view().Rows(last.begin, 1));
  }
}

TEST_P(AttentionTest, WantedRowsHaveTheirBits) {
  Case c(17, {200, 70}, {.heads = 6, .kv_heads = 3, .head_dim = 16});
  c.MixPositions();
  for (const Exec& exec : Both({1, 3})) {
    const Strided whole = c.Run(exec);
    const Pages pages(c.shape.layout(), c.lengths);
    c.Write(exec, pages);
    const std::vector<int64_t> wanted = {0, 63, 64, 65, 199, 201, 230, 270};
    Strided out(static_cast<int64_t>(wanted.size()), c.q.view().cols);
    c.Attend(exec, c.q, c.positions, c.segments, c.AllPages(pages), wanted, out);
    exec.backend->Synchronize(exec.queue);
    for (size_t i = 0; i < wanted.size(); ++i) {
      ExpectSameBits(out.view().Rows(static_cast<int64_t>(i), 1), whole.view().Rows(wanted[i], 1));
    }
    out.CheckPadding();
  }
}

// Rows that no query may see change no bit, wherever they stand and however large they are.
TEST_P(AttentionTest, RowsBeyondAreNotSeen) {
  Case c(19, {190}, {.heads = 4, .kv_heads = 2, .head_dim = 32});
  Case other = c;
  for (int64_t r = 0; r < 190; r += 3) {
    c.positions[r] = other.positions[r] = 1000 + static_cast<int32_t>(r);
    for (int64_t i = 0; i < c.k.view().cols; ++i) {
      other.k.view().Row(r)[i] = 1e18f;
      other.v.view().Row(r)[i] = -1e30f;
    }
  }
  for (const Exec& exec : Both()) {
    const Strided a = c.Run(exec), b = other.Run(exec);
    for (int64_t r = 0; r < 190; ++r) {
      if (r % 3 != 0) ExpectSameBits(a.view().Rows(r, 1), b.view().Rows(r, 1));
    }
  }
}

TEST_P(AttentionTest, AQueryThatSeesNothingGivesZero) {
  Case c(23, {66}, {.head_dim = 16});
  for (int64_t r = 0; r < 66; ++r) c.positions[r] = static_cast<int32_t>(r + 50);
  for (const Exec& exec : Both()) {
    const Pages pages(c.shape.layout(), c.lengths);
    c.Write(exec, pages);
    std::vector<int32_t> before(c.positions.size(), 49);
    before[3] = 50;
    Strided out(c.rows, c.q.view().cols);
    c.Attend(exec, c.q, before, c.segments, c.AllPages(pages), {}, out);
    exec.backend->Synchronize(exec.queue);
    const Strided zero = [&] {
      Strided z(1, out.view().cols);
      std::fill_n(z.view().Row(0), z.view().cols, 0.0f);
      return z;
    }();
    for (int64_t r = 0; r < 66; ++r) {
      if (r != 3) ExpectSameBits(out.view().Rows(r, 1), zero.view());
    }
    const double u = GetParam() == Precision::kF32    ? kRounding
                     : GetParam() == Precision::kBF16 ? 0x1p-8
                                                      : 0x1p-11;
    for (int64_t i = 0; i < out.view().cols; ++i) {  // one key: its values, to the last roundings
      EXPECT_NEAR(out.At(3, i), c.v.At(0, i / 32 * 16 + i % 16), 2e-7 + u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, AttentionTest,
                         ::testing::Values(Precision::kF32, Precision::kBF16, Precision::kF16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kF32    ? "f32"
                                              : info.param == Precision::kBF16 ? "bf16"
                                                                               : "f16");
                         });

}  // namespace
}  // namespace pith::ops_testing
