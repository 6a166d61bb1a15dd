#include "reduce/reducer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "reduce/auto.h"
#include "reduce/blocks.h"
#include "reduce/params.h"
#include "reduce/registry.h"

namespace pith {
namespace {

void CheckKeys(const ReductionSpec& spec, const Method& method) {
  const std::vector<MethodKey> keys = AllKeys(method);
  for (const auto& [key, value] : spec.params) {
    if (std::ranges::find(keys, key, &MethodKey::name) != keys.end()) continue;
    std::string known;
    for (const MethodKey& k : keys) known += (known.empty() ? "" : ", ") + std::string(k.name);
    Throw(ErrorCode::kInvalidArgument, spec.method, ": option: got '", key, "', expected ",
          known.empty() ? "no options" : "one of " + known);
  }
}

std::vector<int> CheckedSites(std::vector<int> sites, int64_t n_layer) {
  std::ranges::sort(sites);
  for (size_t i = 0; i < sites.size(); ++i) {
    const bool twice = i > 0 && sites[i] == sites[i - 1];
    Require(sites[i] >= 0 && sites[i] < n_layer && !twice, ErrorCode::kInvalidArgument,
            "sites: got ", sites[i], twice ? " twice" : "", ", expected layers from 0 to ",
            n_layer - 1, ", each once");
  }
  return sites;
}

std::string JoinSites(const std::vector<int>& sites) {
  std::string text;
  for (int site : sites) {
    if (!text.empty()) text += '+';
    text += std::to_string(site);
  }
  return text;
}

}  // namespace

Reducer::Reducer(const ReductionSpec& spec, const ModelConfig& config,
                 const std::vector<int>& sites, FlopsCount count)
    : n_layer_(config.n_layer), head_weight_(HeadWeight(config, count)) {
  const Method& method = FindMethod(spec.method);
  PITH_CHECK(!IsAuto(spec));
  Require(!spec.reduction || (*spec.reduction >= 0 && *spec.reduction < 1),
          ErrorCode::kInvalidArgument, spec.method, ": wanted reduction: got ",
          spec.reduction.value_or(0), ", expected a share of at least 0 and less than 1");
  CheckKeys(spec, method);
  const std::vector<int> given = CheckedSites(sites, n_layer_);
  if (!method.make && !method.roles) {
    Require(!spec.reduction, ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
            "': expected none without a wanted reduction");
    text_ = spec.ToString();
    return;
  }
  const ParamReader params(spec.method, spec.params);
  if (method.roles) {
    Require(count == FlopsCount::kBlocks || !spec.reduction, ErrorCode::kInvalidArgument,
            "reduction '", spec.ToString(),
            "': skim's share counts the blocks, expected flops=blocks");
    skim_.emplace(spec, config, params);
    text_ = spec.ToString();
    return;
  }
  policy_ = method.make(params);
  limit_ = method.limit;
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  // The last token's row gives the next token, so it stays whatever is asked.
  protect_ = std::max<int64_t>(
      1, params.Int("protect", 0, kMax, method.protect < 0 ? config.d_conv : method.protect));
  rounding_ = static_cast<Rounding>(params.Choice("lengths", {"cumulative", "published"}, 0));
  block_ = params.Int("block", 0, kMax, 0);
  if (block_ % 2 != 0) params.Fail("block", "an even number of rows");
  SetSites(spec, method, given);
  SetKeep(spec, params);
  policy_->CheckSchedule(sites_, keep_, protect_);
}

void Reducer::SetSites(const ReductionSpec& spec, const Method& method,
                       const std::vector<int>& given) {
  const ParamReader params(spec.method, spec.params);
  ReductionSpec canonical = spec;
  if (method.before_layers) {
    sites_ = {-1};
  } else if (!given.empty()) {
    sites_ = given;
    canonical.params["sites"] = JoinSites(given);
  } else if (params.Has("sites")) {
    sites_ = params.Layers("sites", n_layer_);
  } else {
    sites_ = DefaultSites(n_layer_);
    if (method.one_site) sites_.resize(1);
  }
  text_ = canonical.ToString();
}

void Reducer::SetKeep(const ReductionSpec& spec, const ParamReader& params) {
  const double lowest = limit_ == Limit::kHalf ? 0.5 : 0.0;
  if (params.Has("keep")) {
    Require(!spec.reduction, ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
            "': got both @N% and keep, expected one of them");
    keep_ = params.Number("keep", lowest, 1, 1);
    if (keep_ == lowest) params.Fail("keep", StrCat("a share above ", lowest, " and at most 1"));
    return;
  }
  Require(spec.reduction.has_value(), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': expected how much, as in ", spec.method, "@30% or ", spec.method, ":keep=0.9");
  const double wanted = *spec.reduction;
  const double max = Reduction(sites_, n_layer_, head_weight_, lowest);
  Require(wanted == 0 || wanted < max, ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': wanted reduction: got ", 100 * wanted, "%, expected at least 0% and less than ",
          std::floor(1000 * max) / 10, "%, the most that ", spec.method, " reaches with sites ",
          JoinSites(sites_));
  keep_ = SolveKeep(sites_, n_layer_, head_weight_, wanted, lowest);
}

Schedule Reducer::Lengths(int64_t tokens) const {
  PITH_CHECK(tokens >= 0);
  Schedule schedule;
  if (skim_) schedule.realised = skim_->Realised(tokens).all_pairs;
  if (policy_ == nullptr) return schedule;
  schedule.sites = IntegerLengths(sites_, keep_, tokens,
                                  {.limit = limit_,
                                   .protected_rows = protect_ + policy_->protected_head(),
                                   .rounding = rounding_,
                                   .extra = policy_->published_extra()});
  schedule.realised = RealisedBy(schedule.sites, tokens);
  return schedule;
}

Plan Reducer::MakePlan(const SiteView& site, int64_t remove) const {
  if (block_ == 0 || site.layer < 0) return policy().MakePlan(site, remove);
  return PlanInBlocks(policy(), site, remove, block_, limit_);
}

Reducer Reducer::With(std::shared_ptr<const ReductionPolicy> policy) const {
  PITH_CHECK(policy_ != nullptr && policy != nullptr);
  Reducer other = *this;
  other.policy_ = std::move(policy);
  return other;
}

double Reducer::RealisedBy(const std::vector<SiteLength>& lengths, int64_t tokens) const {
  return Realised(lengths, tokens, n_layer_, head_weight_);
}

}  // namespace pith
