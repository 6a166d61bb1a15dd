#include "eval/metric.h"

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"

namespace pith {
namespace {

struct Influences {
  double value = std::numeric_limits<double>::quiet_NaN();
  int64_t n = 0;
  std::vector<double> of;  // one per item, 0 for items that do not count
};

Influences Linearise(const Metric& metric, std::span<const Share> items) {
  Influences out;
  out.of.resize(items.size());
  double sum = 0;
  double count = 0;
  for (const Share& item : items) {
    sum += item.sum;
    count += item.count;
    out.n += item.count > 0 ? 1 : 0;
  }
  if (out.n == 0) return out;
  const double ratio = sum / count;
  out.value = metric.exponential ? std::exp(ratio) : ratio;
  const double slope = metric.exponential ? out.value : 1;
  const double mean_count = count / static_cast<double>(out.n);
  for (size_t i = 0; i < items.size(); ++i) {
    out.of[i] = slope * (items[i].sum - ratio * items[i].count) / mean_count;
  }
  return out;
}

// Influences sum to zero, so that their squares' sum is the sum of squared deviations.
double StandardError(double squares, int64_t n) {
  if (n < 2) return std::numeric_limits<double>::quiet_NaN();
  const auto items = static_cast<double>(n);
  return std::sqrt(squares / (items - 1) / items);
}

}  // namespace

Estimate EstimateMetric(const Metric& metric, std::span<const Share> items) {
  const Influences influences = Linearise(metric, items);
  double squares = 0;
  for (const double influence : influences.of) squares += influence * influence;
  return {influences.value, StandardError(squares, influences.n), influences.n};
}

Estimate EstimateDifference(const Metric& metric, std::span<const Share> items,
                            std::span<const Share> base) {
  Require(items.size() == base.size(), ErrorCode::kInvalidArgument, "paired difference: got ",
          items.size(), " and ", base.size(), " items, expected the same ones");
  std::vector<Share> ours;
  std::vector<Share> theirs;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].count <= 0 || base[i].count <= 0) continue;
    ours.push_back(items[i]);
    theirs.push_back(base[i]);
  }
  const Influences a = Linearise(metric, ours);
  const Influences b = Linearise(metric, theirs);
  double squares = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    squares += (a.of[i] - b.of[i]) * (a.of[i] - b.of[i]);
  }
  return {a.value - b.value, StandardError(squares, a.n), a.n};
}

Estimate MeanOf(std::span<const Estimate> estimates) {
  Estimate mean;
  double squares = 0;
  for (const Estimate& estimate : estimates) {
    mean.value += estimate.value;
    mean.n += estimate.n;
    squares += estimate.standard_error * estimate.standard_error;
  }
  const auto k = static_cast<double>(estimates.size());
  mean.value /= k;
  mean.standard_error = std::sqrt(squares) / k;
  return mean;
}

}  // namespace pith
