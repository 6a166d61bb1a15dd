// Engine::Score: one reduction for all items, or, under `auto`, one for each length's reduction.
#include "score/score.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "engine/impl.h"
#include "score/modes.h"

namespace pith {

std::vector<ScoreResult> Engine::Impl::Score(std::span<const ScoreItem> items,
                                             const ScoreOptions& options, ScoreStats* stats) const {
  const PrefillOptions prefill =
      Prefilling({.cancel = options.control.cancel, .progress = nullptr}, options.reduction);
  return ScoreItems(model, exec, items, options, prefill, stats);
}

std::vector<ScoreResult> Engine::Impl::ScoreByLength(std::span<const ScoreItem> items,
                                                     const ScoreOptions& options,
                                                     ScoreStats* stats) const {
  Require(options.mode == ScoringMode::kContext, ErrorCode::kInvalidArgument, "reduction '",
          options.reduction.text(), "': got scoring mode ", ScoringModeName(options.mode),
          ", expected context");
  options.reduction.impl().CheckModel(model.facts());
  CheckScoreItems(model.config(), items);
  struct Group {
    Reduction reduction;
    std::vector<size_t> indices;
  };
  std::map<std::string, Group> groups;  // by the reduction's spelling
  for (size_t i = 0; i < items.size(); ++i) {
    const Reduction here = options.reduction.For(std::ssize(items[i].context));
    groups.try_emplace(here.text(), Group{here, {}}).first->second.indices.push_back(i);
  }
  if (stats != nullptr) *stats = {};
  std::vector<ScoreResult> results(items.size());
  size_t done = 0;
  for (const auto& [text, same] : groups) {
    const std::vector<size_t>& indices = same.indices;
    std::vector<ScoreItem> group;
    for (const size_t i : indices) group.push_back(items[i]);
    ScoreOptions part = options;
    part.reduction = same.reduction;
    if (options.control.progress) {
      part.control.progress = [&](double share) {
        options.control.progress((done + share * group.size()) / items.size());
      };
    }
    ScoreStats cost;
    std::vector<ScoreResult> scored = Score(group, part, &cost);
    for (size_t i = 0; i < indices.size(); ++i) results[indices[i]] = std::move(scored[i]);
    done += indices.size();
    if (stats == nullptr) continue;
    stats->context_tokens += cost.context_tokens;
    stats->context_seconds += cost.context_seconds;
  }
  return results;
}

}  // namespace pith
