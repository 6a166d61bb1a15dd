// `pith calibrate`: the skim, or the sites, that a model bears on a text, chosen on one half and
// checked on the other (docs/calibration.md).
#ifndef PITH_EVAL_CALIBRATE_H_
#define PITH_EVAL_CALIBRATE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/json.h"
#include "eval/journal.h"
#include "eval/report/report.h"
#include "eval/runner.h"
#include "eval/site_search.h"
#include "eval/skim_search.h"
#include "eval/text_windows.h"
#include "pith/engine.h"

namespace pith {

// Windows of a text in two parts, of which no token is in both.
struct WindowHalves {
  std::vector<TextWindow> choosing;
  std::vector<TextWindow> held_out;
  int64_t dropped = 0;  // from the held-out half
};

// Windows of `length` ids, in order. Turn by turn where none overlap; else the first half of them
// and the second, less its windows that overlap one of the first.
WindowHalves HalveWindows(const std::vector<TextWindow>& windows, int64_t length);

// The same tasks twice: what choices are made on, and what they never saw.
struct CalibrationSet {
  std::vector<EvalTask> choosing;  // perplexity and, if wanted, recall
  std::vector<EvalTask> held_out;
  int64_t dropped = 0;  // windows that overlap choosing ones
};

// `windows` of the text and `contexts` of recall (0: without), both at least 4 and shared out in
// halves: a standard error needs two, of held-out windows as well. Throws as LoadTasks does, and
// kInvalidArgument where the data hold fewer.
CalibrationSet MakeCalibrationSet(const Engine& engine, const TaskOptions& options, int64_t windows,
                                  int64_t contexts);

// What recall lost, from the paired difference candidate − dense. Where no answer changes, a sample
// has no spread, which is no certainty: the standard error is at least that of one changed token in
// one context, 1 / `answer_tokens` (of all contexts together).
Estimate RecallLoss(const Estimate& difference, int64_t answer_tokens);

struct Calibration {
  CalibrationBudget budget;
  SearchResult search;
  std::string chosen = "none";    // the spec
  std::vector<LayerInfo> layers;  // the model's
  bool sites = false;             // whether Trial::layers are sites; else the layers in full
  CandidateCost chosen_on;  // of `chosen`, as the search saw it; of none: no loss, nothing saved
  CandidateCost held_out;   // on the items that the search did not see
  bool held_out_within = true;  // the budget
};

struct CalibrationOptions {
  CalibrationBudget budget;
  std::string method = "skim";  // or one that removes rows with its share, as in utrc@20%
  int64_t context = 1792;       // tokens of the windows' contexts
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(double)> progress = nullptr;  // share of one candidate
  std::function<void(const Trial&)> on_trial = nullptr;
  // Sites with which the method cannot do what it shall, and why.
  std::function<void(const std::string& spec, const std::string& why)> on_left_out = nullptr;
  std::function<void()> on_held_out = nullptr;  // the choice is made
};

// Scores what the journal lacks; throws as Evaluate, SearchSkim and SiteCandidates do, and as
// Engine::Compile where no sites are possible.
Calibration Calibrate(const Engine& engine, const CalibrationSet& set,
                      const CalibrationOptions& options, Journal& journal);

// What the figures are of, for people.
struct CalibrationSource {
  std::string model;   // one line
  std::string text;    // file, and how many windows
  std::string recall;  // likewise; empty: without
};

// A loss with its standard error, both times `scale`.
std::string LossText(const Estimate& loss, double scale, int digits);

// "layers in full: Mamba-2 0-2, attention 3", or "sites: ..."; empty where nothing is chosen.
std::string ChosenByKind(const Calibration& calibration);

// docs/calibration.md has the fields.
OrderedJson CalibrationToJson(const Calibration& calibration, const CalibrationSource& source);
// A file for `--reduce @FILE`: lines of comment, then the spec.
std::string CalibrationFile(const Calibration& calibration, const CalibrationSource& source);
// The frontier as plots and a table.
Report CalibrationReport(const Calibration& calibration, const CalibrationSource& source);

}  // namespace pith

#endif  // PITH_EVAL_CALIBRATE_H_
