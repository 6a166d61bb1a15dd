// A policy of the caller's own, as one of the reductions that removal compiles.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "engine/impl.h"
#include "pith/engine.h"
#include "reduce/reduction.h"
#include "reduce/registry.h"

namespace pith {
namespace {

struct NamedSource {
  std::string_view name;
  Source source;
};
constexpr NamedSource kImportanceSources[] = {{"", Source::kNone},
                                              {"ssm", Source::kSsm},
                                              {"gated", Source::kGated},
                                              {"hidden", Source::kHidden}};
constexpr NamedSource kFeatureSources[] = {
    {"", Source::kNone},         {"ssm", Source::kSsm},           {"gated", Source::kGated},
    {"hidden", Source::kHidden}, {"combined", Source::kCombined}, {"keys", Source::kKeys}};

Source FindSource(const char* field, std::string_view name, std::span<const NamedSource> sources) {
  const auto it = std::ranges::find(sources, name, &NamedSource::name);
  if (it != sources.end()) return it->source;
  std::string known;
  for (const NamedSource& one : sources.subspan(1)) {
    known += StrCat(known.empty() ? "" : ", ", one.name);
  }
  Throw(ErrorCode::kInvalidArgument, field, ": got ", "'", name, "'", ", expected one of ", known,
        " or nothing");
}

class Own : public ReductionPolicy {
 public:
  Own(OwnPolicy policy, const SiteNeeds& needs) : policy_(std::move(policy)), needs_(needs) {}

  SiteNeeds Needs() const override { return needs_; }

  pith::Plan MakePlan(const SiteView& site, int64_t remove) const override {
    std::vector<float> features(site.features.rows * site.features.cols);
    if (!features.empty()) {
      DownloadRows(site.exec, site.features,
                   {features.data(), site.features.rows, site.features.cols});
    }
    const PolicyPlan plan = policy_.plan({.layer = site.layer,
                                          .rows = site.rows,
                                          .positions = site.positions,
                                          .importance = site.importance,
                                          .features = features,
                                          .feature_width = site.features.cols,
                                          .protected_tail = site.protected_tail},
                                         remove);
    Check(plan, site, remove);
    std::vector<pith::Plan::Removed> removed;
    for (size_t i = 0; i < plan.removed.size(); ++i) {
      const int32_t target = plan.targets.empty() ? -1 : plan.targets[i];
      removed.push_back({plan.removed[i], target, target >= 0, target >= 0});
    }
    return {.removed = std::move(removed), .weights = {}};
  }

 private:
  template <class... Parts>
  void Demand(bool ok, const SiteView& site, const Parts&... parts) const {
    Require(ok, ErrorCode::kInvalidArgument, "policy ", "'", policy_.name, "'", " after layer ",
            site.layer, ": ", parts...);
  }

  void Check(const PolicyPlan& plan, const SiteView& site, int64_t remove) const {
    const int64_t free = site.rows - site.protected_tail;
    Demand(std::ssize(plan.removed) == remove, site, "removed: got ", plan.removed.size(),
           " rows, expected ", remove);
    for (size_t i = 0; i < plan.removed.size(); ++i) {
      const int32_t row = plan.removed[i];
      Demand(row >= 0 && row < free, site, "removed[", i, "]: got ", row,
             ", expected a row from 0 to ", free - 1);
      Demand(i == 0 || plan.removed[i - 1] < row, site, "removed[", i, "]: got ", row, " after ",
             plan.removed[i == 0 ? 0 : i - 1], ", expected rows in increasing order");
    }
    if (plan.targets.empty()) return;
    Demand(policy_.merges, site, "targets: got some, expected none of a policy without `merges`");
    Demand(plan.targets.size() == plan.removed.size(), site, "targets: got ", plan.targets.size(),
           ", expected one for each of ", plan.removed.size(), " removed rows");
    for (size_t i = 0; i < plan.targets.size(); ++i) {
      const int32_t target = plan.targets[i];
      const bool kept =
          target >= 0 && target < free && !std::ranges::binary_search(plan.removed, target);
      Demand(target == -1 || kept, site, "targets[", i, "]: got ", target,
             ", expected -1 or a kept row from 0 to ", free - 1);
    }
  }

  OwnPolicy policy_;
  SiteNeeds needs_;
};

}  // namespace

Reduction Engine::Compile(const OwnPolicy& policy, std::string_view amount,
                          const CompileOptions& options) const {
  Require(policy.plan != nullptr, ErrorCode::kInvalidArgument,
          "plan: got none, expected a function that says which rows go");
  const auto known = [&](const Method& method) { return method.name == policy.name; };
  Require(std::ranges::none_of(Methods(), known), ErrorCode::kInvalidArgument, "name: got ", "'",
          policy.name, "'", ", expected one that no method of pith has");
  SiteNeeds needs{
      .importance_from = FindSource("importance", policy.importance, kImportanceSources),
      .match_on = FindSource("features", policy.features, kFeatureSources),
      .branches = policy.merges};
  const auto made = std::make_shared<const Own>(policy, needs);
  const Method method{
      .name = policy.name,
      .summary = {},
      .how = RemovalMethod{.blocks = false, .make = [made](const ParamReader&) -> PolicySetup {
                             return {.policy = made};
                           }}};
  return CompileReduction(ReductionSpec::Parse(StrCat(policy.name, amount)), method,
                          impl_->model.facts(), options.sites,
                          options.full_flops ? FlopsCount::kFull : FlopsCount::kBlocks);
}

}  // namespace pith
