// What happened, in Prometheus' text format.
#ifndef PITH_SERVE_METRICS_H_
#define PITH_SERVE_METRICS_H_

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "pith/scheduler.h"

namespace pith::serve {

class Metrics {
 public:
  // `path` must be one of few: each is a series of its own.
  void CountAnswer(const std::string& path, int status);
  // Until a first text was written or done.
  void CountFirst(double seconds);
  std::string Text(const SchedulerCounts& counts) const;

 private:
  static constexpr std::array<double, 10> kBounds = {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300};

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> answers_;
  std::array<int64_t, kBounds.size()> within_ = {};  // first texts within each bound
  int64_t firsts_ = 0;
  double first_seconds_ = 0;
};

}  // namespace pith::serve

#endif  // PITH_SERVE_METRICS_H_
