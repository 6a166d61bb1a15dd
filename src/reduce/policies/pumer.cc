// Merges every other row into its most similar neighbour class (Cao et al. 2023, "PuMer"), the text
// part of that method, and the published UTRC code's version of it, which mismatches the pairs.
#include <algorithm>
#include <functional>

#include "core/error.h"
#include "reduce/edges.h"
#include "reduce/options.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

enum class Mode { kFixed, kOriginal, kPublished };

// The published code sorts the sources by position after it has looked up their targets, which stay
// in order of similarity.
void ScramblePairs(std::vector<Edge>& edges) {
  std::vector<Match> matches;
  for (const Edge& edge : edges) matches.push_back(edge.match);
  std::ranges::stable_sort(matches, std::greater<>(), &Match::similarity);
  for (size_t i = 0; i < edges.size(); ++i) edges[i].match = matches[i];
}

class Pumer : public ReductionPolicy {
 public:
  Pumer(Mode mode, const MatchRange& range) : mode_(mode), range_(range) {}

  SiteNeeds Needs() const override {
    return {.match_on = mode_ == Mode::kOriginal ? Source::kKeys : Source::kHiddenClipped,
            .branches = true};
  }

  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    if (remove == 0) return {};
    // The original protects token 0: its pairs begin one row later, which leaves as many sources.
    const bool skip = mode_ == Mode::kOriginal && site.positions[0] == 0;
    std::vector<Edge> edges = AlternateEdges(site, skip ? 1 : 0, range_, remove);
    KeepMostSimilar(edges, remove);
    if (mode_ == Mode::kPublished) ScramblePairs(edges);
    return MergePlan(edges);
  }

 private:
  Mode mode_;
  MatchRange range_;
};

PolicySetup MakePumer(const ParamReader& params) {
  const Mode mode = static_cast<Mode>(params.Choice("mode", {"fixed", "original", "published"}, 0));
  const MatchRange range = ReadRange(params);
  if (mode == Mode::kPublished && range.forward_only) {
    params.Fail("causal", "off with mode=published, whose pairs are mismatched");
  }
  if (mode == Mode::kPublished && range.window > 0) {
    params.Fail("window", "0 with mode=published, whose pairs are mismatched");
  }
  return {.policy = std::make_shared<Pumer>(mode, range)};
}

}  // namespace

Method PumerMethod() {
  return {.name = "pumer",
          .summary = "merges even rows into the most similar odd rows, all rows counting as one",
          .keys = JoinKeys({{{"mode", "fixed",
                              "cosine of max(0, h); original: of keys B, first token protected; "
                              "published: as fixed, pairs mismatched"}},
                            RangeKeys()}),
          .how = RemovalMethod{.make = &MakePumer}};
}

}  // namespace pith
