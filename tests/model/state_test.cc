// State files: what was saved comes back to the bit; damage of any byte and states of another model
// are refused (docs/formats/state.md).

#include "model/state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "core/checksum.h"
#include "core/file.h"
#include "pith/error.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Kind;

class StateFile : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    float next = 0;
    const auto fill = [&](std::vector<float>& values, int64_t count) {
      values.resize(static_cast<size_t>(count));
      for (float& value : values) value = std::sin(++next);
    };
    fill(values_, model_.state_layout().floats());
    slots_.pool.Upload(values_, sequence_.slot);
    for (const StateSize& size : model_.state_layout().layers()) {
      if (!size.grows()) continue;
      KvRows& kv = kv_.emplace_back();  // 67 rows, a page and a piece; then 68
      for (int32_t r = 0; r < 66 + std::ssize(kv_); ++r) kv.positions.push_back(2 * r);
      fill(kv.keys, kv.rows() * size.kv.width());
      fill(kv.values, kv.rows() * size.kv.width());
    }
    slots_.pool.UploadKv(kv_, sequence_.slot);
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

  Model Make(int64_t n_layer, uint64_t seed = 1) const {
    return testing::MakeModel({.kind = GetParam(), .n_layer = n_layer}, seed);
  }
  const Model model_ = Make(2);
  testing::Slots slots_{model_, ExecOn(testing::DeviceUnderTest()), 2};
  Sequence& sequence_ = slots_.sequences[0];
  std::vector<float> values_;
  std::vector<KvRows> kv_;
  std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) / "pith_state_test.state";
};

TEST_P(StateFile, RoundTrip) {
  Save();
  Sequence& loaded = slots_.sequences[1];
  loaded.pending = 3;
  LoadState(model_, path_, slots_.pool, loaded);
  EXPECT_EQ(slots_.pool.Download(loaded.slot), values_);
  EXPECT_EQ(slots_.pool.DownloadKv(loaded.slot), kv_);
  EXPECT_EQ(loaded.tokens, 1234);
  EXPECT_EQ(loaded.pending, 5);
}

TEST_P(StateFile, RefusesAnotherModel) {
  Save();
  EXPECT_NO_THROW(Load(Make(2)));
  EXPECT_THROW(Load(Make(2, 2)), Error);
  EXPECT_THROW(Load(Make(3)), Error);
}

TEST_P(StateFile, RefusesDamage) {
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

TEST_P(StateFile, UnwritablePathKeepsNothingBehind) {
  EXPECT_THROW(SaveState(model_, slots_.pool, sequence_, "/nonexistent-directory/x.state"), Error);
}

// What the checksum does not see: a file that somebody wrote with a right one.
TEST_P(StateFile, RefusesRowsThatCannotBe) {
  if (kv_.empty()) GTEST_SKIP() << "no layer grows";
  Save();
  const std::string good = ReadFile(path_);
  const size_t rows_at = 40 + 4 * values_.size();
  const auto refuses = [&](size_t at, auto value, const char* what) {
    std::string bad = good;
    std::memcpy(bad.data() + at, &value, sizeof value);
    Checksum sum;
    sum.Add(std::as_bytes(std::span(bad.data(), bad.size() - 8)));
    const uint64_t crc = sum.value();
    std::memcpy(bad.data() + bad.size() - 8, &crc, 8);
    Write(bad);
    try {
      Load(model_);
      ADD_FAILURE() << what;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    }
  };
  refuses(rows_at, int64_t{1235}, "1235 rows");
  refuses(rows_at, int64_t{-1}, "-1 rows");
  refuses(rows_at, int64_t{1} << 60, "rows");
  refuses(rows_at, int64_t{1200}, "before its 1200 rows");
  refuses(rows_at + 8, int32_t{-5}, "position -5");
  refuses(rows_at + 8, int32_t{1234}, "position 1234");
}

INSTANTIATE_TEST_SUITE_P(Kinds, StateFile,
                         ::testing::Values(Kind::kMamba2, Kind::kTransformer, Kind::kHybrid,
                                           Kind::kShared),
                         [](const auto& info) { return testing::KindName(info.param); });

}  // namespace
}  // namespace pith
