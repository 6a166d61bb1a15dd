// Engine::MeasureTogether and scored cases of Engine::Measure: a batch is divided without a rest
// being lost, the counts are those of one device, and nobody waits for a device that has stopped.
// Several engines on the device under test stand for several devices.

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "engine/bench_grid.h"
#include "ops/backends.h"
#include "pith/bench.h"
#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;

TEST(BenchMeeting, NobodyGoesOnBeforeAllHaveCome) {
  constexpr int kMembers = 4;
  BenchMeeting meeting(kMembers);
  std::atomic<int> came = 0;
  const auto member = [&] {
    for (int round = 1; round <= 50; ++round) {
      ++came;
      meeting.Arrive();
      EXPECT_GE(came, kMembers * round);
      meeting.Arrive();
    }
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < kMembers; ++i) threads.emplace_back(member);
}

TEST(BenchMeeting, WhoeverWaitsIsLetGoByOneThatLeaves) {
  BenchMeeting meeting(2);
  ErrorCode code = ErrorCode::kInternal;
  {
    const std::jthread waiting([&] {
      try {
        meeting.Arrive();
      } catch (const Error& error) {
        code = error.code();
      }
    });
    meeting.Leave();
  }
  EXPECT_EQ(code, ErrorCode::kCancelled);
  EXPECT_THROW(meeting.Arrive(), Error);
}

TEST(BenchPart, SharesAreEvenAndWhole) {
  for (const int64_t batch : {1, 2, 5, 16, 17}) {
    for (const int64_t count : {1, 2, 3, 8}) {
      int64_t next = 0;
      for (int64_t i = 0; i < count; ++i) {
        const BenchPart part{.index = i, .count = count};
        EXPECT_EQ(part.First(batch), next);
        EXPECT_TRUE(part.Batch(batch) == batch / count || part.Batch(batch) == batch / count + 1);
        next += part.Batch(batch);
      }
      EXPECT_EQ(next, batch) << count << " parts";
    }
  }
}

class BenchTogether : public testing::BothKinds {
 protected:
  BenchTogether() {
    for (int i = 0; i < 3; ++i) engines_.push_back(testing::LoadTiny({.mamba2 = GetParam()}));
  }
  BenchCase Case(const std::string& reduce, int64_t prompt, int64_t batch, int64_t decode) const {
    return {
        .reduction = engine_.Compile(reduce), .prompt = prompt, .batch = batch, .decode = decode};
  }

  std::vector<Engine> engines_;
};

TEST_P(BenchTogether, CountsAreThoseOfOneDevice) {
  std::vector<BenchCase> cases = {Case("none", 40, 5, 2), Case("utrc@20%", 60, 4, 0),
                                  Case("none", 40, 1, 2),  // two devices only keep company
                                  Case("skim:window=32,chunk=16", 120, 3, 1)};
  cases.push_back(Case("utrc@30%", 50, 7, 0));
  cases.back().score = true;
  const BenchOptions options{.repeats = 2, .rates = false};
  const BenchReport one = engine_.Measure(cases, options);
  const BenchReport three = Engine::MeasureTogether(engines_, cases, options);
  EXPECT_TRUE(three.complete);
  ASSERT_EQ(three.rows.size(), cases.size());
  for (size_t c = 0; c < cases.size(); ++c) {
    SCOPED_TRACE(cases[c].reduction.text());
    const BenchRow& row = three.rows[c];
    EXPECT_EQ(row.batch, cases[c].batch);
    EXPECT_EQ(row.rows_left, one.rows[c].rows_left);
    EXPECT_NEAR(row.realised, one.rows[c].realised, 1e-12);
    EXPECT_NEAR(row.prefill_gflop / one.rows[c].prefill_gflop, 1, 1e-12);
    EXPECT_GT(row.step_gbytes, one.rows[c].step_gbytes);  // weights are read by each
    EXPECT_EQ(row.prefill_ms.size(), 2u);
    EXPECT_EQ(row.decode_ms.size(), cases[c].decode > 0 ? 2u : 0u);
    EXPECT_GT(row.PrefillMs(), 0);
  }
}

TEST_P(BenchTogether, AnErrorOfOneEndsAll) {
  std::vector<Engine> engines;
  engines.push_back(testing::LoadTiny({.mamba2 = GetParam()}));
  engines.push_back(testing::LoadTiny({.mamba2 = !GetParam()}));  // refuses the reduction
  const BenchCase what = Case("utrc@20%", 40, 2, 1);
  EXPECT_NE(ErrorOf([&] {
              Engine::MeasureTogether(engines, {&what, 1}, {.repeats = 1, .rates = false});
            }).find("got one compiled for another model"),
            std::string::npos);
  EXPECT_NE(ErrorOf([&] {
              Engine::MeasureTogether({}, {&what, 1}, {});
            }).find("engines: got none"),
            std::string::npos);
}

TEST_P(BenchTogether, CancelledTheyKeepWhatAllHaveDone) {
  const std::vector<BenchCase> cases(3, Case("none", 64, 3, 1));
  std::atomic<bool> cancel = false;
  BenchOptions options{.repeats = 2, .rates = false};
  options.control = {.cancel = &cancel, .progress = [&](double share) { cancel = share >= 0.5; }};
  const BenchReport report = Engine::MeasureTogether(engines_, cases, options);
  EXPECT_FALSE(report.complete);
  EXPECT_GE(report.rows.size(), 1u);
  for (const BenchRow& row : report.rows) {
    EXPECT_GE(row.prefill_ms.size(), 1u);
    EXPECT_EQ(row.batch, 3);
  }
}

TEST_P(BenchTogether, ScoringKeepsFewStates) {
  const int64_t batch = 300, prompt = 40;  // more tokens than are scored at once
  BenchCase what = Case("utrc@20%", prompt, batch, 0);
  what.score = true;
  const BenchReport report = engine_.Measure({&what, 1}, {.repeats = 1, .rates = false});
  const BenchRow& row = report.rows[0];
  EXPECT_TRUE(row.score);
  const PlanReport plan = engine_.Plan(prompt, what.reduction);
  EXPECT_NEAR(row.realised, plan.realised, 1e-12);
  EXPECT_EQ(row.rows_left, batch * plan.sites.back().out);
  EXPECT_GT(row.memory.states, 0);
  EXPECT_LT(row.memory.states, batch * engine_.info().state_bytes);
  EXPECT_GE(row.memory.peak, row.memory.weights);
  what.decode = 1;
  EXPECT_NE(ErrorOf([&] {
              engine_.Measure({&what, 1}, {});
            }).find("decode: got 1, expected 0"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Kinds, BenchTogether, ::testing::Bool(), testing::KindName);

TEST(DevicesOf, NamesEveryGpu) {
  EXPECT_EQ(DevicesOf("cpu"), std::vector<std::string>{"cpu"});
  EXPECT_EQ(DevicesOf("cuda:3"), std::vector<std::string>{"cuda:3"});
  const std::vector<std::string> all = DevicesOf("cuda:all");
  const int count = CudaDevices();
  ASSERT_EQ(all.size(), count > 0 ? static_cast<size_t>(count) : 1u);
  EXPECT_EQ(all[0], count > 0 ? "cuda:0" : "cuda");
  EXPECT_NE(ErrorOf([] {
              Engine::FromShape("mamba-130m", {.device = "cuda:all"});
            }).find("device: got 'cuda:all', expected one device here"),
            std::string::npos);
}

}  // namespace
}  // namespace pith
