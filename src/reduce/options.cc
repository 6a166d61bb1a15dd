#include "reduce/options.h"

#include <limits>

namespace pith {
namespace {

const std::vector<std::string_view> kKinds = {
    "clip",        "noclip",      "l1",         "l2",       "delta",
    "state-write", "final-state", "tail-query", "last-row", "rarity"};
const std::vector<std::string_view> kFrom = {"ssm", "gated", "block"};

Source SourceOf(ImportanceKind kind, Source activations) {
  if (kind == ImportanceKind::kRarity) return Source::kTokens;
  return kind <= ImportanceKind::kL2 ? activations : Source::kScan;
}

}  // namespace

void ReadImportance(const ParamReader& params, Source fallback_from, SiteNeeds& needs) {
  constexpr Source kSources[] = {Source::kSsm, Source::kGated, Source::kHidden};
  needs.importance = static_cast<ImportanceKind>(params.Choice("importance", kKinds, 0));
  const Source from =
      params.Has("from") ? kSources[params.Choice("from", kFrom, 0)] : fallback_from;
  needs.importance_from = SourceOf(needs.importance, from);
  if (params.Has("from") && needs.importance_from != from) {
    params.Fail("from", "it only with importance clip, noclip, l1 or l2");
  }
  needs.unigrams = ReadTable(params);
  if (needs.unigrams && needs.importance != ImportanceKind::kRarity) {
    params.Fail("table", "it only with importance=rarity");
  }
}

std::vector<MethodKey> ImportanceKeys() {
  return {
      {"importance", "clip",
       "of channels: clip (mean of max(0, y)), noclip, l1, l2; of the scan: delta, state-write, "
       "final-state, tail-query, last-row; of tokens: rarity"},
      {"from", "ssm", "y: scan output (ssm), out_proj's input (gated) or output (block)"},
      {"table", "none", "file of unigram counts for rarity; none: those of the context", true}};
}

std::shared_ptr<const Unigrams> ReadTable(const ParamReader& params) {
  const std::string path = params.Text("table", "none");
  return path == "none" ? nullptr : std::make_shared<const Unigrams>(Unigrams::Read(path));
}

void ReadMatch(const ParamReader& params, SiteNeeds& needs) {
  constexpr Source kMatch[] = {Source::kHidden, Source::kSsm, Source::kCombined, Source::kKeys};
  needs.match_on = kMatch[params.Choice("match", {"h", "y", "T", "B"}, 0)];
}

MethodKey MatchKey() {
  return {"match", "h",
          "cosine of layer output (h), scan output (y), h + residual (T) or keys (B)"};
}

MatchRange ReadRange(const ParamReader& params) {
  return {.forward_only = params.Choice("causal", {"off", "content"}, 0) == 1,
          .window = params.Int("window", 0, std::numeric_limits<int32_t>::max(), 0)};
}

std::vector<MethodKey> RangeKeys() {
  return {{"causal", "off", "content: merge only into later rows"},
          {"window", "0", "merge only into rows at most so far away; 0: any distance"}};
}

uint64_t ReadSeed(const ParamReader& params) {
  return params.Int("seed", 0, std::numeric_limits<int64_t>::max(), 0);
}

std::vector<MethodKey> JoinKeys(const std::vector<std::vector<MethodKey>>& lists) {
  std::vector<MethodKey> keys;
  for (const auto& list : lists) keys.insert(keys.end(), list.begin(), list.end());
  return keys;
}

}  // namespace pith
