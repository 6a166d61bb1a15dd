// Reductions side by side on one model: the same windows, the same questions, paired differences.
#ifndef PITH_EVAL_COMPARE_H_
#define PITH_EVAL_COMPARE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "eval/data.h"
#include "pith/engine.h"

namespace pith {

struct CompareSet {
  std::vector<ScoreItem> windows;  // context and the untouched tail that is scored
  RecallSet recall;
};

// One reduction's figures.
struct CompareRow {
  std::string reduce;
  double realised = 0;          // mean reduction over the contexts read
  double rows_left = 0;         // mean share of the windows' context tokens that reached the end
  std::vector<double> nll;      // per window: nats per token of the tail
  std::vector<double> answers;  // per question: 1 where every token of the answer was the arg-max
  int64_t answer_tokens = 0;
  int64_t answer_tokens_right = 0;
  double tokens_per_second = 0;        // context tokens read
  std::optional<int64_t> peak_memory;  // bytes resident, the model's weights included

  double MeanNll() const;
  double AnswersRight() const;       // share
  double AnswerTokensRight() const;  // share
};

// Mean of a difference over pairs and its standard error.
struct Paired {
  double mean = 0;
  double standard_error = 0;  // 0 for fewer than two pairs
};
Paired PairedDifference(const std::vector<double>& values, const std::vector<double>& base);

// Scores windows and questions under one reduction (scoring mode `context`).
CompareRow Compare(const Engine& engine, const CompareSet& set, const Reduction& reduction,
                   const RunControl& control);

// The table for people; differences are to `rows[0]`, which should be dense.
std::string FormatTable(const std::vector<CompareRow>& rows);
// The same with every figure, and answers by thirds of depth.
OrderedJson RowsToJson(const std::vector<CompareRow>& rows, const std::vector<double>& depths);

}  // namespace pith

#endif  // PITH_EVAL_COMPARE_H_
