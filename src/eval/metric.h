// Metrics as ratios of sums over items, with standard errors and paired differences.
#ifndef PITH_EVAL_METRIC_H_
#define PITH_EVAL_METRIC_H_

#include <cstdint>
#include <span>
#include <string>

namespace pith {

// One item's part in a metric. Most items count once; a window counts its tokens, a recall context
// its questions.
struct Share {
  double sum = 0;
  double count = 1;
};

struct Metric {
  std::string name;
  std::string meaning;
  bool exponential = false;  // exp of the ratio: a perplexity from mean nats
  bool higher_is_better = true;
  bool headline = false;  // the column of the paper's tables; one of a task's metrics
};

struct Estimate {
  double value = 0;
  double standard_error = 0;  // NaN for fewer than two items
  int64_t n = 0;              // items that count in it
};

// Σ sum / Σ count over the items, through exp where the metric says so. Items with count 0 are left
// out; NaN where none is left. The standard error is sample standard deviation / √n of the items'
// influences (sum − ratio · count) / mean count: exactly that of the mean where every item counts
// once, the linearised one for a ratio or an exponential.
Estimate EstimateMetric(const Metric& metric, std::span<const Share> items);

// value − base over the items that count on both sides, which is what `n` states: item i of both
// stands for the same question. The standard error is that of the paired difference. Throws
// kInvalidArgument where the numbers of items differ.
Estimate EstimateDifference(const Metric& metric, std::span<const Share> items,
                            std::span<const Share> base);

// The mean of estimates from independent samples, as of several tasks: √Σ s.e.² / k.
Estimate MeanOf(std::span<const Estimate> estimates);

}  // namespace pith

#endif  // PITH_EVAL_METRIC_H_
