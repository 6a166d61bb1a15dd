// What `pith reproduce` measured, beside the paper's numbers.
#ifndef PITH_EVAL_REPRODUCE_RESULTS_H_
#define PITH_EVAL_REPRODUCE_RESULTS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "eval/reproduce/grid.h"
#include "eval/reproduce/models.h"
#include "eval/runner.h"

namespace pith {

// In the units of the paper: per cent but for the perplexity.
struct ReproduceFigure {
  double value = 0;
  double standard_error = 0;
  std::optional<double> paper;
};

struct ReproduceRow {
  GridRow row;
  double realised = 0;                   // mean over the six tasks of the mean over their contexts
  std::vector<ReproduceFigure> figures;  // one per PaperColumns(), then the average
  const ReproduceFigure& average() const { return figures.back(); }
};

struct ReproduceTable {
  std::string table;
  std::string title;
  std::string model;
  std::string paper_model;  // whose numbers stand beside: the model's own where both are equal
  ScoringMode mode = ScoringMode::kContext;
  int64_t items = 0;  // of the longest task
  std::vector<ReproduceRow> rows;

  bool own_numbers() const { return model == paper_model; }
};

// Long texts, in mode `context` alone, which the paper did not measure.
struct ReproduceLongRow {
  GridRow row;
  double realised_text = 0;    // over the windows of the task perplexity
  double realised_recall = 0;  // over the contexts of the task recall
  Estimate nll;                // nats a token
  Estimate recall;             // share of answers right
};
struct ReproduceLong {
  std::string model;
  std::vector<ReproduceLongRow> rows;
};

struct ReproduceResults {
  int64_t limit = 0;
  bool bos = false;
  std::vector<ReproduceTable> tables;
  std::vector<ReproduceLong> longs;
  std::vector<MissingModel> missing;
};

// The six tasks of the paper; those of `--long`.
std::vector<std::string> PaperTasks();
std::vector<std::string> LongTasks();

// The grid's distinct reductions, in order.
std::vector<std::string> GridMethods(std::span<const Grid> grids);

// `rows` hold every reduction of the grid on PaperTasks().
ReproduceTable MakeReproduceTable(const Grid& grid, const std::string& model,
                                  std::span<const EvalRow> rows);

// One row for each distinct reduction; `rows` hold each on LongTasks().
ReproduceLong MakeReproduceLong(std::span<const Grid> grids, const std::string& model,
                                std::span<const EvalRow> rows);

// docs/reproduce.md
OrderedJson ReproduceJson(const ReproduceResults& results);

}  // namespace pith

#endif  // PITH_EVAL_REPRODUCE_RESULTS_H_
