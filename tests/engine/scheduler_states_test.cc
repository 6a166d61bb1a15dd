// State files in the scheduler: a text that goes on from one has what a session has that was loaded
// from it, and leaves the same file; what fails frees its place.
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <string>
#include <utility>

#include "core/file.h"
#include "pith/scheduler.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;
using testing::RandomIds;

class SchedulingStates : public testing::BothKinds {
 protected:
  static TextRequest Request(int64_t tokens, uint64_t seed) {
    TextRequest request{.prompt = RandomIds(tokens, seed)};
    request.options.max_tokens = 7;
    request.options.stop_at_end_of_text = false;
    request.options.sampling.seed = seed;
    return request;
  }
  std::filesystem::path Path(const char* name) const { return dir_.path() / name; }
  static TextResult Run(Scheduler& scheduler, TextRequest request) {
    std::promise<TextResult> promise;
    request.on_done = [&](TextResult result) { promise.set_value(std::move(result)); };
    scheduler.Submit({std::move(request)});
    return promise.get_future().get();
  }

 private:
  testing::TempDir dir_;
};

TEST_P(SchedulingStates, ATextGoesOnAsASessionDoes) {
  const std::filesystem::path first = Path("first"), second = Path("second"), own = Path("own");
  for (const char* reduce : {"none", "utrc@20%"}) {
    TextRequest request = Request(90, 1);
    request.options.reduction = engine_.Compile(reduce);
    Session session = engine_.NewSession();
    session.Generate(request.prompt, request.options);
    session.Save(first);
    // Kept states would serve a prompt that begins as this one does, not one that goes on.
    Scheduler scheduler(engine_, {.state_memory = 1 << 24});
    Run(scheduler, Request(200, 2));
    request.save_state = own;
    EXPECT_FALSE(Run(scheduler, request).error);
    EXPECT_EQ(ReadFile(own), ReadFile(first));

    TextRequest more = Request(200, 2);
    session = engine_.LoadSession(first);
    const GenerateResult expected = session.Generate(more.prompt, more.options);
    session.Save(second);
    more.load_state = first;
    more.save_state = own;
    const TextResult got = Run(scheduler, more);
    EXPECT_EQ(got.generated.ids, expected.ids);
    EXPECT_EQ(got.generated.prefill.reused, 0);
    EXPECT_EQ(ReadFile(own), ReadFile(second));
  }
}

TEST_P(SchedulingStates, WhatFailsFreesItsPlace) {
  Scheduler scheduler(engine_, {.max_running = 1});
  TextRequest request = Request(20, 1);
  request.load_state = Path("missing");
  EXPECT_TRUE(Run(scheduler, request).error);
  request.load_state.clear();
  request.save_state = Path("no") / "such" / "directory";
  EXPECT_TRUE(Run(scheduler, request).error);
  request.save_state.clear();
  EXPECT_FALSE(Run(scheduler, request).error);
  request.load_state = Path("missing");
  request.score_prompt = true;
  EXPECT_NE(ErrorOf([&] { scheduler.Submit({request}); }).find("loaded state"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SchedulingStates, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
