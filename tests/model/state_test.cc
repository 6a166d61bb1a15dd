// State files: what was saved comes back to the bit; damage of any byte and states of another model
// are refused (docs/formats/state.md).

#include "model/state.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/file.h"
#include "pith/error.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

class StateFile : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::vector<float> values =
        testing::RandomWeights(7).Vector(state_.values().size(), 0, 1);
    std::copy(values.begin(), values.end(), state_.values().begin());
    state_.AddTokens(1234);
    state_.pending = 5;
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void Write(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), bytes.size());
  }

  ModelConfig config_ = testing::MakeConfig({.n_layer = 1});
  SequenceState state_{config_};
  std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) / "pith_state_test.state";
};

TEST_F(StateFile, RoundTrip) {
  SaveState(state_, 42, path_);
  const SequenceState loaded = LoadState(config_, 42, path_);
  EXPECT_EQ(loaded.values(), state_.values());
  EXPECT_EQ(loaded.tokens(), 1234);
  EXPECT_EQ(loaded.pending, 5);
}

TEST_F(StateFile, RefusesAnotherModel) {
  SaveState(state_, 42, path_);
  EXPECT_THROW(LoadState(config_, 43, path_), Error);
  EXPECT_THROW(LoadState(testing::MakeConfig({.n_layer = 2}), 42, path_), Error);
}

TEST_F(StateFile, RefusesDamage) {
  SaveState(state_, 42, path_);
  const std::string good = ReadFile(path_);
  for (size_t i = 0; i < good.size(); i += i < 64 ? 1 : 97) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    Write(bad);
    EXPECT_THROW(LoadState(config_, 42, path_), Error) << "flipped byte " << i;
  }
  for (const size_t size : {size_t{0}, size_t{7}, size_t{47}, good.size() / 2, good.size() - 1}) {
    Write(good.substr(0, size));
    EXPECT_THROW(LoadState(config_, 42, path_), Error) << "truncated to " << size;
  }
  Write(good + "x");
  EXPECT_THROW(LoadState(config_, 42, path_), Error);
}

TEST_F(StateFile, UnwritablePathKeepsNothingBehind) {
  EXPECT_THROW(SaveState(state_, 42, "/nonexistent-directory/x.state"), Error);
}

}  // namespace
}  // namespace pith
