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
  // The same model on other devices (DevicesOf), each of which scores on a thread of its own what
  // the others have not begun. They change no figure: an item's score does not depend on what is
  // scored beside it. The calls of `control.progress` come from all threads, one at a time. An
  // error of one device is thrown once the others have finished the items that they were scoring,
  // which the journal then holds.
  std::span<const Engine> others;
};

// The part of one of several processes that share a directory of journals (eval/ranks.h).
struct EvalShare {
  int rank = 0;
  int size = 1;
};

struct EvalFigure {
  Metric metric;
  Estimate estimate;
  std::optional<Estimate> difference;  // to the dense row of the task, on items that both count
};

// One task under one reduction.
struct EvalRow {
  std::string task;
  std::string method;  // canonical spelling
  ScoringMode scoring = ScoringMode::kContext;
  std::optional<double> wanted;  // share of FLOPs that `@N%` asks for
  std::vector<int> sites;  // layers; −1: before the first one. Empty for none, skim and auto
  int64_t items = 0;
  int64_t left_out = 0;  // items that count in no metric: none of their labels was scored
  int64_t labels = 0;    // continuation tokens to score
  int64_t scored_labels = 0;
  std::vector<EvalFigure> figures;  // one per metric
  // Over the contexts that were read: items' distinct ones, and in the scoring modes other than
  // `context` every pair.
  int64_t contexts = 0;
  double realised = 0;        // mean
  double realised_total = 0;  // over `tokens`: those of continuations are read whole
  int64_t tokens = 0;         // of contexts and continuations
  int64_t context_tokens = 0;
  double context_seconds = 0;
  std::optional<int64_t> peak_memory;  // bytes resident, the weights included

  double Coverage() const {
    return labels > 0 ? static_cast<double>(scored_labels) / static_cast<double>(labels) : 0;
  }
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

// What Evaluate refuses before it scores anything; for callers that have a journal to lose.
void CheckEvaluation(const Engine& engine, std::span<const EvalTask> tasks,
                     const EvalOptions& options);

// The first half of Evaluate, for one process of several. Their journals must hold the same entries
// when they begin, or items are scored twice or left to the next run. Throws as Evaluate does.
void ScoreMissing(const Engine& engine, std::span<const EvalTask> tasks, const EvalOptions& options,
                  const EvalShare& share, Journal& journal);

// docs/formats/eval.md
OrderedJson EvalRowsToJson(std::span<const EvalRow> rows);
OrderedJson EvalResultsToJson(const OrderedJson& fingerprint, int64_t limit,
                              std::span<const EvalRow> rows);
std::string EvalRowsToCsv(std::span<const EvalRow> rows);

}  // namespace pith

#endif  // PITH_EVAL_RUNNER_H_
