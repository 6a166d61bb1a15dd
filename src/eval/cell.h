// The inside of the runner: one task under one reduction, what the journal holds of it, its row.
#ifndef PITH_EVAL_CELL_H_
#define PITH_EVAL_CELL_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eval/journal.h"
#include "eval/runner.h"
#include "eval/task.h"

namespace pith {

struct EvalCell {
  const EvalTask* task = nullptr;
  Reduction reduction;
  std::string method;  // its canonical spelling
  uint64_t files = 0;  // ChecksumOfFiles(reduction)
};

// Of the files that a reduction reads (`thresholds=FILE`): their content decides its scores.
uint64_t ChecksumOfFiles(const Reduction& reduction);

// Of all that scores and metrics depend on, the method's files included.
uint64_t ChecksumOf(const TaskItem& item, uint64_t files);

// What the engine reads for it: contexts that requests share once, and every continuation.
int64_t TokensOf(const TaskItem& item);

// Continuation tokens that something predicts.
int64_t LabelsOf(const TaskItem& item);

// The task's metrics. An item with a request without a scored label counts in none, but in mode
// `published-tail`, whose code compares the zeros of its empty slices.
std::vector<Share> MeasureItem(const Task& task, const TaskItem& item,
                               std::span<const ScoreResult> results, ScoringMode mode);

// Null where the item was not scored yet. Throws kInvalidArgument where the journal has another
// item of this name.
const JournalEntry* FindEntry(const Journal& journal, const EvalCell& cell, const TaskItem& item);

// One row a cell, from a journal that holds every item.
std::vector<EvalRow> MakeRows(const Engine& engine, std::span<const EvalCell> cells,
                              ScoringMode mode, const Journal& journal);

}  // namespace pith

#endif  // PITH_EVAL_CELL_H_
