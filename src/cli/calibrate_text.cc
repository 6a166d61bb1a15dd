#include "cli/calibrate_text.h"

#include <charconv>
#include <cmath>
#include <set>

#include "cli/text.h"
#include "core/error.h"

namespace pith::cli {
namespace {

std::vector<std::string> Cells(const CandidateCost& cost) {
  return {Percent(cost.realised), LossText(cost.nll, 1, 4),
          cost.recall ? LossText(*cost.recall, 100, 2) : "-"};
}

}  // namespace

CalibrationBudget ParseBudget(std::string_view text, double sigmas) {
  Require(std::isfinite(sigmas) && sigmas >= 0, ErrorCode::kInvalidArgument, "--sigmas: got ",
          sigmas, ", expected a finite number of at least 0");
  CalibrationBudget budget{.sigmas = sigmas};
  std::set<std::string_view> seen;
  for (std::string_view rest = text;;) {
    const std::string_view part = rest.substr(0, rest.find(','));
    const size_t equals = std::min(part.find('='), part.size());
    const std::string_view key = part.substr(0, equals);
    const std::string_view number = part.substr(std::min(part.size(), equals + 1));
    double value = 0;
    const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    const bool known = key == "dNLL" || key == "recall";
    Require(known && seen.insert(key).second && error == std::errc() &&
                stop == number.data() + number.size() && std::isfinite(value) && value > 0,
            ErrorCode::kInvalidArgument, "--budget: got ", Quoted(part),
            ", expected dNLL=X or recall=X, each once, with a number above 0");
    (key == "dNLL" ? budget.nll : budget.recall) = value;
    if (part.size() == rest.size()) return budget;
    rest.remove_prefix(part.size() + 1);
  }
}

std::string TrialText(const Trial& trial) {
  const std::vector<std::string> cells = Cells(trial.cost);
  return StrCat(trial.within ? "ok   " : "over ", cells[0], "  text ", cells[1],
                trial.cost.recall ? StrCat("  recall lost ", cells[2], " points") : "", "  ",
                trial.spec);
}

std::string FrontierText(const Calibration& calibration) {
  Table table({{"", Align::kLeft},
               {"reduction", Align::kLeft},
               {"saved"},
               {"text: nats ± s.e."},
               {"recall: points lost ± s.e."},
               {"budget", Align::kLeft}});
  const auto add = [&](const char* mark, const std::string& name, const CandidateCost& cost,
                       bool within) {
    const std::vector<std::string> cells = Cells(cost);
    table.AddRow({mark, name, cells[0], cells[1], cells[2], within ? "within" : "over"});
  };
  for (size_t i = 0; i < calibration.search.trials.size(); ++i) {
    const Trial& trial = calibration.search.trials[i];
    add(calibration.search.chosen == i ? "*" : "", trial.spec, trial.cost, trial.within);
  }
  std::string text = table.ToString();
  if (!calibration.search.chosen) return text + "\nNo candidate is within the budget: none.\n";
  Table halves({{"", Align::kLeft}, {""}, {""}, {""}, {"", Align::kLeft}});
  const auto half = [&](const char* name, const CandidateCost& cost) {
    const std::vector<std::string> cells = Cells(cost);
    const bool within = cost.Use(calibration.budget) <= 1;
    halves.AddRow({name, cells[0], cells[1], cells[2], within ? "within" : "over"});
  };
  half("chosen on", calibration.chosen_on);
  half("held out", calibration.held_out);
  text += StrCat("\n* ", calibration.chosen, "\n  ", ChosenByKind(calibration), "\n",
                 halves.ToString(false));
  if (!calibration.held_out_within) {
    text += "The held-out half is NOT within the budget: the choice did not hold there.\n";
  }
  return text;
}

}  // namespace pith::cli
