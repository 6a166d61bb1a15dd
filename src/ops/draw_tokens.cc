#include "ops/draw_tokens.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void DrawTokens(const Exec& exec, MatView<float> logits, std::span<const DrawRow> rows,
                std::span<int32_t> out) {
  constexpr int64_t kMostTokens = int64_t{1} << 23;  // their weights fit into 64 bits together
  CheckMatrix(logits, static_cast<int64_t>(rows.size()), logits.cols);
  PITH_CHECK(out.size() == rows.size());
  if (rows.empty()) return;
  PITH_CHECK(logits.cols > 0 && logits.cols <= kMostTokens);
  thread_local std::vector<DrawRule> rules;  // a step allocates nothing
  rules.clear();
  for (const DrawRow& row : rows) {
    PITH_CHECK(row.temperature >= 0 && row.top_k >= 0 && row.penalty > 0);
    PITH_CHECK(row.random >> 53 == 0);
    for (const int32_t id : row.seen) PITH_CHECK(id >= 0 && id < logits.cols);
    rules.push_back({.temperature = row.temperature,
                     .lowest_gap = std::log(row.min_p),
                     .top_p = row.top_p,
                     .random = row.random,
                     .top_k = std::min(row.top_k, logits.cols)});
  }
  KernelsFor(exec).draw_tokens(exec, {.logits = logits, .rows = rows, .rules = rules, .out = out});
}

}  // namespace pith
