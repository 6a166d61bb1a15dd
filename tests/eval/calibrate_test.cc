// What a calibration writes: the file for --reduce reads back as the choice, `none` where nothing
// is within the budget, and says plainly where the held-out half is not; the page and the JSON hold
// every candidate.
#include "eval/calibrate.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "eval/report/html.h"
#include "reduce/spec.h"

namespace pith {
namespace {

const CalibrationSource kSource = {.model = "m", .text = "t", .recall = "r"};

Calibration Made(bool within) {
  const std::string spec = "skim:full=0-3,window=16";
  const CandidateCost cost{.realised = 0.3, .nll = {0.001, 0.002, 8}, .recall = Estimate{0, 0, 8}};
  Calibration made{
      .search = {.trials = {{"skim:full=0-2,window=16", cost, false}, {spec, cost, true}},
                 .chosen = 1}};
  made.chosen = spec;
  made.chosen_on = made.held_out = cost;
  made.held_out_within = within;
  return made;
}

ReductionSpec ReadBack(const std::string& file) {
  const std::string path = testing::TempDir() + "calibrate_test.reduce";
  std::ofstream(path) << file;
  const ReductionSpec spec = ReductionSpec::ParseOrRead("@" + path);
  std::filesystem::remove(path);
  return spec;
}

TEST(Calibration, TheFileReadsBackAsTheChoice) {
  for (const bool within : {true, false}) {
    const Calibration made = Made(within);
    const std::string file = CalibrationFile(made, kSource);
    EXPECT_EQ(ReadBack(file).ToString(), made.chosen);
    EXPECT_EQ(file.find("did not hold") == file.npos, within);
    EXPECT_EQ(CalibrationToJson(made, kSource)["held_out_within_budget"], within);
    const std::string page = ToHtml(CalibrationReport(made, kSource));
    EXPECT_EQ(page.find("NOT within") == page.npos, within);
    for (const Trial& trial : made.search.trials) EXPECT_NE(page.find(trial.spec), page.npos);
  }
}

TEST(Calibration, NothingChosenIsNone) {
  Calibration made = Made(true);
  made.search.trials.pop_back();
  made.search.chosen.reset();
  made.chosen = "none";
  made.chosen_on = made.held_out = {.nll = {0, 0, 8}};
  const std::string file = CalibrationFile(made, {.model = "m", .text = "t", .recall = ""});
  EXPECT_EQ(ReadBack(file).ToString(), "none");
  EXPECT_NE(file.find("No candidate was within"), file.npos);
  EXPECT_EQ(CalibrationToJson(made, kSource)["chosen"], "none");
}

}  // namespace
}  // namespace pith
