// The decoder: texts that join and leave between steps, with passes in between, get the tokens that
// they get alone, and leave the same states. In a steady state a step allocates nothing.
#include "generate/decode.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "model/prefill.h"
#include "tests/generate/allocations.h"
#include "tests/model/random_model.h"
#include "tests/tokenize/small_tokenizer.h"

namespace pith {
namespace {

using testing::DeviceUnderTest;
using testing::Kind;
using testing::MakeModel;
using testing::RandomIds;

constexpr int64_t kVocab = 258;

struct Written {
  std::vector<int32_t> ids;
  std::string text, finish;
  std::vector<float> state;
  int64_t tokens = 0;
  bool operator==(const Written&) const = default;
};

// A text that is read and continued.
class Writer {
 public:
  Writer(const Model& model, const Exec& exec, const Tokenizer& tokenizer, StatePool& pool,
         int index)
      : pool_(pool),
        prompt_(RandomIds(5 + 11 * index, 256, 50 + index)),
        sequence_{.slot = pool.Take()},
        logits_(model.config().vocab_size) {
    options_.max_tokens = 12 + 9 * index;
    options_.stop_at_end_of_text = false;
    options_.sampling = {
        .greedy = index % 2 == 0, .top_k = 50, .seed = static_cast<uint64_t>(index)};
    if (index % 3 == 2) options_.sampling.repetition_penalty = 1.3;
    Workspace ws;
    const SequenceInput input{prompt_, &sequence_, WantRows::kLast};
    Prefill(model, exec, pool, {&input, 1}, {.ssd_chunk = 16}, ws,
            [&](std::span<const OutputRow>, MatView<const float> normed) {
              DeviceMat<float> logits;
              logits.Resize(exec, 1, std::ssize(logits_));
              model.StepLogits(exec, normed, logits.view());
              DownloadRows(exec, logits.view(), {logits_.data(), 1, std::ssize(logits_)});
            });
    text_ = std::make_unique<Continuation>(tokenizer, std::span<const int32_t>(), options_, prompt_,
                                           kVocab);
  }

  void Join(Decoder& decoder) { decoder.Join(*text_, sequence_, logits_); }
  void Leave(Decoder& decoder) { decoder.Leave(*text_); }
  Written Finish() {
    GenerateResult result = text_->TakeResult();
    return {result.ids, result.text, result.finish, testing::StateOf(pool_, sequence_.slot),
            sequence_.tokens};
  }
  int64_t prompt_tokens() const { return std::ssize(prompt_); }

 private:
  StatePool& pool_;
  const std::vector<int32_t> prompt_;
  Sequence sequence_;
  std::vector<float> logits_;
  GenerateOptions options_;
  std::unique_ptr<Continuation> text_;
};

class Decoding : public ::testing::TestWithParam<Kind> {
 protected:
  Written Alone(int index) {
    StatePool pool(model_, exec_, 1);
    Workspace ws;
    Decoder decoder(model_, exec_, pool, ws);
    Writer writer(model_, exec_, tokenizer_, pool, index);
    writer.Join(decoder);
    while (decoder.active() > 0) decoder.Step();
    return writer.Finish();
  }

  const Model model_ = MakeModel({.kind = GetParam(), .n_layer = 3, .vocab_size = kVocab});
  const Exec exec_ = ExecOn(DeviceUnderTest(), 2);
  const Tokenizer tokenizer_ = Load(SmallTokenizer());
};

TEST_P(Decoding, TextsGetWhatTheyGetAlone) {
  constexpr int kTexts = 6;
  std::vector<Written> alone;
  for (int i = 0; i < kTexts; ++i) {
    alone.push_back(Alone(i));
    EXPECT_EQ(std::ssize(alone[i].ids), 12 + 9 * i);
    EXPECT_EQ(alone[i].finish, "length");
  }
  StatePool pool(model_, exec_, kTexts + 2);
  Workspace ws;
  Decoder decoder(model_, exec_, pool, ws);
  std::vector<std::unique_ptr<Writer>> writers;
  // A long pass takes a turn between steps, in the same workspace.
  const std::vector<int32_t> long_text = RandomIds(300, 256, 9);
  Sequence reading{.slot = pool.Take()};
  const SequenceInput input{long_text, &reading, WantRows::kNone};
  PrefillPass pass(model_, exec_, pool, {&input, 1}, {.rows_per_chunk = 16, .ssd_chunk = 16}, ws);
  for (int step = 0; step < 5 * kTexts || decoder.active() > 0; ++step) {
    if (step % 5 == 0 && std::ssize(writers) < kTexts) {
      writers.push_back(std::make_unique<Writer>(model_, exec_, tokenizer_, pool,
                                                 static_cast<int>(writers.size())));
      writers.back()->Join(decoder);
    }
    if (!pass.done()) pass.Advance(16, nullptr);
    decoder.Step();
  }
  EXPECT_TRUE(pass.done());
  for (int i = 0; i < kTexts; ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(writers[i]->Finish(), alone[i]);
  }
}

TEST_P(Decoding, OneThatLeavesChangesNothingForTheOthers) {
  const Written alone = Alone(3);
  StatePool pool(model_, exec_, 2);
  Workspace ws;
  Decoder decoder(model_, exec_, pool, ws);
  Writer stays(model_, exec_, tokenizer_, pool, 3);
  Writer leaves(model_, exec_, tokenizer_, pool, 5);
  stays.Join(decoder);
  leaves.Join(decoder);
  for (int i = 0; i < 4; ++i) decoder.Step();
  leaves.Leave(decoder);
  EXPECT_EQ(decoder.active(), 1);
  while (decoder.active() > 0) decoder.Step();
  EXPECT_EQ(stays.Finish(), alone);
}

// The first steps grow scratch; after them neither the model, nor the sampler, nor the text's own
// bookkeeping asks for memory. (A piece of text longer than a small string would; ids below 256 are
// single bytes.)
TEST_P(Decoding, ASteadyStepAllocatesNothing) {
  if (testing::DeviceUnderTest() != Device::kCpu) {
    GTEST_SKIP()
        << "counts the host's memory, where the reference has the scratch of each call and "
           "CUDA copies of the ids that it placed";
  }
  if (model_.state_layout().grows()) {
    GTEST_SKIP() << "attention's states grow, a page for each 64 tokens";
  }
  StatePool pool(model_, exec_, 3);
  Workspace ws;
  Decoder decoder(model_, exec_, pool, ws);
  std::vector<std::unique_ptr<Writer>> writers;
  for (int i = 3; i < 6; ++i) {
    writers.push_back(std::make_unique<Writer>(model_, exec_, tokenizer_, pool, i));
    writers.back()->Join(decoder);
  }
  for (int step = 0; step < 8; ++step) decoder.Step();
  testing::TakeAllocations();
  for (int step = 0; step < 20; ++step) decoder.Step();
  EXPECT_EQ(testing::TakeAllocations().count, 0);
  EXPECT_EQ(decoder.active(), 3);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Decoding, ::testing::ValuesIn(testing::kKinds),
                         [](const auto& info) { return testing::KindName(info.param); });

}  // namespace
}  // namespace pith
