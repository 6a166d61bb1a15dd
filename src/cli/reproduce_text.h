// How reproduce shows its tables, on the terminal and as a report.
#ifndef PITH_CLI_REPRODUCE_TEXT_H_
#define PITH_CLI_REPRODUCE_TEXT_H_

#include <string>
#include <vector>

#include "eval/reproduce/results.h"
#include "eval/reproduce/workload.h"

namespace pith::cli {

// A table as cells: the first row has the columns' names.
std::vector<std::vector<std::string>> ReproduceCells(const ReproduceTable& table);
std::vector<std::vector<std::string>> LongCells(const ReproduceLong& result);

// "Table 1: … on NAME, scoring mode …".
std::string ReproduceTitle(const ReproduceTable& table);
// Whose numbers stand beside the measured ones, and what a scoring mode's figures are worth.
std::string ReproduceNote(const ReproduceTable& table);

std::string ReproduceText(const ReproduceResults& results);

// One model under one scoring mode, as --dry-run shows it.
struct ReproducePlan {
  std::string model;
  bool missing = false;
  ScoringMode mode = ScoringMode::kContext;
  std::vector<std::string> tables;
  int64_t reductions = 0;  // distinct ones
  int64_t items = 0;       // under each
  double tokens = 0;       // of all items under all reductions, estimated
};
std::string PlansText(const std::vector<ReproducePlan>& plans);
OrderedJson PlansJson(const std::vector<ReproducePlan>& plans);

}  // namespace pith::cli

#endif  // PITH_CLI_REPRODUCE_TEXT_H_
