// Slots: a taken slot is empty whatever stood there before, a fork is a copy that goes its own way,
// and memory is that of the layout, with pages for what grows.
#include "model/state_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "model/prefill.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Kind;
using testing::MakeModel;
using testing::RandomIds;
using testing::StateOf;

class Pools : public ::testing::TestWithParam<Kind> {
 protected:
  void Read(StatePool& pool, Sequence& sequence, const std::vector<int32_t>& ids) {
    Workspace ws;
    const SequenceInput input{ids, &sequence, WantRows::kNone};
    Prefill(model_, exec_, pool, {&input, 1}, {.ssd_chunk = 16}, ws, nullptr);
  }
  const Model model_ = MakeModel({.kind = GetParam()});
  const Exec exec_ = ExecOn(testing::DeviceUnderTest());
};

TEST_P(Pools, TheLayoutIsTheSumOfTheLayers) {
  int64_t floats = 0;
  for (int64_t l = 0; l < model_.n_layer(); ++l) {
    EXPECT_EQ(model_.state_layout().offset(l), floats);
    floats += model_.layer(l).state_size().fixed;
  }
  EXPECT_EQ(model_.state_layout().floats(), floats);
  const int64_t before = exec_.backend->memory(MemoryUse::kStates).bytes;
  const StatePool pool(model_, exec_, 5);
  EXPECT_EQ(exec_.backend->memory(MemoryUse::kStates).bytes - before, 5 * floats * 4);
}

TEST_P(Pools, ATakenSlotIsEmpty) {
  StatePool pool(model_, exec_, 2);
  Sequence first{.slot = pool.Take()};
  const std::vector<float> zeros(model_.state_layout().floats(), 0.0f);
  EXPECT_EQ(StateOf(pool, first.slot), zeros);
  Read(pool, first, RandomIds(20, 97, 1));
  EXPECT_NE(StateOf(pool, first.slot), zeros);
  pool.Free(first.slot);
  EXPECT_EQ(pool.free_slots(), 2);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(StateOf(pool, pool.Take()), zeros);
  EXPECT_THROW(pool.Take(), Error);
}

// Lengths before, at and behind the end of a page, since forks share full ones.
TEST_P(Pools, AForkGoesItsOwnWay) {
  for (const int64_t length : {33, 64, 130}) {
    SCOPED_TRACE(length);
    StatePool pool(model_, exec_, 3);
    StatePool other(model_, exec_, 1);
    Sequence text{.slot = pool.Take()};
    Read(pool, text, RandomIds(length, 97, 2));
    const std::vector<float> before = StateOf(pool, text.slot);
    Sequence fork{.slot = pool.Take(), .tokens = text.tokens};
    Sequence far{.slot = other.Take(), .tokens = text.tokens};
    pool.Copy(text.slot, fork.slot);
    other.CopyFrom(pool, text.slot, far.slot);
    EXPECT_EQ(StateOf(pool, fork.slot), before);
    Read(pool, text, RandomIds(90, 97, 4));  // other rows, at the fork's positions
    EXPECT_EQ(StateOf(pool, fork.slot), before);
    const std::vector<int32_t> more = RandomIds(7, 97, 3);
    Read(pool, fork, more);
    Read(other, far, more);
    EXPECT_EQ(StateOf(other, far.slot), StateOf(pool, fork.slot));
    pool.Free(text.slot);  // what the forks share stays
    Sequence again{.slot = pool.Take()};
    Read(pool, again, RandomIds(length, 97, 2));
    EXPECT_EQ(StateOf(pool, again.slot), before);
    Read(pool, again, more);
    EXPECT_EQ(StateOf(other, far.slot), StateOf(pool, again.slot));
  }
}

// Each layer takes whole pages for the rows that it holds; forks take one more where their last one
// is not full; a slot that is freed gives back what nobody shares.
TEST_P(Pools, PagesAreTakenAsTextsGrowAndGivenBack) {
  int64_t page = 0;
  for (int64_t l = 0; l < model_.n_layer(); ++l) page += model_.layer(l).state_size().page_bytes();
  EXPECT_EQ(page > 0, GetParam() != Kind::kMamba1 && GetParam() != Kind::kMamba2);
  EXPECT_EQ(model_.state_layout().bytes_per_token(), (page + kKvPageRows - 1) / kKvPageRows);
  StatePool pool(model_, exec_, 3);
  const int64_t before = exec_.backend->memory(MemoryUse::kStates).bytes;
  const auto taken = [&] { return exec_.backend->memory(MemoryUse::kStates).bytes - before; };
  Sequence text{.slot = pool.Take()};
  Read(pool, text, RandomIds(64, 97, 1));
  EXPECT_EQ(taken(), page);
  const int32_t full = pool.Take();
  pool.Copy(text.slot, full);
  EXPECT_EQ(taken(), page);
  Read(pool, text, RandomIds(1, 97, 2));
  EXPECT_EQ(taken(), 2 * page);
  const int32_t fork = pool.Take();
  pool.Copy(text.slot, fork);
  EXPECT_EQ(taken(), 3 * page);
  pool.Free(text.slot);
  EXPECT_EQ(taken(), 2 * page);
  pool.Free(fork);
  EXPECT_EQ(taken(), page);
  pool.Free(full);
  EXPECT_EQ(taken(), 0);
}

// After a reduction layers hold different numbers of rows, and each its own positions.
TEST_P(Pools, LayersGrowByTheRowsThatReachThem) {
  StatePool pool(model_, exec_, 1);
  Sequence text{.slot = pool.Take()};
  Workspace ws;
  const std::vector<int32_t> ids = RandomIds(100, 97, 5);
  const SequenceInput input{ids, &text, WantRows::kNone};
  const CompiledReduction reduction = testing::Compile("random:keep=0.7,sites=1", model_);
  Prefill(model_, exec_, pool, {&input, 1}, {.reduction = &reduction, .ssd_chunk = 16}, ws,
          nullptr);
  std::vector<int64_t> rows;
  for (const KvRows& kv : pool.DownloadKv(text.slot)) {
    rows.push_back(kv.rows());
    EXPECT_TRUE(std::ranges::is_sorted(kv.positions));
    EXPECT_EQ(kv.positions.back(), 99);
  }
  std::vector<int64_t> expected;
  if (GetParam() == Kind::kTransformer) expected = {100, 100, 70};
  if (GetParam() == Kind::kHybrid) expected = {100, 70};
  if (GetParam() == Kind::kShared) expected = {100, 70, 70};
  EXPECT_EQ(rows, expected);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Pools, ::testing::ValuesIn(testing::kKinds),
                         [](const auto& info) { return testing::KindName(info.param); });

}  // namespace
}  // namespace pith
