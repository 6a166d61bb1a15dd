// The next token of each text, drawn from a row of logits where it lies.
#ifndef PITH_OPS_DRAW_TOKENS_H_
#define PITH_OPS_DRAW_TOKENS_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

// What one row is drawn by. Filters apply in the order of their members.
struct DrawRow {
  std::span<const int32_t> seen;  // distinct ids, on the host: their logits are penalised
  float penalty = 1;              // positive logits are divided by it, others multiplied (CTRL)
  double temperature = 0;         // 0: the most likely token, whatever follows
  int64_t top_k = 0;              // the k most likely; 0: all
  double top_p = 1;               // the fewest of them that hold this much of their probability
  double min_p = 0;               // of those, none below this share of the most likely one's
  uint64_t random = 0;            // uniform below 2⁵³
};

// out[i] = a token of logits row i by rows[i]; −1 where the row holds a NaN or its largest is not
// finite. logits [rows, vocab], vocab ≤ 2²³, `out` on the host.
//
// Tokens are ranked by their logit, the larger first, of equals the lower id first. Token j has the
// gap g = (l_j − largest) / temperature and the weight TokenWeight(g) (ops/token_weight.h), which
// is a whole number. The filters leave the first tokens of the ranking: top_k of them; then the
// fewest whose weights sum to at least ⌈top_p · sum⌉, the sum being that of all that were left;
// then those with g ≥ log(min_p). With W the sum of what is left, the token drawn is the first one
// in the ranking up to which the weights sum to more than ⌊random · W / 2⁵³⌋. Sums of whole numbers
// have no order, so a row has the same token on every device. Overwrites the penalised logits.
void DrawTokens(const Exec& exec, MatView<float> logits, std::span<const DrawRow> rows,
                std::span<int32_t> out);

// What a kernel gets: the same, but log(min_p) for min_p.
struct DrawRule {
  double temperature = 0;
  double lowest_gap = 0;
  double top_p = 1;
  uint64_t random = 0;
  int64_t top_k = 0;
};
struct DrawTokensArgs {
  MatView<float> logits;
  std::span<const DrawRow> rows;
  std::span<const DrawRule> rules;  // one a row
  std::span<int32_t> out;
};

}  // namespace pith

#endif  // PITH_OPS_DRAW_TOKENS_H_
