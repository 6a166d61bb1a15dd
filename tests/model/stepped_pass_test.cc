// A pass that rests: whatever the budget of each advance, and whatever other passes and steps use
// the workspace and the pool meanwhile, rows, states and plans have the bits of a pass that runs
// through. And a pass that is given up leaves other slots as they are.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "model/prefill.h"
#include "model/step.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Compile;
using testing::DeviceUnderTest;
using testing::Kind;
using testing::MakeModel;
using testing::RandomIds;
using testing::Slots;

struct Output {
  std::vector<int32_t> positions;
  std::vector<float> rows;
  std::vector<float> state;
  double realised = 0;
  bool operator==(const Output&) const = default;
};

// One pass over one text in one slot, which can be advanced.
class Reader {
 public:
  Reader(const Model& model, const Exec& exec, StatePool& pool, Workspace& ws,
         const std::string& reduce, std::vector<int32_t> text)
      : exec_(exec),
        pool_(pool),
        text_(std::move(text)),
        sequence_{.slot = pool.Take()},
        reduction_(Compile(reduce, model)),
        input_{text_, &sequence_, WantRows::kAll},
        pass_(model, exec, pool, {&input_, 1},
              {.reduction = &reduction_, .rows_per_chunk = 32, .ssd_chunk = 16}, ws) {}

  bool done() const { return pass_.done(); }
  void Advance(int64_t rows) {
    pass_.Advance(rows, [&](std::span<const OutputRow> outputs, MatView<const float> normed) {
      const std::vector<float> values = testing::OnHost(exec_, normed);
      for (const OutputRow& row : outputs) output_.positions.push_back(row.position);
      output_.rows.insert(output_.rows.end(), values.begin(), values.end());
    });
  }
  Output Finish() {
    output_.realised = pass_.TakeResult().realised;
    output_.state = testing::StateOf(pool_, sequence_.slot);
    EXPECT_EQ(sequence_.tokens, std::ssize(text_));
    return output_;
  }

 private:
  const Exec exec_;
  StatePool& pool_;
  std::vector<int32_t> text_;
  Sequence sequence_;
  CompiledReduction reduction_;
  SequenceInput input_;
  PrefillPass pass_;
  Output output_;
};

class SteppedPass : public ::testing::TestWithParam<Kind> {
 protected:
  std::vector<std::string> Reductions() const {
    std::vector<std::string> specs = {"none", "utrc:keep=0.8,sites=0+2", "truncate@30%",
                                      "skim:full=0-1,window=20", "skim:full=1+3,window=16"};
    if (GetParam() != Kind::kTransformer) {
      specs.emplace_back("evit:keep=0.7,sites=0+2,importance=delta");
    }
    if (model_.facts().has_horizon()) {
      specs.emplace_back("skim:full=0,window=16,horizon=0.01,chunk=8");
    }
    return specs;
  }
  Output Whole(const std::string& reduce, const std::vector<int32_t>& text) {
    StatePool pool(model_, exec_, 1);
    Workspace ws;
    Reader reader(model_, exec_, pool, ws, reduce, text);
    while (!reader.done()) reader.Advance(1 << 20);
    return reader.Finish();
  }

  const Model model_ = MakeModel({.kind = GetParam(), .n_groups = 2});
  const Exec exec_ = ExecOn(DeviceUnderTest(), 2);
};

TEST_P(SteppedPass, SameBitsForAnyBudget) {
  const std::vector<int32_t> text = RandomIds(150, 97, 5);
  for (const std::string& reduce : Reductions()) {
    const Output whole = Whole(reduce, text);
    EXPECT_EQ(whole.rows.size(), whole.positions.size() * 48);
    for (const int64_t budget : {1, 16, 33, 100}) {
      SCOPED_TRACE(::testing::Message() << reduce << ", " << budget << " rows at a time");
      StatePool pool(model_, exec_, 1);
      Workspace ws;
      Reader reader(model_, exec_, pool, ws, reduce, text);
      int advances = 0;
      for (; !reader.done(); ++advances) reader.Advance(budget);
      EXPECT_EQ(reader.Finish(), whole);
      // It does rest: half of the rows at the least pass the model, a chunk of 32 at a time.
      EXPECT_GE(advances, std::max<int64_t>(1, 75 / (budget + 32)));
      if (budget == 1) {
        EXPECT_GE(advances, 4);
      }
    }
  }
}

TEST_P(SteppedPass, SameBitsWhateverRunsBetween) {
  std::vector<std::vector<int32_t>> texts;
  std::vector<Output> alone;
  const std::vector<std::string> reductions = Reductions();
  for (size_t i = 0; i < reductions.size(); ++i) {
    texts.push_back(RandomIds(40 + 37 * static_cast<int64_t>(i), 97, 20 + i));
    alone.push_back(Whole(reductions[i], texts[i]));
  }
  // One more text takes a step after every advance; alone it steps through.
  const std::vector<int32_t> stepped = RandomIds(200, 97, 77);
  const auto step = [&](StatePool& pool, Sequence& sequence, Workspace& ws, size_t& next) {
    if (next == stepped.size()) return;
    Sequence* sequences[] = {&sequence};
    LayerRows rows;
    DeviceMat<float> logits;
    logits.Resize(exec_, 1, 97);
    Step(model_, exec_, pool, {&stepped[next++], 1}, sequences, ws, rows, logits.view());
  };
  std::vector<float> stepped_alone;
  {
    Slots slots(model_, exec_, 1);
    Workspace ws;
    for (size_t next = 0; next < stepped.size();) {
      step(slots.pool, slots.sequences[0], ws, next);
    }
    stepped_alone = slots.State(0);
  }

  StatePool pool(model_, exec_, std::ssize(texts) + 1);
  Workspace ws;
  Sequence sequence{.slot = pool.Take()};
  size_t next = 0;
  std::vector<Reader> readers;
  readers.reserve(texts.size());
  // Readers join one after the other, and take turns with budgets of their own.
  for (size_t turn = 0; next < stepped.size() || turn < 400; ++turn) {
    if (turn % 3 == 0 && readers.size() < texts.size()) {
      const size_t i = readers.size();
      readers.emplace_back(model_, exec_, pool, ws, reductions[i], texts[i]);
    }
    Reader& reader = readers[turn % readers.size()];
    if (!reader.done()) reader.Advance(1 + static_cast<int64_t>(turn * 7 % 50));
    step(pool, sequence, ws, next);
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    SCOPED_TRACE(reductions[i]);
    ASSERT_TRUE(readers[i].done());
    EXPECT_EQ(readers[i].Finish(), alone[i]);
  }
  EXPECT_EQ(testing::StateOf(pool, sequence.slot), stepped_alone);
}

TEST_P(SteppedPass, GivingOneUpLeavesTheOthers) {
  const std::vector<int32_t> text = RandomIds(150, 97, 6);
  const Output whole = Whole("none", text);
  StatePool pool(model_, exec_, 2);
  Workspace ws;
  Reader kept(model_, exec_, pool, ws, "none", text);
  kept.Advance(32);
  {
    Slots unused(model_, exec_, 1);  // cancelled in the middle
    const CompiledReduction reduction = Compile("utrc:keep=0.8,sites=0", model_);
    std::atomic<bool> cancel = false;
    const SequenceInput input{text, &unused.sequences[0], WantRows::kLast};
    PrefillPass pass(
        model_, exec_, unused.pool, {&input, 1},
        {.reduction = &reduction, .rows_per_chunk = 32, .ssd_chunk = 16, .cancel = &cancel}, ws);
    pass.Advance(1, nullptr);
    cancel = true;
    EXPECT_THROW(pass.Advance(1, nullptr), Error);
    EXPECT_EQ(unused.sequences[0].tokens, 0);
  }
  {
    Reader given_up(model_, exec_, pool, ws, "utrc:keep=0.8,sites=0", text);
    given_up.Advance(1);
  }
  while (!kept.done()) kept.Advance(20);
  EXPECT_EQ(kept.Finish(), whole);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SteppedPass, ::testing::ValuesIn(testing::kKinds),
                         [](const auto& info) { return testing::KindName(info.param); });

}  // namespace
}  // namespace pith
