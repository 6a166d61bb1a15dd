// Copying, adding, clipping and gathering rows: a copy or one rounding, so the bits of the formula.
#include "ops/rows.h"

#include <limits>
#include <numeric>

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

// Sizes around one row, one task of rows and several.
constexpr std::pair<int64_t, int64_t> kShapes[] = {{1, 1},   {3, 7},     {5, 17},
                                                   {65, 33}, {300, 384}, {2, 20000}};

TEST(Rows, CopiedAddedAndClipped) {
  for (const Exec& exec : ReferenceAndTested({1, 3})) {
    for (const auto& [rows, cols] : kShapes) {
      SCOPED_TRACE(StrCat(rows, " × ", cols, ", threads ", exec.threads));
      Random random(static_cast<uint32_t>(rows * 31 + cols));
      const Strided a(random, rows, cols), b(random, rows, cols);
      Strided sum(rows, cols), copy(rows, cols), clip(rows, cols);
      AddRows(exec, a.view(), b.view(), sum.view());
      CopyRows(exec, a.view(), copy.view());
      ClipRows(exec, a.view(), clip.view());
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          ASSERT_EQ(sum.At(r, c), a.At(r, c) + b.At(r, c));
          ASSERT_EQ(copy.At(r, c), a.At(r, c));
          ASSERT_EQ(clip.At(r, c), std::max(0.0f, a.At(r, c)));
        }
      }
      for (const Strided* out : {&sum, &copy, &clip}) out->CheckPadding();
    }
  }
}

TEST(Rows, SumAndClipWorkInPlace) {
  for (const Exec& exec : ReferenceAndTested({1, 3})) {
    Random random(7);
    const Strided a(random, 9, 33), b(random, 9, 33);
    Strided sum(9, 33), left = a, right = b, clip(9, 33), clipped = a;
    AddRows(exec, a.view(), b.view(), sum.view());
    AddRows(exec, left.view(), b.view(), left.view());
    AddRows(exec, a.view(), right.view(), right.view());
    ExpectSameBits(left.view(), sum.view());
    ExpectSameBits(right.view(), sum.view());
    ClipRows(exec, a.view(), clip.view());
    ClipRows(exec, clipped.view(), clipped.view());
    ExpectSameBits(clipped.view(), clip.view());
  }
}

TEST(Rows, Scaled) {
  for (const Exec& exec : ReferenceAndTested({1, 3})) {
    for (const auto& [rows, cols] : kShapes) {
      Random random(static_cast<uint32_t>(rows * 41 + cols));
      const Strided a(random, rows, cols);
      Strided out(rows, cols), in_place = a;
      ScaleRows(exec, a.view(), 0.3F, out.view());
      ScaleRows(exec, in_place.view(), 0.3F, in_place.view());
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          ASSERT_EQ(out.At(r, c), 0.3F * a.At(r, c));
          ASSERT_EQ(in_place.At(r, c), out.At(r, c));
        }
      }
      out.CheckPadding();
    }
  }
}

TEST(Rows, ClipKeepsNaN) {
  for (const Exec& exec : ReferenceAndTested({1, 3})) {
    Strided in(1, 2), out(1, 2);
    in.view().Row(0)[0] = std::numeric_limits<float>::quiet_NaN();
    in.view().Row(0)[1] = -std::numeric_limits<float>::infinity();
    ClipRows(exec, in.view(), out.view());
    EXPECT_TRUE(std::isnan(out.At(0, 0)));
    EXPECT_EQ(out.At(0, 1), 0);
  }
}

TEST(Rows, GatheredInAnyOrderAndAdded) {
  for (const Exec& exec : ReferenceAndTested({1, 3})) {
    for (const auto& [rows, cols] : kShapes) {
      Random random(static_cast<uint32_t>(rows * 37 + cols));
      const Strided a(random, rows, cols), b(random, rows + 2, cols);
      std::vector<int64_t> a_rows, b_rows;
      for (int64_t i = 0; i < rows + 3; ++i) {
        a_rows.push_back((i * 7 + 3) % rows);
        b_rows.push_back((i * 5 + 1) % (rows + 2));
      }
      Strided picked(rows + 3, cols), sum(rows + 3, cols);
      GatherRows(exec, {.a = a.view(), .a_rows = a_rows, .out = picked.view()});
      GatherRows(
          exec,
          {.a = a.view(), .a_rows = a_rows, .b = b.view(), .b_rows = b_rows, .out = sum.view()});
      for (int64_t i = 0; i < rows + 3; ++i) {
        for (int64_t c = 0; c < cols; ++c) {
          ASSERT_EQ(picked.At(i, c), a.At(a_rows[i], c));
          ASSERT_EQ(sum.At(i, c), a.At(a_rows[i], c) + b.At(b_rows[i], c));
        }
      }
      picked.CheckPadding();
      sum.CheckPadding();
    }
  }
}

TEST(Rows, ACallersMistakeIsFound) {
  Strided a(3, 4), out(2, 4), narrow(3, 3);
  const std::vector<int64_t> beyond = {0, 3}, negative = {0, -1}, fine = {0, 2};
  EXPECT_THROW(GatherRows(kReference, {.a = a.view(), .a_rows = beyond, .out = out.view()}), Error);
  EXPECT_THROW(GatherRows(kReference, {.a = a.view(), .a_rows = negative, .out = out.view()}),
               Error);
  EXPECT_THROW(
      GatherRows(
          kReference,
          {.a = a.view(), .a_rows = fine, .b = a.view(), .b_rows = beyond, .out = out.view()}),
      Error);
  EXPECT_THROW(
      GatherRows(kReference, {.a = a.view(), .a_rows = fine, .b = a.view(), .out = out.view()}),
      Error);
  EXPECT_THROW(CopyRows(kReference, a.view(), narrow.view()), Error);
  EXPECT_THROW(AddRows(kReference, a.view(), narrow.view(), a.view()), Error);
}

TEST(Rows, TakenByTheDevicesOwnList) {
  for (const Exec& exec : ReferenceAndTested({1, 3})) {
    for (const int64_t cols : {1, 7, 64, 2560}) {
      for (const int64_t padding : {0, 4, 5}) {
        Random random(static_cast<uint32_t>(cols));
        Strided a(40, cols, padding), b(40, cols, padding);
        for (Strided* m : {&a, &b}) {
          for (int64_t r = 0; r < 40; ++r) {
            for (int64_t c = 0; c < cols; ++c) m->view().Row(r)[c] = random.Uniform(-1, 1);
          }
        }
        const Shared<int32_t> rows = {0, 3, 3, 39, 17};
        Strided taken(5, cols, padding), sums(5, cols, padding), all(40, cols, padding);
        TakeRows(exec, {.a = a.view(), .b = {}, .rows = {rows.data(), 5}, .out = taken.view()});
        TakeRows(exec,
                 {.a = a.view(), .b = b.view(), .rows = {rows.data(), 5}, .out = sums.view()});
        TakeRows(exec, {.a = a.view(), .b = b.view(), .rows = {}, .out = all.view()});
        exec.backend->Synchronize(exec.queue);
        for (int64_t c = 0; c < cols; ++c) {
          for (int64_t r = 0; r < 5; ++r) {
            ASSERT_EQ(taken.At(r, c), a.At(rows[r], c));
            ASSERT_EQ(sums.At(r, c), a.At(rows[r], c) + b.At(rows[r], c));
          }
          for (int64_t r = 0; r < 40; ++r) ASSERT_EQ(all.At(r, c), a.At(r, c) + b.At(r, c));
        }
        for (const Strided* out : {&taken, &sums, &all}) out->CheckPadding();
      }
    }
  }
}

}  // namespace
}  // namespace pith::ops_testing
