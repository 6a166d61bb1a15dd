// Slots: a taken slot is empty whatever stood there before, a fork is a copy that goes its own way,
// and memory is that of the layout.
#include "model/state_pool.h"

#include <gtest/gtest.h>

#include <vector>

#include "model/prefill.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Kind;
using testing::MakeModel;
using testing::RandomIds;

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
  EXPECT_EQ(pool.Download(first.slot), zeros);
  Read(pool, first, RandomIds(20, 97, 1));
  EXPECT_NE(pool.Download(first.slot), zeros);
  pool.Free(first.slot);
  EXPECT_EQ(pool.free_slots(), 2);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(pool.Download(pool.Take()), zeros);
  EXPECT_THROW(pool.Take(), Error);
}

TEST_P(Pools, AForkGoesItsOwnWay) {
  StatePool pool(model_, exec_, 3);
  StatePool other(model_, exec_, 1);
  Sequence text{.slot = pool.Take()};
  Read(pool, text, RandomIds(33, 97, 2));
  const std::vector<float> before = pool.Download(text.slot);
  Sequence fork{.slot = pool.Take(), .tokens = text.tokens};
  Sequence far{.slot = other.Take(), .tokens = text.tokens};
  pool.Copy(text.slot, fork.slot);
  other.CopyFrom(pool, text.slot, far.slot);
  const std::vector<int32_t> more = RandomIds(7, 97, 3);
  Read(pool, fork, more);
  EXPECT_EQ(pool.Download(text.slot), before);
  Read(other, far, more);
  EXPECT_EQ(other.Download(far.slot), pool.Download(fork.slot));
  Read(pool, text, more);
  EXPECT_EQ(pool.Download(text.slot), pool.Download(fork.slot));
}

INSTANTIATE_TEST_SUITE_P(Kinds, Pools, ::testing::Values(Kind::kMamba1, Kind::kMamba2),
                         [](const auto& info) { return testing::KindName(info.param); });

}  // namespace
}  // namespace pith
