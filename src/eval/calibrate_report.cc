// What a calibration leaves behind: JSON, the file for --reduce, and a page.
#include <cmath>
#include <sstream>

#include "core/numbers.h"
#include "eval/calibrate.h"
#include "eval/layer_kinds.h"

namespace pith {
namespace {

std::string Plain(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

OrderedJson ToJson(const Estimate& estimate) {
  return {
      {"value", estimate.value}, {"standard_error", estimate.standard_error}, {"n", estimate.n}};
}

OrderedJson ToJson(const CandidateCost& cost) {
  return {{"realised", cost.realised},
          {"nll_difference", ToJson(cost.nll)},
          {"recall_loss", cost.recall ? ToJson(*cost.recall) : OrderedJson(nullptr)}};
}

// "36.9 % saved, text +0.0021 ± 0.0010 nats (n = 8), recall −0.5 ± 0.2 points (n = 8)".
std::string Figures(const CandidateCost& cost) {
  std::string text = Fixed(100 * cost.realised, 1) + " % saved, text " + LossText(cost.nll, 1, 4) +
                     " nats (n = " + std::to_string(cost.nll.n) + ")";
  if (cost.recall) {
    text += ", answer tokens lost " + LossText(*cost.recall, 100, 2) +
            " points (n = " + std::to_string(cost.recall->n) + ")";
  }
  return text;
}

std::string BudgetText(const CalibrationBudget& budget, bool recall) {
  return "text " + Plain(budget.nll) + " nats" +
         (recall ? ", answer tokens " + Plain(100 * budget.recall) + " points" : "") + ", with " +
         Plain(budget.sigmas) + " standard errors";
}

std::vector<int> ChosenLayers(const Calibration& calibration) {
  const SearchResult& search = calibration.search;
  return search.chosen ? search.trials[*search.chosen].layers : std::vector<int>();
}

// Points of one kind of loss: outside the budget, within it, the chosen one.
ReportPlot Plot(const Calibration& calibration, bool recall) {
  const CalibrationBudget& budget = calibration.budget;
  ReportPlot plot{.title = recall ? "Recall against work saved" : "Text against work saved",
                  .x_label = "work saved, %",
                  .y_label = recall ? "answer tokens lost, points" : "nats per token above dense",
                  .baseline = recall ? 100 * budget.recall : budget.nll,
                  .note = "The line is the bound; bars are standard errors.",
                  .baseline_name = "bound",
                  .joined = false};
  ReportSeries series[3] = {{"outside the budget", {}}, {"within it", {}}, {"chosen", {}}};
  for (size_t i = 0; i < calibration.search.trials.size(); ++i) {
    const Trial& trial = calibration.search.trials[i];
    const Estimate& loss = recall ? *trial.cost.recall : trial.cost.nll;
    if (!std::isfinite(loss.value) || !std::isfinite(loss.standard_error)) continue;
    const double scale = recall ? 100 : 1;
    const int kind = calibration.search.chosen == i ? 2 : trial.within ? 1 : 0;
    series[kind].points.push_back({.x = 100 * trial.cost.realised,
                                   .y = scale * loss.value,
                                   .error = scale * loss.standard_error,
                                   .label = kind == 2 ? trial.spec : ""});
  }
  for (ReportSeries& one : series) {
    if (!one.points.empty()) plot.series.push_back(std::move(one));
  }
  return plot;
}

}  // namespace

std::string LossText(const Estimate& loss, double scale, int digits) {
  return PlusMinus(scale * loss.value, scale * loss.standard_error, digits, true);
}

std::string ChosenByKind(const Calibration& calibration) {
  const std::vector<int> chosen = ChosenLayers(calibration);
  if (chosen.empty()) return "";
  return std::string(calibration.sites ? "sites: " : "layers in full: ") +
         LayersByKind(calibration.layers, chosen);
}

OrderedJson CalibrationToJson(const Calibration& calibration, const CalibrationSource& source) {
  OrderedJson trials = OrderedJson::array();
  for (const Trial& trial : calibration.search.trials) {
    OrderedJson json = {{"reduce", trial.spec}};
    json.update(ToJson(trial.cost));
    json["within_budget"] = trial.within;
    trials.push_back(std::move(json));
  }
  const CalibrationBudget& budget = calibration.budget;
  OrderedJson layers = OrderedJson::array();
  for (const int layer : ChosenLayers(calibration)) {
    layers.push_back({{"layer", layer},
                      {"kind", calibration.layers[static_cast<size_t>(layer)].kind},
                      {"role", calibration.sites ? "site" : "full"}});
  }
  return {{"format", "pith calibration 1"},
          {"model", source.model},
          {"text", source.text},
          {"recall", source.recall.empty() ? OrderedJson(nullptr) : OrderedJson(source.recall)},
          {"budget", {{"nll", budget.nll}, {"recall", budget.recall}, {"sigmas", budget.sigmas}}},
          {"chosen", calibration.chosen},
          {"chosen_layers", layers},
          {"chosen_on", ToJson(calibration.chosen_on)},
          {"held_out", ToJson(calibration.held_out)},
          {"held_out_within_budget", calibration.held_out_within},
          {"trials", trials}};
}

std::string CalibrationFile(const Calibration& calibration, const CalibrationSource& source) {
  std::string text = "# Made by pith calibrate; for --reduce @FILE.\n# model: " + source.model +
                     "\n# text: " + source.text + "\n";
  text += "# recall: " + (source.recall.empty() ? "not measured" : source.recall) + "\n";
  text += "# bounds: " + BudgetText(calibration.budget, calibration.chosen_on.recall.has_value()) +
          "\n# chosen on one half: " + Figures(calibration.chosen_on) +
          "\n# on the other half: " + Figures(calibration.held_out) + "\n";
  const std::string layers = ChosenByKind(calibration);
  if (!layers.empty()) text += "# " + layers + "\n";
  if (!calibration.search.chosen) text += "# No candidate was within the bounds.\n";
  if (!calibration.held_out_within) {
    text += "# The other half is not within the bounds: this choice did not hold there.\n";
  }
  return text + calibration.chosen + "\n";
}

Report CalibrationReport(const Calibration& calibration, const CalibrationSource& source) {
  const bool recall = calibration.chosen_on.recall.has_value();
  ReportTable table{.title = "Candidates in the order tried",
                    .columns = {"reduction", "saved, %", "text, nats"},
                    .rows = {},
                    .note =
                        "Losses to dense ± standard error, on the half that choices are made "
                        "on."};
  if (recall) table.columns.emplace_back("answer tokens lost, points");
  table.columns.insert(table.columns.end(), {"within budget", "chosen"});
  for (size_t i = 0; i < calibration.search.trials.size(); ++i) {
    const Trial& trial = calibration.search.trials[i];
    std::vector<std::string> row = {trial.spec, Fixed(100 * trial.cost.realised, 1),
                                    LossText(trial.cost.nll, 1, 4)};
    if (recall) row.push_back(LossText(*trial.cost.recall, 100, 2));
    row.emplace_back(trial.within ? "yes" : "no");
    row.emplace_back(calibration.search.chosen == i ? "chosen" : "");
    table.rows.push_back(std::move(row));
  }
  ReportSection choice{.heading = "Choice", .blocks = {}};
  choice.blocks.emplace_back(ReportText{calibration.chosen});
  const std::string layers = ChosenByKind(calibration);
  if (!layers.empty()) choice.blocks.emplace_back(ReportText{"By kind, " + layers});
  choice.blocks.emplace_back(ReportText{"Chosen on: " + Figures(calibration.chosen_on)});
  choice.blocks.emplace_back(ReportText{
      "Held out: " + Figures(calibration.held_out) +
      (calibration.held_out_within ? ", within the budget." : ": NOT within the budget.")});
  ReportSection frontier{.heading = "Frontier", .blocks = {Plot(calibration, false)}};
  if (recall) frontier.blocks.emplace_back(Plot(calibration, true));
  frontier.blocks.emplace_back(std::move(table));
  return {.title = "Calibration",
          .summary = source.model + ". Text: " + source.text +
                     (recall ? ". Recall: " + source.recall : "") +
                     ". Bounds: " + BudgetText(calibration.budget, recall) + ".",
          .sections = {std::move(choice), std::move(frontier)},
          .footer = ""};
}

}  // namespace pith
