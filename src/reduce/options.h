// The options that several methods share: what importance is, what is matched, and how far.
#ifndef PITH_REDUCE_OPTIONS_H_
#define PITH_REDUCE_OPTIONS_H_

#include <string_view>
#include <vector>

#include "ops/match.h"
#include "reduce/params.h"
#include "reduce/policy.h"
#include "reduce/registry.h"

namespace pith {

// Keys `importance`, `from`, `table` into importance_from, importance and unigrams. `from` where
// none is given: `fallback_from`. Throws for a `from` or `table` that the kind would not read.
void ReadImportance(const ParamReader& params, Source fallback_from, SiteNeeds& needs);
std::vector<MethodKey> ImportanceKeys();

// The key `table` alone: the file of unigram counts, or null for `none`.
std::shared_ptr<const Unigrams> ReadTable(const ParamReader& params);

// Key `match` into match_on.
void ReadMatch(const ParamReader& params, SiteNeeds& needs);
MethodKey MatchKey();

// Keys `causal` and `window`.
MatchRange ReadRange(const ParamReader& params);
std::vector<MethodKey> RangeKeys();

// Key `seed`.
uint64_t ReadSeed(const ParamReader& params);

// `lists` one after another.
std::vector<MethodKey> JoinKeys(const std::vector<std::vector<MethodKey>>& lists);

}  // namespace pith

#endif  // PITH_REDUCE_OPTIONS_H_
