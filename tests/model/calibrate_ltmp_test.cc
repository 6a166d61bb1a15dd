// Thresholds for LTMP: on the texts they were made with, the wanted share goes at every site, half
// of it by merging; and what a prefill reports is what its own plans removed.
#include "model/calibrate_ltmp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "ops/backends.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Compile;
using testing::MakeModel;
using testing::RandomIds;

const Exec kExec = ExecOn(testing::TestDevice(), 2);

TEST(CalibrateLtmp, RemovesTheWantedShareOnItsOwnTexts) {
  const std::string path = ::testing::TempDir() + "calibrated_ltmp_test.json";
  for (testing::Kind kind : {testing::Kind::kMamba1, testing::Kind::kMamba2}) {
    const Model model = MakeModel({.kind = kind});
    std::vector<std::vector<int32_t>> texts;
    for (int64_t length : {30, 100, 171}) texts.push_back(RandomIds(length, 97, length));
    const std::string spec = "ltmp:keep=0.8,sites=0+2";
    const LtmpThresholds thresholds =
        CalibrateLtmp(model, kExec, ReductionSpec::Parse(spec), {}, texts, {.ssd_chunk = 16});
    ASSERT_EQ(thresholds.sites.size(), 2u);
    thresholds.Write(path);

    const CompiledReduction reduction = Compile(StrCat(spec, ",thresholds=", path), model);
    testing::Slots slots(model, kExec, texts.size());
    std::vector<SequenceInput> batch;
    for (size_t i = 0; i < texts.size(); ++i) {
      batch.push_back({texts[i], &slots.sequences[i], WantRows::kNone});
    }
    Workspace ws;
    const PrefillResult result =
        Prefill(model, kExec, slots.pool, batch, {.reduction = &reduction, .ssd_chunk = 16}, ws,
                [](std::span<const OutputRow>, MatView<const float>) {});
    int64_t in = 301;
    for (int site = 0; site < 2; ++site) {
      int64_t out = 0, merged = 0;
      for (size_t i = 0; i < texts.size(); ++i) {
        out += result.schedules[i].sites[site].out;
        for (int64_t p = 0; p < result.maps[i].tokens(); ++p) {
          const TokenMap::Fate& fate = result.maps[i].fate(p);
          merged += fate.site == site && fate.target >= 0;
        }
      }
      const auto remove = static_cast<int64_t>(std::floor(0.2 * static_cast<double>(in) + 0.5));
      EXPECT_EQ(in - out, remove);  // activations do not tie
      // Merges into a row that is then pruned count as prunes.
      EXPECT_LE(merged, remove / 2);
      EXPECT_GT(merged, 0);
      in = out;
    }
    double saved = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto tokens = static_cast<int64_t>(texts[i].size());
      EXPECT_EQ(result.schedules[i].sites.back().out, result.maps[i].rows());
      EXPECT_EQ(result.schedules[i].realised,
                reduction.removal()->RealisedBy(result.schedules[i].sites, tokens));
      saved += result.schedules[i].realised * static_cast<double>(tokens) / 301;
    }
    EXPECT_NEAR(result.realised, saved, 1e-12);
  }
  std::filesystem::remove(path);
}

// Rarity without a table takes few values, so rows tie by the dozen and go or stay together. No
// threshold then comes nearer to the wanted count: that is checked against all of them.
TEST(CalibrateLtmp, ComesAsNearAsTiesAllow) {
  const std::string path = ::testing::TempDir() + "calibrated_ties_test.json";
  const Model model = MakeModel({});
  for (const int64_t keep : {60, 80, 95}) {
    const std::vector<std::vector<int32_t>> texts = {RandomIds(150, 20, keep)};
    const std::string spec = StrCat("ltmp:importance=rarity,keep=0.", keep, ",protect=7,sites=1");
    LtmpThresholds thresholds =
        CalibrateLtmp(model, kExec, ReductionSpec::Parse(spec), {}, texts, {.ssd_chunk = 16});
    EXPECT_EQ(thresholds.protect, 7);
    const auto removed = [&](double prune) {
      thresholds.sites[0].prune = prune;
      thresholds.Write(path);
      const CompiledReduction reduction = Compile(StrCat(spec, ",thresholds=", path), model);
      testing::Slots slots(model, kExec, 1);
      const SequenceInput input{texts[0], &slots.sequences[0], WantRows::kNone};
      Workspace ws;
      return 150 - Prefill(model, kExec, slots.pool, {&input, 1},
                           {.reduction = &reduction, .ssd_chunk = 16}, ws,
                           [](std::span<const OutputRow>, MatView<const float>) {})
                       .maps[0]
                       .rows();
    };
    const int64_t wanted = (150 * (100 - keep) + 50) / 100;
    const int64_t chosen = std::abs(removed(thresholds.sites[0].prune) - wanted);
    for (int count = 1; count <= 30; ++count) {  // between any two values that tokens can have
      EXPECT_LE(chosen, std::abs(removed(-std::log((count - 0.5) / 150)) - wanted)) << spec;
    }
  }
  std::filesystem::remove(path);
}

TEST(CalibrateLtmp, Refuses) {
  const Model model = MakeModel({});
  const std::vector<std::vector<int32_t>> texts = {RandomIds(30, 97, 1)};
  for (const char* spec : {"utrc@10%", "ltmp@10%:thresholds=x", "ltmp@10%:block=4"}) {
    EXPECT_THROW(CalibrateLtmp(model, kExec, ReductionSpec::Parse(spec), {}, texts, {}), Error);
  }
  EXPECT_THROW(CalibrateLtmp(model, kExec, ReductionSpec::Parse("ltmp@10%"), {}, {}, {}), Error);
}

}  // namespace
}  // namespace pith
