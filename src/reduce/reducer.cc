#include "reduce/reducer.h"

#include <algorithm>
#include <cmath>
#include <limits>

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
  Require(!spec.reduction || (*spec.reduction >= 0 && *spec.reduction < 1),
          ErrorCode::kInvalidArgument, spec.method, ": wanted reduction: got ",
          spec.reduction.value_or(0), ", expected a share of at least 0 and less than 1");
  CheckKeys(spec, method);
  const std::vector<int> given = CheckedSites(sites, n_layer_);
  if (!method.make) {
    Require(!spec.reduction, ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
            "': expected none without a wanted reduction");
    text_ = spec.ToString();
    return;
  }
  const ParamReader params(spec.method, spec.params);
  policy_ = method.make(params);
  limit_ = method.limit;
  protect_ = params.Int("protect", 0, std::numeric_limits<int32_t>::max(), config.d_conv);
  ReductionSpec canonical = spec;
  if (method.before_layers) {
    sites_ = {-1};
  } else if (!given.empty()) {
    sites_ = given;
    canonical.params["sites"] = JoinSites(given);
  } else {
    sites_ = params.Has("sites") ? params.Layers("sites", n_layer_) : DefaultSites(n_layer_);
  }
  text_ = canonical.ToString();
  SetKeep(spec, params);
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
  if (none()) return schedule;
  schedule.sites = IntegerLengths(sites_, keep_, tokens, limit_, protect_);
  schedule.realised = Realised(schedule.sites, tokens, n_layer_, head_weight_);
  return schedule;
}

}  // namespace pith
