#include "reduce/removal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/error.h"
#include "reduce/blocks.h"
#include "reduce/params.h"

namespace pith {
namespace {

// DefaultSites, each moved down to the next layer that mixes rows: what stands behind an MLP has
// not met its neighbours since.
std::vector<int> MixingSites(const ModelFacts& facts) {
  std::vector<int> sites;
  for (int site : DefaultSites(facts.n_layer())) {
    while (site > 0 && !HasSource(facts.layers[site].kind, Source::kSsm)) --site;
    if (sites.empty() || site > sites.back()) sites.push_back(site);
  }
  return sites;
}

std::vector<int> ChooseSites(const RemovalMethod& method, const ParamReader& params,
                             const ModelFacts& facts, const std::vector<int>& given) {
  if (method.before_layers) return {-1};
  if (!given.empty()) return given;
  if (params.Has("sites")) return params.Layers("sites", facts.n_layer());
  std::vector<int> sites = MixingSites(facts);
  if (method.one_site) sites.resize(1);
  return sites;
}

// Throws where the policy reads what a site's layer does not have.
void CheckSources(const ReductionSpec& spec, const Removal& removal, const ModelFacts& facts) {
  const SiteNeeds needs = removal.setup.policy->Needs();
  for (const int site : removal.sites) {
    if (site < 0) continue;
    for (const Source source : {needs.importance_from, needs.match_on}) {
      const LayerKind kind = facts.layers[site].kind;
      Require(HasSource(kind, source), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
              "': site ", site, " is ", NameOf(kind), ", which has ", Lack(source),
              ": expected other sites, or importance and match of what it has");
    }
  }
}

double LowestKeep(Limit limit) { return limit == Limit::kHalf ? 0.5 : 0.0; }

double GivenKeep(const ReductionSpec& spec, const ParamReader& params, Limit limit) {
  Require(!spec.reduction, ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': got both @N% and keep, expected one of them");
  const double lowest = LowestKeep(limit);
  const double keep = params.Number("keep", lowest, 1, 1);
  if (keep == lowest) params.Fail("keep", StrCat("a share above ", lowest, " and at most 1"));
  return keep;
}

double KeepForWanted(const ReductionSpec& spec, const Removal& removal) {
  Require(spec.reduction.has_value(), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': expected how much, as in ", spec.method, "@30% or ", spec.method, ":keep=0.9");
  const double lowest = LowestKeep(removal.rules.limit);
  const double wanted = *spec.reduction;
  const double max = ShareSaved(removal.sites, removal.weights, lowest);
  Require(wanted == 0 || wanted < max, ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': wanted reduction: got ", 100 * wanted, "%, expected at least 0% and less than ",
          std::floor(1000 * max) / 10, "%, the most that ", spec.method, " reaches with sites ",
          JoinSites(removal.sites));
  return SolveKeep(removal.sites, removal.weights, wanted, lowest);
}

void CheckMadeFor(const ScheduleMade& made, const Removal& removal) {
  const auto require = [&](bool holds, const auto&... message) {
    Require(holds, ErrorCode::kInvalidArgument, made.file, ": thresholds for ", message...);
  };
  require(made.sites == removal.sites, "sites ", JoinSites(made.sites),
          ", expected those of the reduction's sites");
  require(std::abs(made.keep - removal.keep) < 1e-9, "keep=", made.keep,
          ", expected those for keep=", removal.keep);
  require(made.protect == removal.protected_tail, "protect=", made.protect,
          ", expected those for protect=", removal.protected_tail);
}

}  // namespace

Removal CompileRemoval(const ReductionSpec& spec, const RemovalMethod& method,
                       const ModelFacts& facts, const std::vector<int>& given, FlopsCount count) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  const ParamReader params(spec.method, spec.params);
  Removal removal{.setup = method.make(params), .weights = WeightsOf(facts, count)};
  // The last token's row gives the next token, so it stays whatever is asked.
  removal.protected_tail = std::max<int64_t>(
      1, params.Int("protect", 0, kMax, method.protect < 0 ? facts.d_conv() : method.protect));
  removal.rules = {
      .limit = method.limit,
      .protected_rows = removal.protected_tail + removal.setup.protected_head,
      .rounding = static_cast<Rounding>(params.Choice("lengths", {"cumulative", "published"}, 0)),
      .extra = removal.setup.published_extra};
  removal.block = params.Int("block", 0, kMax, 0);
  if (removal.block % 2 != 0) params.Fail("block", "an even number of rows");
  removal.sites = ChooseSites(method, params, facts, given);
  CheckSources(spec, removal, facts);
  removal.keep =
      params.Has("keep") ? GivenKeep(spec, params, method.limit) : KeepForWanted(spec, removal);
  if (removal.setup.made_for) CheckMadeFor(*removal.setup.made_for, removal);
  return removal;
}

Schedule Removal::Lengths(int64_t tokens) const {
  Schedule schedule{.sites = IntegerLengths(sites, keep, tokens, rules)};
  schedule.realised = RealisedBy(schedule.sites, tokens);
  return schedule;
}

double Removal::RealisedBy(const std::vector<SiteLength>& lengths, int64_t tokens) const {
  return Realised(lengths, tokens, weights);
}

Plan Removal::MakePlan(const SiteView& site, int64_t remove) const {
  if (block == 0 || site.layer < 0) return setup.policy->MakePlan(site, remove);
  return PlanInBlocks(*setup.policy, site, remove, block, rules.limit);
}

}  // namespace pith
