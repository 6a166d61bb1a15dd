#include "ops/draw_tokens.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "backends/reference/kernels.h"
#include "ops/token_weight.h"

namespace pith::reference {
namespace {

int32_t Draw(std::span<const float> logits, const DrawRule& rule) {
  const bool broken = std::ranges::any_of(logits, [](float v) { return std::isnan(v); });
  if (broken || !std::isfinite(std::ranges::max(logits))) return -1;
  std::vector<int32_t> ranking(logits.size());
  std::iota(ranking.begin(), ranking.end(), 0);
  std::ranges::stable_sort(ranking, std::greater(), [&](int32_t id) { return logits[id]; });
  if (rule.temperature == 0) return ranking[0];
  const double largest = logits[ranking[0]];
  const auto gap = [&](int32_t id) { return (logits[id] - largest) / rule.temperature; };
  const auto sum_of = [&] {
    uint64_t sum = 0;
    for (const int32_t id : ranking) sum += TokenWeight(gap(id));
    return sum;
  };
  // The fewest of the ranking whose weights sum to `wanted`.
  const auto reaching = [&](uint64_t wanted) {
    uint64_t sum = 0;
    size_t count = 0;
    while (sum < wanted) sum += TokenWeight(gap(ranking[count++]));
    return count;
  };
  if (rule.top_k > 0) ranking.resize(rule.top_k);
  ranking.resize(std::max<size_t>(1, reaching(ShareOf(sum_of(), rule.top_p))));
  std::erase_if(ranking, [&](int32_t id) { return gap(id) < rule.lowest_gap; });
  return ranking[reaching(DrawBelow(sum_of(), rule.random) + 1) - 1];
}

}  // namespace

void DrawTokens(const Exec& /*exec*/, const DrawTokensArgs& args) {
  for (int64_t i = 0; i < args.logits.rows; ++i) {
    const std::span row(args.logits.Row(i), static_cast<size_t>(args.logits.cols));
    const DrawRow& by = args.rows[i];
    for (const int32_t id : by.seen) {
      row[id] = row[id] > 0 ? row[id] / by.penalty : row[id] * by.penalty;
    }
    args.out[i] = Draw(row, args.rules[i]);
  }
}

}  // namespace pith::reference
