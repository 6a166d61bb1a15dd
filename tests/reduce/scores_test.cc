// Importance from the scan and from tokens against the formulas in their headers, evaluated here
// from whole states: the write of a row is followed through the recurrence of all later rows.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "core/error.h"
#include "ops/scan_importance.h"
#include "reduce/unigrams.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

struct Scan {
  ScanShape shape;
  int64_t rows = 0;
  testing::Shared<float> a, data;

  Scan(const ScanShape& s, int64_t n, uint64_t seed) : shape(s), rows(n) {
    std::mt19937_64 rng(seed);
    std::uniform_real_distribution<float> size(0.05f, 1), any(-1, 1);
    a.resize(shape.units * (shape.a_per_state ? shape.d_state : 1));
    for (float& v : a) v = -size(rng);
    data.resize(n * shape.row_width());
    for (int64_t i = 0; i < static_cast<int64_t>(data.size()); ++i) {
      data[i] = i % shape.row_width() < 2 * shape.units ? size(rng) : any(rng);
    }
  }
  float Delta(int64_t t, int64_t u) const { return data[t * shape.row_width() + u]; }
  float X(int64_t t, int64_t u) const { return data[t * shape.row_width() + shape.units + u]; }
  float B(int64_t t, int64_t u, int64_t n) const {
    const int64_t group = u / (shape.units / shape.groups);
    return data[t * shape.row_width() + 2 * shape.units + group * shape.d_state + n];
  }
  float C(int64_t t, int64_t u, int64_t n) const {
    const int64_t group = u / (shape.units / shape.groups);
    return data[t * shape.row_width() + 2 * shape.units + shape.bc_width() + group * shape.d_state +
                n];
  }
  double A(int64_t u, int64_t n) const { return a[shape.a_per_state ? n * shape.units + u : u]; }

  double Expected(ImportanceKind kind, int64_t t) const {
    double sum = 0;
    for (int64_t u = 0; u < shape.units; ++u) {
      if (kind == ImportanceKind::kDelta) sum += Delta(t, u) / static_cast<double>(shape.units);
      for (int64_t n = 0; n < shape.d_state; ++n) {
        double state = double{Delta(t, u)} * B(t, u, n);  // times x, whose norm is X
        if (kind != ImportanceKind::kStateWrite) {
          for (int64_t later = t + 1; later < rows; ++later) {
            state *= std::exp(Delta(later, u) * A(u, n));
          }
        }
        if (kind == ImportanceKind::kLastRow) {
          sum += state * C(rows - 1, u, n) / static_cast<double>(shape.units);
        } else if (kind != ImportanceKind::kDelta) {
          sum += state * state * X(t, u) * X(t, u);
        }
      }
    }
    return kind == ImportanceKind::kDelta || kind == ImportanceKind::kLastRow ? sum
                                                                              : std::sqrt(sum);
  }
};

TEST(ScanImportance, EqualsTheFormulasForBothModels) {
  for (const ScanShape& shape : {ScanShape{6, 2, 8, false}, ScanShape{100, 1, 4, true}}) {
    const Scan scan(shape, 20, 7);
    const MatView<const float> rows(scan.data.data(), scan.rows, shape.row_width());
    for (ImportanceKind kind : {ImportanceKind::kDelta, ImportanceKind::kStateWrite,
                                ImportanceKind::kFinalState, ImportanceKind::kLastRow}) {
      testing::Shared<float> one(scan.rows), two(scan.rows);
      ScanImportanceArgs args{.kind = kind,
                              .shape = shape,
                              .a = {scan.a.data(), static_cast<int64_t>(scan.a.size())},
                              .rows = rows,
                              .tail = 4,
                              .importance = {one.data(), scan.rows}};
      ScanImportance(ExecOn(testing::DeviceUnderTest(), 1), args);
      args.importance = {two.data(), scan.rows};
      ScanImportance(ExecOn(testing::DeviceUnderTest(), 3), args);
      EXPECT_EQ(one, two);
      for (int64_t t = 0; t < scan.rows; ++t) {
        // Both sums are in double over at most 400 terms of size at most 1: the one rounding to
        // f32 of a value of at most 20 dominates.
        EXPECT_NEAR(one[t], scan.Expected(kind, t), 20 * 6e-8) << static_cast<int>(kind);
      }
    }
  }
}

TEST(ScanImportance, TailQueryIsTheCosineOfKeysAndMeanQuery) {
  const ScanShape shape{6, 2, 8, false};
  Scan scan(shape, 12, 3);
  for (int64_t n = 0; n < shape.bc_width(); ++n)
    scan.data[2 * shape.units + n] = 0;  // row 0: B = 0
  for (int64_t tail : {0, 1, 4, 99}) {
    testing::Shared<float> scores(12);
    ScanImportance(ExecOn(testing::DeviceUnderTest()),
                   {.kind = ImportanceKind::kTailQuery,
                    .shape = shape,
                    .a = {scan.a.data(), static_cast<int64_t>(scan.a.size())},
                    .rows = {scan.data.data(), 12, shape.row_width()},
                    .tail = tail,
                    .importance = {scores.data(), 12}});
    EXPECT_EQ(scores[0], 0);
    const int64_t count = std::clamp<int64_t>(tail, 1, 12);
    for (int64_t t = 1; t < 12; ++t) {
      double dot = 0, bb = 0, qq = 0;
      for (int64_t u : {0, 3}) {  // one unit of each group
        for (int64_t n = 0; n < shape.d_state; ++n) {
          double q = 0;
          for (int64_t r = 12 - count; r < 12; ++r)
            q += scan.C(r, u, n) / static_cast<double>(count);
          dot += q * scan.B(t, u, n);
          bb += double{scan.B(t, u, n)} * scan.B(t, u, n);
          qq += q * q;
        }
      }
      EXPECT_NEAR(scores[t], dot / std::sqrt(bb * qq), 1e-6);  // one rounding of a value up to 1
    }
  }
}

TEST(Rarity, OfTheContextAndOfATable) {
  const std::vector<int32_t> context = {7, 7, 2, 7, 2, 5, 7, 7};
  const std::vector<int32_t> positions = {1, 4, 5};
  std::vector<float> out(3);
  TokenRarity(nullptr, context, positions, out);
  EXPECT_EQ(out,
            (std::vector<float>{-std::log(5.0f / 8), -std::log(2.0f / 8), -std::log(1.0f / 8)}));
  const Unigrams table({0, 0, 9, 0, 0, 1});  // 6 ids, 10 tokens; id 7 lies beyond
  TokenRarity(&table, context, positions, out);
  for (size_t i = 0; i < 3; ++i) {
    const double count = std::vector<double>{0, 9, 1}[i];
    EXPECT_FLOAT_EQ(out[i], static_cast<float>(-std::log((count + 1) / 16)));
  }
}

TEST(Rarity, TablesAreReadWithChecks) {
  const std::string path = ::testing::TempDir() + "unigrams_test.json";
  std::ofstream(path) << R"({"counts": [3, 0, 1]})";
  EXPECT_FLOAT_EQ(Unigrams::Read(path).Rarity(0), -std::log(4.0f / 7));
  for (const char* text :
       {"{}", R"({"counts": []})", R"({"counts": [0, 0]})", R"({"counts": [-1, 2]})",
        R"({"counts": [1.5]})", R"({"counts": ["1"]})", R"({"counts": 3})", "[1]", "x"}) {
    std::ofstream(path) << text;
    const std::string message = test::MessageOf([&] { Unigrams::Read(path); });
    EXPECT_NE(message.find(path), message.npos) << text;
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace pith
