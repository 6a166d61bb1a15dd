// The parallel loop: each index once for any number of threads, and an exception reaches the caller
// instead of ending the process.

#include "core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"

namespace pith {
namespace {

TEST(ParallelFor, EveryIndexOnce) {
  for (const int threads : {0, 1, 2, 3, 8}) {
    for (const int64_t n : {0, 1, 2, 3, 7, 8, 9, 1000}) {
      std::vector<std::atomic<int>> calls(n);
      ParallelFor(threads, n, [&](int64_t i) { calls.at(i) += 1; });
      for (const auto& count : calls) ASSERT_EQ(count, 1) << threads << " threads, n = " << n;
    }
  }
}

TEST(ParallelFor, RethrowsTheException) {
  for (const int threads : {1, 2, 5}) {
    for (const int64_t bad : {0, 13, 99}) {
      try {
        ParallelFor(threads, 100, [&](int64_t i) {
          if (i == bad) Throw(ErrorCode::kCancelled, "index ", i);
        });
        ADD_FAILURE() << "no exception";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kCancelled);
        EXPECT_EQ(error.what(), "index " + std::to_string(bad));
      }
    }
  }
}

TEST(ParallelFor, ThrowsOneOfMany) {
  for (const int threads : {1, 4}) {
    EXPECT_THROW(ParallelFor(threads, 50,
                             [](int64_t i) {
                               throw Error(ErrorCode::kIo, "x");
                               (void)i;
                             }),
                 Error);
  }
}

}  // namespace
}  // namespace pith
