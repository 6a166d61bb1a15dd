#include "reduce/match.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "ops/linear.h"

namespace pith {
namespace {

constexpr int64_t kSourceBlock = 256;
constexpr int64_t kTargetBlock = 1024;
constexpr int64_t kRowsPerTask = 32;

void NormaliseRow(const float* row, int64_t cols, float* out) {
  constexpr int64_t kLanes = 8;
  double lanes[kLanes] = {};
  for (int64_t c = 0; c < cols; ++c) {
    lanes[c % kLanes] += static_cast<double>(row[c]) * row[c];
  }
  double square = 0;
  for (double lane : lanes) square += lane;
  if (!std::isfinite(square)) {
    std::fill(out, out + cols, 0.0f);
    return;
  }
  const double inverse = 1 / std::max(std::sqrt(square), 1e-12);
  for (int64_t c = 0; c < cols; ++c) out[c] = static_cast<float>(row[c] * inverse);
}

void NormaliseRows(const Exec& exec, MatView<const float> features, std::span<const int32_t> rows,
                   MatView<float> out) {
  const auto n = static_cast<int64_t>(rows.size());
  ParallelFor(exec.threads, (n + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task) {
    for (int64_t i = task * kRowsPerTask; i < std::min(n, (task + 1) * kRowsPerTask); ++i) {
      NormaliseRow(features.Row(rows[i]), features.cols, out.Row(i));
    }
  });
}

// Indices [begin, end) of the targets that `source` may take; both grow with the source.
struct Candidates {
  int64_t begin;
  int64_t end;
};
Candidates CandidatesOf(int32_t source, std::span<const int32_t> targets, const MatchRange& range) {
  const auto first_from = [&](int64_t row) -> int64_t {
    return std::ranges::lower_bound(targets, row) - targets.begin();
  };
  Candidates c{0, static_cast<int64_t>(targets.size())};
  if (range.window > 0)
    c = {first_from(source - range.window), first_from(source + range.window + 1)};
  if (range.forward_only) c.begin = first_from(source);
  return c;
}

// The argmax over one block of products, whose columns are the targets from `first` on.
void TakeBest(MatView<const float> products, int64_t row, int64_t first, Candidates candidates,
              std::span<const int32_t> targets, Match& best) {
  const int64_t begin = std::max(candidates.begin, first);
  const int64_t end = std::min(candidates.end, first + products.cols);
  for (int64_t j = begin; j < end; ++j) {
    const float similarity = products.Row(row)[j - first];
    if (similarity > best.similarity) best = {.target = targets[j], .similarity = similarity};
  }
}

}  // namespace

std::vector<Match> BestMatches(const Exec& exec, MatView<const float> features,
                               std::span<const int32_t> sources, std::span<const int32_t> targets,
                               const MatchRange& range) {
  const auto n_sources = static_cast<int64_t>(sources.size());
  const auto n_targets = static_cast<int64_t>(targets.size());
  std::vector<Match> best(n_sources);
  if (n_sources == 0 || n_targets == 0) return best;

  Exec exact = exec;
  exact.precision = Precision::kF32;
  MatOwner<float> unit_targets(n_targets, features.cols);
  NormaliseRows(exec, features, targets, unit_targets.view());
  const WeightView weights{DType::kF32, unit_targets.view().data, n_targets, features.cols};
  MatOwner<float> unit_sources(std::min(kSourceBlock, n_sources), features.cols);
  MatOwner<float> products(unit_sources.rows(), std::min(kTargetBlock, n_targets));

  for (int64_t i = 0; i < n_sources; i += kSourceBlock) {
    const int64_t rows = std::min(kSourceBlock, n_sources - i);
    NormaliseRows(exec, features, sources.subspan(i, rows), unit_sources.view());
    const int64_t first = CandidatesOf(sources[i], targets, range).begin;
    const int64_t last = CandidatesOf(sources[i + rows - 1], targets, range).end;
    for (int64_t j = first; j < last; j += kTargetBlock) {
      const int64_t cols = std::min(kTargetBlock, last - j);
      const MatView<float> block(products.view().data, rows, cols);
      Linear(exact, unit_sources.view().Rows(0, rows), weights.Rows(j, cols), nullptr, block);
      ParallelFor(exec.threads, (rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task) {
        for (int64_t r = task * kRowsPerTask; r < std::min(rows, (task + 1) * kRowsPerTask); ++r) {
          TakeBest(block, r, j, CandidatesOf(sources[i + r], targets, range), targets, best[i + r]);
        }
      });
    }
  }
  return best;
}

}  // namespace pith
