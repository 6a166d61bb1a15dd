// Tasks × reductions on one model: every item once, from its journal, with paired differences.
#ifndef PITH_EVAL_RUNNER_H_
#define PITH_EVAL_RUNNER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "eval/journal.h"
#include "eval/task.h"
#include "pith/engine.h"

namespace pith {

// A task with its items, which are the same under every reduction.
struct EvalTask {
  std::string name;
  std::shared_ptr<const Task> task;
  std::vector<TaskItem> items;
};

// Throws as MakeTask and MakeItems do.
std::vector<EvalTask> LoadTasks(const Engine& engine, const std::vector<std::string>& names,
                                const TaskOptions& options);

struct EvalOptions {
  std::vector<std::string> methods;  // reductions; equal ones count once
  ScoringMode mode = ScoringMode::kContext;
  RunControl control;  // the share is that of the tokens that are left to score
};

struct EvalFigure {
  Metric metric;
  Estimate estimate;
  std::optional<Estimate> difference;  // to the dense row of the task, on the same items
};

// One task under one reduction.
struct EvalRow {
  std::string task;
  std::string method;  // canonical spelling
  int64_t items = 0;
  std::vector<EvalFigure> figures;  // one per metric
  // Over the contexts that were read: items' distinct ones, and in the scoring modes other than
  // `context` every pair.
  int64_t contexts = 0;
  double realised = 0;  // mean
  int64_t context_tokens = 0;
  double context_seconds = 0;
  std::optional<int64_t> peak_memory;  // bytes resident, the weights included

  double TokensPerSecond() const {
    return context_seconds > 0 ? static_cast<double>(context_tokens) / context_seconds : 0;
  }
};

// Scores what the journal does not hold and appends it, some thousand tokens at a time; then makes
// all rows from the journal, so that an interrupted run gives the same figures to the last bit.
// Throws as Engine::Score, Engine::Plan and Journal::Append do, and kInvalidArgument where an item
// of the journal is not the task's.
std::vector<EvalRow> Evaluate(const Engine& engine, std::span<const EvalTask> tasks,
                              const EvalOptions& options, Journal& journal);

// docs/formats/eval.md
OrderedJson EvalRowsToJson(std::span<const EvalRow> rows);
std::string EvalRowsToCsv(std::span<const EvalRow> rows);

}  // namespace pith

#endif  // PITH_EVAL_RUNNER_H_
