// The parallel loop: each index once for any number of threads and callers, and an exception
// reaches the caller instead of ending the process.

#include "core/parallel.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
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

TEST(ParallelFor, LoopsInsideOfLoops) {
  std::vector<std::atomic<int>> calls(60);
  ParallelFor(4, 6, [&](int64_t i) {
    const std::thread::id here = std::this_thread::get_id();
    ParallelFor(4, 10, [&](int64_t j) {
      calls.at(10 * i + j) += std::this_thread::get_id() == here ? 1 : 100;
    });
  });
  for (const auto& count : calls) ASSERT_EQ(count, 1);
}

// The piece that stays needs a second thread to let it go: the loop really runs on several.
TEST(ParallelFor, PiecesRunAtOnce) {
  std::atomic<int> arrived{0};
  ParallelFor(2, 2, [&](int64_t) {
    arrived += 1;
    arrived.notify_all();
    for (int seen = arrived; seen < 2; seen = arrived) arrived.wait(seen);
  });
  EXPECT_EQ(arrived, 2);
}

// Callers of their own threads share the pool: each loop whole, with its own exception.
TEST(ParallelFor, ManyCallersAtOnce) {
  constexpr int kCallers = 8;
  std::vector<std::string> wrong(kCallers);
  {
    std::vector<std::jthread> callers;
    for (int c = 0; c < kCallers; ++c) {
      callers.emplace_back([c, &wrong] {
        for (int round = 0; round < 300; ++round) {
          const int64_t n = 2 + (c * 31 + round) % 50;
          std::vector<int64_t> out(n, -1);
          ParallelFor(2 + c % 3, n, [&](int64_t i) { out[i] = i * c; });
          for (int64_t i = 0; i < n; ++i) {
            if (out[i] != i * c) wrong[c] = "a piece is missing";
          }
          try {
            ParallelFor(3, n, [&](int64_t) { Throw(ErrorCode::kIo, c); });
            wrong[c] = "no exception";
          } catch (const Error& error) {
            if (error.what() != std::to_string(c)) wrong[c] = "another caller's exception";
          }
        }
      });
    }
  }
  for (const std::string& what : wrong) EXPECT_EQ(what, "");
}

// Helpers that do not get a processor are not waited for: with each of them asleep in a loop of
// another caller, a loop still ends.
TEST(ParallelFor, WaitsForNobodyWhoHasNotBegun) {
  std::atomic<bool> go{false};
  std::atomic<int> stuck{0};
  std::jthread other([&] {
    ParallelFor(2, 2, [&](int64_t) {
      stuck += 1;
      stuck.notify_all();
      go.wait(false);
    });
  });
  for (int seen = stuck; seen < 2; seen = stuck) stuck.wait(seen);
  std::atomic<int> done{0};
  ParallelFor(2, 100, [&](int64_t) { done += 1; });
  EXPECT_EQ(done, 100);
  go = true;
  go.notify_all();
}

// A child has its caller's thread alone.
TEST(ParallelFor, WorksAfterFork) {
  ParallelFor(4, 100, [](int64_t) {});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::atomic<int> done{0};
    ParallelFor(4, 100, [&](int64_t) { done += 1; });
    _exit(done == 100 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace pith
