// Plans that pair unimportant rows with the important rows they resemble, made and applied where
// the rows lie: for a batch of sequences at one site, without a word from the host.
#ifndef PITH_OPS_PAIR_PLAN_H_
#define PITH_OPS_PAIR_PLAN_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "ops/apply_plan.h"
#include "ops/match.h"
#include "ops/plan.h"

namespace pith {

// Which removed rows are pruned before others.
enum class PruneOrder : uint8_t { kLeastImportant, kLeastSimilar, kMostSimilar, kRandom };

// One sequence's rows, and what becomes of them.
struct PairSequence {
  int64_t begin = 0;  // its first row among those of the batch
  int64_t rows = 0;
  int64_t protected_tail = 0;  // last rows that are neither removed nor targets
  int64_t remove = 0;          // at most half of the others
  int64_t pruned_hidden = 0;   // how many of the removed rows the branch prunes and does not merge
  int64_t pruned_residual = 0;
};

struct PairPlanArgs {
  MatchRange range;
  PruneOrder prune = PruneOrder::kLeastImportant;  // but not kRandom
  std::span<const PairSequence> sequences;         // on the host, in the order of their rows
  VecView<const float> importance;                 // [rows of the batch]; empty: all are 0
  MatView<const float> features;                   // [rows of the batch, cols]
  VecView<Plan::Removed> removed;                  // [Σ remove] out: rows as the plan counts them
  VecView<int32_t> kept;                           // [Σ (rows − remove)] out: rows of the batch
};

// Of each sequence's unprotected rows the less important half are sources and the others targets:
// NaN ranks lowest, and of equals the lower row. Each source has its best match as BestMatches
// says. The `remove` most similar sources go; of equals the lower rows. Of those, the rows without
// a candidate are pruned first, then the others in the order `prune`, equals in row order; the rest
// merge. So a sequence's `removed` is the plan that utrc makes of the same similarities on the
// host, and `kept` are the rows that it leaves, ascending. In 16 bits similarities are sums in f32
// of products of unit rows rounded to f16; in f32 they are those of BestMatches. Only where
// PlansPairs.
void PlanPairs(const Exec& exec, const PairPlanArgs& args);

// Whether exec's backend plans so.
bool PlansPairs(const Exec& exec);

struct MergePairsArgs {
  std::span<const PairSequence> sequences;
  VecView<const Plan::Removed> removed;  // as PlanPairs left them
  Branch branch = Branch::kHidden;
  MatView<float> rows;  // [rows of the batch, cols]
};

// Targets become the means that ApplyPlan makes of them, in place, and no other row changes: the
// removed ones stay where they are, for whoever takes the kept ones.
void MergePairs(const Exec& exec, const MergePairsArgs& args);

}  // namespace pith

#endif  // PITH_OPS_PAIR_PLAN_H_
