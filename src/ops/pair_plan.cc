#include "ops/pair_plan.h"

#include <limits>

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {
namespace {

struct Sums {
  int64_t rows = 0, removed = 0;
};

Sums CheckSequences(std::span<const PairSequence> sequences) {
  Sums sums;
  for (const PairSequence& s : sequences) {
    PITH_CHECK(s.begin == sums.rows && 0 <= s.protected_tail && s.protected_tail <= s.rows);
    PITH_CHECK(0 <= s.remove && s.remove <= (s.rows - s.protected_tail) / 2);
    PITH_CHECK(0 <= s.pruned_hidden && s.pruned_hidden <= s.remove);
    PITH_CHECK(0 <= s.pruned_residual && s.pruned_residual <= s.remove);
    sums.rows += s.rows;
    sums.removed += s.remove;
  }
  PITH_CHECK(sums.rows <= std::numeric_limits<int32_t>::max());
  return sums;
}

}  // namespace

bool PlansPairs(const Exec& exec) { return KernelsFor(exec).plan_pairs != nullptr; }

void PlanPairs(const Exec& exec, const PairPlanArgs& args) {
  PITH_CHECK(PlansPairs(exec));
  const Sums sums = CheckSequences(args.sequences);
  PITH_CHECK(args.range.window >= 0 && args.prune != PruneOrder::kRandom);
  CheckMatrix(args.features, sums.rows, args.features.cols);
  if (!args.importance.empty()) CheckVector(args.importance, sums.rows);
  CheckVector(args.removed, sums.removed);
  CheckVector(args.kept, sums.rows - sums.removed);
  if (sums.rows == 0) return;
  KernelsFor(exec).plan_pairs(exec, args);
}

void MergePairs(const Exec& exec, const MergePairsArgs& args) {
  PITH_CHECK(PlansPairs(exec));
  const Sums sums = CheckSequences(args.sequences);
  CheckMatrix(args.rows, sums.rows, args.rows.cols);
  CheckVector(args.removed, sums.removed);
  if (sums.removed == 0 || args.rows.empty()) return;
  KernelsFor(exec).merge_pairs(exec, args);
}

}  // namespace pith
