#include "ops/match.h"

#include <algorithm>

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {
namespace {

void CheckRows(std::span<const int32_t> rows, int64_t count) {
  int64_t previous = -1;
  for (const int32_t row : rows) {
    PITH_CHECK(row > previous && row < count);
    previous = row;
  }
}

MatchArgs::Candidates CandidatesOf(int32_t source, std::span<const int32_t> targets,
                                   const MatchRange& range) {
  const auto first_from = [&](int64_t row) -> int64_t {
    return std::ranges::lower_bound(targets, row) - targets.begin();
  };
  MatchArgs::Candidates c{0, static_cast<int64_t>(targets.size())};
  if (range.window > 0)
    c = {first_from(source - range.window), first_from(source + range.window + 1)};
  if (range.forward_only) c.begin = first_from(source);
  return c;
}

}  // namespace

std::vector<Match> BestMatches(const Exec& exec, MatView<const float> features,
                               std::span<const int32_t> sources, std::span<const int32_t> targets,
                               const MatchRange& range, int64_t wanted) {
  CheckMatrix(features, features.rows, features.cols);
  CheckRows(sources, features.rows);
  CheckRows(targets, features.rows);
  PITH_CHECK(range.window >= 0 && wanted >= 0);
  std::vector<Match> best(sources.size());
  if (sources.empty() || targets.empty() || wanted == 0) return best;
  std::vector<MatchArgs::Candidates> candidates;
  candidates.reserve(sources.size());
  for (const int32_t source : sources) {
    PITH_CHECK(!std::ranges::binary_search(targets, source));
    candidates.push_back(CandidatesOf(source, targets, range));
  }
  KernelsFor(exec).best_matches(exec, {.features = features,
                                       .sources = sources,
                                       .targets = targets,
                                       .candidates = candidates,
                                       .wanted = wanted,
                                       .best = best});
  return best;
}

}  // namespace pith
