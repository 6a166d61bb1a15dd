#include "eval/calibrate.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/error.h"

namespace pith {
namespace {

constexpr const char* kText = "perplexity";
constexpr const char* kRecall = "recall";

void RequireItems(const char* task, size_t items) {
  constexpr size_t kFewest = 4;
  Require(items >= kFewest, ErrorCode::kInvalidArgument, "calibration: ", task, ": got ", items,
          " items, expected at least ", kFewest);
}

void AddText(const Engine& engine, const TaskOptions& options, CalibrationSet& set) {
  const std::vector<std::vector<int32_t>> documents = ReadTokens(engine, options);
  const std::vector<TextWindow> windows = StridedWindows(documents, options);
  RequireItems(kText, windows.size());
  const WindowHalves halves = HalveWindows(windows, options.context - 1 + options.tail);
  set.dropped = halves.dropped;
  Require(halves.held_out.size() >= 2, ErrorCode::kInvalidArgument,
          "calibration: ", TextPath(options).string(), ": got ", halves.held_out.size(),
          " windows to hold out that overlap none that choices are made on, expected at least 2: "
          "take a longer text, fewer windows or shorter ones");
  const auto task = [&](const std::vector<TextWindow>& half) {
    EvalTask made{kText, MakeTask(kText), {}};
    for (const TextWindow& w : half)
      made.items.push_back(WindowItem(engine, documents, w, options));
    return made;
  };
  set.choosing.push_back(task(halves.choosing));
  set.held_out.push_back(task(halves.held_out));
}

void AddRecall(const Engine& engine, const TaskOptions& options, CalibrationSet& set) {
  EvalTask task = LoadTasks(engine, {kRecall}, options).at(0);
  RequireItems(kRecall, task.items.size());
  EvalTask halves[2] = {{task.name, task.task, {}}, {task.name, task.task, {}}};
  for (size_t i = 0; i < task.items.size(); ++i) {
    halves[i % 2].items.push_back(std::move(task.items[i]));
  }
  set.choosing.push_back(std::move(halves[0]));
  set.held_out.push_back(std::move(halves[1]));
}

int64_t AnswerTokens(std::span<const EvalTask> tasks) {
  size_t tokens = 0;
  for (const EvalTask& task : tasks) {
    for (const TaskItem& item : task.items) {
      for (const auto& answer : item.targets) tokens += answer.size();
    }
  }
  return static_cast<int64_t>(tokens);
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
      const Estimate& difference = DifferenceOf(row, "answer_tokens");
      // Dense has lost nothing to itself, and that is certain.
      cost.recall = spec == "none" ? difference : RecallLoss(difference, AnswerTokens(tasks));
    }
  }
  return cost;
}

// Those that compile: the share may be beyond what some sites reach, or a layer may lack what the
// method reads.
std::vector<SiteCandidate> PossibleSites(const Engine& engine, const CalibrationOptions& options) {
  std::vector<SiteCandidate> possible;
  std::vector<std::pair<std::string, Error>> left_out;
  for (SiteCandidate& candidate : SiteCandidates(engine.info().layers, options.method)) {
    try {
      engine.Compile(candidate.spec);
      possible.push_back(std::move(candidate));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidArgument) throw;
      left_out.emplace_back(candidate.spec, error);
    }
  }
  if (possible.empty() && !left_out.empty()) throw left_out.front().second;
  Require(!possible.empty(), ErrorCode::kUnsupported, "calibration: got ", options.method,
          " for a model none of whose layers mixes rows");
  for (const auto& [spec, error] : left_out) {
    if (options.on_left_out) options.on_left_out(spec, error.what());
  }
  return possible;
}

}  // namespace

WindowHalves HalveWindows(const std::vector<TextWindow>& windows, int64_t length) {
  const auto overlap = [&](const TextWindow& a, const TextWindow& b) {
    return a.document == b.document && b.begin - a.begin < length;
  };
  WindowHalves halves;
  if (std::ranges::adjacent_find(windows, overlap) == windows.end()) {
    for (size_t i = 0; i < windows.size(); ++i) {
      (i % 2 == 0 ? halves.choosing : halves.held_out).push_back(windows[i]);
    }
    return halves;
  }
  const auto middle = windows.begin() + static_cast<int64_t>(windows.size() + 1) / 2;
  halves.choosing.assign(windows.begin(), middle);
  std::copy_if(middle, windows.end(), std::back_inserter(halves.held_out),
               [&](const TextWindow& window) { return !overlap(halves.choosing.back(), window); });
  halves.dropped = windows.end() - middle - static_cast<int64_t>(halves.held_out.size());
  return halves;
}

CalibrationSet MakeCalibrationSet(const Engine& engine, const TaskOptions& options, int64_t windows,
                                  int64_t contexts) {
  CalibrationSet set;
  TaskOptions limited = options;
  limited.limit = windows;
  AddText(engine, limited, set);
  limited.limit = contexts;
  if (contexts > 0) AddRecall(engine, limited, set);
  return set;
}

Estimate RecallLoss(const Estimate& difference, int64_t answer_tokens) {
  const double floor = 1 / static_cast<double>(answer_tokens);
  Estimate loss = difference;
  loss.value = 0 - loss.value;                                   // no negative zero
  if (loss.standard_error < floor) loss.standard_error = floor;  // an unknown one stays unknown
  return loss;
}

Calibration Calibrate(const Engine& engine, const CalibrationSet& set,
                      const CalibrationOptions& options, Journal& journal) {
  Calibration calibration{.budget = options.budget, .search = {}};
  const ModelInfo& info = engine.info();
  const auto measure = [&](const std::string& spec) {
    const CandidateCost cost = Measure(engine, set.choosing, spec, options, journal);
    if (options.on_trial) options.on_trial({spec, cost, cost.Use(options.budget) <= 1, {}});
    return cost;
  };
  calibration.layers = info.layers;
  calibration.sites = options.method != "skim";
  if (calibration.sites) {
    calibration.search = SearchSites(PossibleSites(engine, options), options.budget, measure);
  } else {
    const SkimSpace space{
        .layers = info.layers, .context = options.context, .has_horizon = info.has_horizon};
    calibration.search = SearchSkim(space, options.budget, measure);
  }
  if (calibration.search.chosen) {
    const Trial& trial = calibration.search.trials[*calibration.search.chosen];
    calibration.chosen = trial.spec;
    calibration.chosen_on = trial.cost;
  } else {
    calibration.chosen_on = Measure(engine, set.choosing, "none", options, journal);
  }
  if (options.on_held_out) options.on_held_out();
  calibration.held_out = Measure(engine, set.held_out, calibration.chosen, options, journal);
  calibration.held_out_within = calibration.held_out.Use(options.budget) <= 1;
  return calibration;
}

}  // namespace pith
