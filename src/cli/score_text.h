// How score shows its results.
#ifndef PITH_CLI_SCORE_TEXT_H_
#define PITH_CLI_SCORE_TEXT_H_

#include <cstdint>
#include <string>

#include "core/json.h"
#include "pith/engine.h"

namespace pith::cli {

// `engine` turns the ids of token_logprobs into text.
OrderedJson ScoreJson(const ScoreResult& result, const Engine& engine);
std::string ScoreText(const ScoreResult& result);
std::string LogprobsText(const ScoreResult& result, const Engine& engine);

// One item of many: a line under ItemHeader().
std::string ItemHeader();
std::string ItemText(int64_t line, const ScoreResult& result);

// Sums over many items.
class ScoreSummary {
 public:
  void Add(const ScoreResult& result);
  int64_t items() const { return items_; }
  std::string ToText(double seconds) const;

 private:
  int64_t items_ = 0;
  int64_t tokens_ = 0;
  int64_t context_tokens_ = 0;
  int64_t greedy_ = 0;
  double logprob_ = 0;
  double realised_ = 0;
};

}  // namespace pith::cli

#endif  // PITH_CLI_SCORE_TEXT_H_
