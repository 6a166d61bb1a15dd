// Thresholds for LTMP: on the contexts they were made with, the wanted share goes at every site,
// half of it by merging.
#include "eval/ltmp_calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::RandomIds;

class LtmpCalibration : public testing::BothKinds {
 protected:
  void Calibrate(const std::string& spec, std::span<const std::vector<int32_t>> contexts) {
    CalibrateLtmp(engine_, ReductionSpec::Parse(spec), contexts, path_);
    EXPECT_FALSE(std::filesystem::exists(path_.string() + ".part"));
  }
  InspectReport Inspect(const std::string& spec, const std::vector<int32_t>& context) {
    return engine_.Inspect(context, engine_.Compile(StrCat(spec, ",thresholds=", path_.string())));
  }

  testing::TempDir dir_;
  const std::filesystem::path path_ = dir_.path() / "ltmp.json";
};

TEST_P(LtmpCalibration, RemovesTheWantedShareOnItsOwnContexts) {
  std::vector<std::vector<int32_t>> contexts;
  for (const int64_t length : {30, 100, 171}) contexts.push_back(RandomIds(length, length));
  const std::string spec = "ltmp:keep=0.8,sites=0+2";
  Calibrate(spec, contexts);
  std::vector<InspectReport> reports;
  for (const auto& context : contexts) reports.push_back(Inspect(spec, context));
  int64_t in = 301;
  for (int site = 0; site < 2; ++site) {
    int64_t out = 0;
    int64_t merged = 0;
    for (const InspectReport& report : reports) {
      out += report.plan.sites[site].out;
      for (const TokenFate& fate : report.tokens) {
        merged += fate.site == site && fate.merged_into >= 0;
      }
    }
    const auto remove = static_cast<int64_t>(std::floor(0.2 * static_cast<double>(in) + 0.5));
    EXPECT_EQ(in - out, remove);  // activations do not tie
    // Merges into a row that is then pruned count as prunes.
    EXPECT_LE(merged, remove / 2);
    EXPECT_GT(merged, 0);
    in = out;
  }
}

// Rarity without a table takes few values, so rows tie by the dozen and go or stay together. No
// threshold then comes nearer to the wanted count: that is checked against all of them.
TEST_P(LtmpCalibration, ComesAsNearAsTiesAllow) {
  for (const int64_t keep : {60, 80, 95}) {
    std::vector<int32_t> context = RandomIds(150, keep);
    for (int32_t& id : context) id %= 20;
    const std::string spec = StrCat("ltmp:importance=rarity,keep=0.", keep, ",protect=7,sites=1");
    Calibrate(spec, {&context, 1});
    Json json = ParseJson(ReadFile(path_), path_.string());
    EXPECT_EQ(json["protect"], 7);
    const auto removed = [&](double prune) {
      json["sites"][0]["prune"] = prune;
      dir_.Write("ltmp.json", json.dump());
      return 150 - Inspect(spec, context).plan.sites[0].out;
    };
    const int64_t wanted = (150 * (100 - keep) + 50) / 100;
    const int64_t chosen = std::abs(removed(json["sites"][0]["prune"].get<double>()) - wanted);
    for (int count = 1; count <= 30; ++count) {  // between any two values that tokens can have
      EXPECT_LE(chosen, std::abs(removed(-std::log((count - 0.5) / 150)) - wanted)) << spec;
    }
  }
}

TEST_P(LtmpCalibration, Refuses) {
  const std::vector<std::vector<int32_t>> contexts = {RandomIds(30, 1)};
  for (const char* spec : {"utrc@10%", "ltmp@10%:thresholds=x", "ltmp@10%:block=4"}) {
    EXPECT_THROW(Calibrate(spec, contexts), Error) << spec;
  }
  EXPECT_THROW(Calibrate("ltmp@10%", {}), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, LtmpCalibration, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
