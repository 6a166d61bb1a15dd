// Scoring modes that reduce context and continuation together: studies and reproductions, not for
// comparison with the dense model (docs/scoring.md).
#ifndef PITH_SCORE_MODES_H_
#define PITH_SCORE_MODES_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/exec.h"
#include "model/model.h"
#include "model/prefill.h"
#include "pith/options.h"
#include "pith/results.h"

namespace pith {

// Row `row` of those that are left, in order, is scored against label `label` of the continuation.
struct RowLabel {
  int64_t row = 0;
  int64_t label = 0;
  bool operator==(const RowLabel&) const = default;
};

// A pair as the model reads it: `tokens` = context and continuation without the last token; the
// last of them have `labels` labels to predict.

// survivors: the row of position p predicts token p + 1. `positions` [rows] are original ones.
std::vector<RowLabel> PairSurvivors(std::span<const int32_t> positions, int64_t tokens,
                                    int64_t labels);

// published-tail: with `removed` rows gone from the padded batch, the published code takes them all
// to be the pair's own and reads rows [end − labels : end] with end = tokens − removed, by Python's
// rules for slices: negative bounds count from the end, and what is out of reach is left out. Fewer
// rows than labels score the first labels; none scores nothing.
std::vector<RowLabel> PairPublishedTail(int64_t rows, int64_t removed, int64_t tokens,
                                        int64_t labels);

// paper-first: with a share m of the tokens gone, the first ⌊(1 − m) · labels⌋ labels (one at
// least) against as many last rows: what is left of the continuation where rows go evenly.
std::vector<RowLabel> PairPaperFirst(int64_t rows, int64_t tokens, int64_t labels);

// ScoreItems in the modes other than `context`. ScoreResult::tokens is the number of labels scored:
// over the continuation's tokens it is the coverage. Context figures are of all tokens that the
// plan saw: context and continuation, and in published-tail the padding. Without a label to score,
// `greedy` is false, but in published-tail true, as published. In published-tail alone results
// depend on the batch: items are sorted by length, longest first, and padded with token 0 in
// batches of ScoreOptions::padded_batch.
std::vector<ScoreResult> ScoreWholeItems(const Model& model, const Exec& exec,
                                         std::span<const ScoreItem> items,
                                         const ScoreOptions& options, const PrefillOptions& prefill,
                                         ScoreStats* stats);

}  // namespace pith

#endif  // PITH_SCORE_MODES_H_
