// Log-likelihoods: continuations given contexts, and whole documents.
#ifndef PITH_SCORE_SCORE_H_
#define PITH_SCORE_SCORE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "core/exec.h"
#include "model/model.h"
#include "model/prefill.h"
#include "pith/options.h"
#include "pith/results.h"

namespace pith {

// Throws kInvalidArgument for ids outside the vocabulary and for an item with no token to score,
// naming its index.
void CheckScoreItems(const ModelConfig& config, std::span<const ScoreItem> items);

// In scoring mode `context` (docs/scoring.md): contexts are prefilled, reduced as
// `prefill.reduction` says, once per distinct context; then every continuation token is read whole
// and scored. Results do not depend on how items are batched. The other modes: score/modes.h.
// Throws as CheckScoreItems does. `stats` may be null.
std::vector<ScoreResult> ScoreItems(const Model& model, const Exec& exec,
                                    std::span<const ScoreItem> items, const ScoreOptions& options,
                                    const PrefillOptions& prefill, ScoreStats* stats = nullptr);

// One pass with carried state: every token but the first is predicted.
PerplexityResult ScoreDocument(const Model& model, const Exec& exec, std::span<const int32_t> ids,
                               const PrefillOptions& prefill);

}  // namespace pith

#endif  // PITH_SCORE_SCORE_H_
