// The table of pith demo: rows of its two tasks side by side.
#ifndef PITH_CLI_DEMO_ROWS_H_
#define PITH_CLI_DEMO_ROWS_H_

#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "eval/journal.h"
#include "eval/runner.h"
#include "pith/engine.h"

namespace pith::cli {

// One reduction: its row of `perplexity` and of `recall`, which live as long as the rows do.
struct DemoRow {
  const EvalRow* text = nullptr;
  const EvalRow* recall = nullptr;
  double rows_left = 0;  // share of a window's context whose rows reach the last layer

  double TokensPerSecond() const;  // context tokens read, of both tasks
  std::optional<int64_t> peak_memory() const;
};

// `rows` as Evaluate gives them for `perplexity`, then `recall`; `context`: tokens of a window's.
std::vector<DemoRow> DemoRows(const Engine& engine, std::span<const EvalRow> rows, int64_t context);

// For people; the first row is dense.
std::string DemoTable(std::span<const DemoRow> rows);

// Every figure, docs/formats/demo.md; single windows and questions from the journal.
OrderedJson DemoJson(std::span<const DemoRow> rows, std::span<const EvalTask> tasks,
                     const Journal& journal);

}  // namespace pith::cli

#endif  // PITH_CLI_DEMO_ROWS_H_
