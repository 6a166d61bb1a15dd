// State files: what was saved comes back to the bit; damage of any byte and states of another model
// are refused (docs/formats/state.md).

#include "model/state.h"

#include <gtest/gtest.h>

#include <cmath>
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
    for (size_t i = 0; i < values_.size(); ++i) {
      values_[i] = std::sin(static_cast<float>(i));
    }
    slots_.pool.Upload(values_, sequence_.slot);
    sequence_.tokens = 1234;
    sequence_.pending = 5;
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void Write(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), bytes.size());
  }

  void Save() { SaveState(model_, slots_.pool, sequence_, path_); }
  void Load(const Model& model) {
    testing::Slots other(model, ExecOn(testing::DeviceUnderTest()), 1);
    LoadState(model, path_, other.pool, other.sequences[0]);
  }

  const Model model_ = testing::MakeModel({.n_layer = 1});
  testing::Slots slots_{model_, ExecOn(testing::DeviceUnderTest()), 2};
  Sequence& sequence_ = slots_.sequences[0];
  std::vector<float> values_ = std::vector<float>(model_.state_layout().floats());
  std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) / "pith_state_test.state";
};

TEST_F(StateFile, RoundTrip) {
  Save();
  Sequence& loaded = slots_.sequences[1];
  loaded.pending = 3;
  LoadState(model_, path_, slots_.pool, loaded);
  EXPECT_EQ(slots_.State(1), values_);
  EXPECT_EQ(loaded.tokens, 1234);
  EXPECT_EQ(loaded.pending, 5);
}

TEST_F(StateFile, RefusesAnotherModel) {
  Save();
  EXPECT_NO_THROW(Load(testing::MakeModel({.n_layer = 1})));
  EXPECT_THROW(Load(testing::MakeModel({.n_layer = 1}, 2)), Error);
  EXPECT_THROW(Load(testing::MakeModel({.n_layer = 2})), Error);
}

TEST_F(StateFile, RefusesDamage) {
  Save();
  const std::string good = ReadFile(path_);
  for (size_t i = 0; i < good.size(); i += i < 64 ? 1 : 97) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    Write(bad);
    EXPECT_THROW(Load(model_), Error) << "flipped byte " << i;
  }
  for (const size_t size : {size_t{0}, size_t{7}, size_t{47}, good.size() / 2, good.size() - 1}) {
    Write(good.substr(0, size));
    EXPECT_THROW(Load(model_), Error) << "truncated to " << size;
  }
  Write(good + "x");
  EXPECT_THROW(Load(model_), Error);
}

TEST_F(StateFile, UnwritablePathKeepsNothingBehind) {
  EXPECT_THROW(SaveState(model_, slots_.pool, sequence_, "/nonexistent-directory/x.state"), Error);
}

}  // namespace
}  // namespace pith
