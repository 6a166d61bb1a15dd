#include "eval/calibrate.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace pith {
namespace {

constexpr const char* kText = "perplexity";
constexpr const char* kRecall = "recall";

void AddTask(const Engine& engine, const char* name, TaskOptions options, int64_t limit,
             CalibrationSet& set) {
  constexpr int64_t kFewest = 4;
  options.limit = limit;
  EvalTask task = LoadTasks(engine, {name}, options).at(0);
  const auto items = static_cast<int64_t>(task.items.size());
  Require(items >= kFewest, ErrorCode::kInvalidArgument, "calibration: ", name, ": got ", items,
          " items, expected at least ", kFewest);
  EvalTask halves[2] = {{task.name, task.task, {}}, {task.name, task.task, {}}};
  for (size_t i = 0; i < task.items.size(); ++i) {
    halves[i % 2].items.push_back(std::move(task.items[i]));
  }
  set.choosing.push_back(std::move(halves[0]));
  set.held_out.push_back(std::move(halves[1]));
}

const Estimate& DifferenceOf(const EvalRow& row, const char* metric) {
  const auto figure = std::ranges::find_if(
      row.figures, [&](const EvalFigure& f) { return f.metric.name == metric; });
  PITH_CHECK(figure != row.figures.end() && figure->difference.has_value());
  return *figure->difference;
}

CandidateCost Measure(const Engine& engine, std::span<const EvalTask> tasks,
                      const std::string& spec, const CalibrationOptions& options,
                      Journal& journal) {
  const EvalOptions eval{.methods = {"none", spec},
                         .control = {.cancel = options.cancel, .progress = options.progress}};
  CandidateCost cost;
  for (const EvalRow& row : Evaluate(engine, tasks, eval, journal)) {
    if (row.method == "none" && spec != "none") continue;
    if (row.task == kText) {
      cost.realised = row.realised;
      cost.nll = DifferenceOf(row, "nll");
    } else {
      Estimate loss = DifferenceOf(row, "answer_tokens");
      loss.value = 0 - loss.value;  // no negative zero
      cost.recall = loss;
    }
  }
  return cost;
}

}  // namespace

CalibrationSet MakeCalibrationSet(const Engine& engine, const TaskOptions& options, int64_t windows,
                                  int64_t contexts) {
  CalibrationSet set;
  AddTask(engine, kText, options, windows, set);
  if (contexts > 0) AddTask(engine, kRecall, options, contexts, set);
  return set;
}

Calibration Calibrate(const Engine& engine, const CalibrationSet& set,
                      const CalibrationOptions& options, Journal& journal) {
  Calibration calibration{.budget = options.budget, .search = {}};
  const ModelInfo& info = engine.info();
  const SkimSpace space{
      .n_layer = info.n_layer, .context = options.context, .has_horizon = info.kind == "mamba2"};
  calibration.search = SearchSkim(space, options.budget, [&](const std::string& spec) {
    const CandidateCost cost = Measure(engine, set.choosing, spec, options, journal);
    if (options.on_trial) options.on_trial({spec, cost, cost.Use(options.budget) <= 1});
    return cost;
  });
  if (calibration.search.chosen) {
    const Trial& trial = calibration.search.trials[*calibration.search.chosen];
    calibration.chosen = trial.spec;
    calibration.chosen_on = trial.cost;
  } else {
    calibration.chosen_on = Measure(engine, set.choosing, "none", options, journal);
  }
  calibration.held_out = Measure(engine, set.held_out, calibration.chosen, options, journal);
  calibration.held_out_within = calibration.held_out.Use(options.budget) <= 1;
  return calibration;
}

}  // namespace pith
