// LTMP without training: half of the rows merge and half are pruned, by fixed counts, or by
// thresholds chosen on a calibration text (model/calibrate_ltmp.h) as the method itself has them.
#include "reduce/ltmp.h"

#include <algorithm>

#include "core/error.h"
#include "reduce/options.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

class LtmpFixed : public ReductionPolicy {
 public:
  explicit LtmpFixed(const LtmpOptions& options) : options_(options) {}
  SiteNeeds Needs() const override { return options_.needs; }

  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    if (remove == 0) return {};
    std::vector<Edge> edges = AlternateEdges(site, 0, options_.range, remove / 2);
    KeepMostSimilar(edges, remove / 2);
    std::erase_if(edges, [](const Edge& edge) { return edge.match.target < 0; });
    return MergeThenPrune(site, edges, RankSurvivors(site, edges),
                          remove - static_cast<int64_t>(edges.size()));
  }

 private:
  LtmpOptions options_;
};

class LtmpCalibrated : public ReductionPolicy {
 public:
  LtmpCalibrated(const LtmpOptions& options, LtmpThresholds thresholds)
      : options_(options), thresholds_(std::move(thresholds)) {}
  SiteNeeds Needs() const override { return options_.needs; }
  Plan MakePlan(const SiteView& site, int64_t /*remove*/) const override {
    const auto it = std::ranges::find(thresholds_.sites, site.layer, &LtmpThreshold::layer);
    PITH_CHECK(it != thresholds_.sites.end());
    return PlanByThreshold(site, options_, *it);
  }

 private:
  LtmpOptions options_;
  LtmpThresholds thresholds_;
};

PolicySetup MakeLtmp(const ParamReader& params) {
  const LtmpOptions options = ReadLtmpOptions(params);
  const std::string file = params.Text("thresholds", "none");
  if (file == "none") return {.policy = std::make_shared<LtmpFixed>(options)};
  LtmpThresholds thresholds = LtmpThresholds::Read(file);
  if (LtmpMeaning(params.all()) != thresholds.options) {
    std::string made;
    for (const auto& [key, value] : thresholds.options) made += StrCat(" ", key, "=", value);
    params.Fail("thresholds", StrCat("one made with the options given; this one was made with",
                                     made.empty() ? " none" : made));
  }
  ScheduleMade made{
      .file = file, .sites = {}, .keep = thresholds.keep, .protect = thresholds.protect};
  for (const LtmpThreshold& site : thresholds.sites) made.sites.push_back(site.layer);
  return {.policy = std::make_shared<LtmpCalibrated>(options, std::move(thresholds)),
          .counts_vary = true,
          .made_for = std::move(made)};
}

}  // namespace

Method LtmpMethod() {
  return {
      .name = "ltmp",
      .summary = "merges similar rows, then drops unimportant ones, half of the count each",
      .keys = JoinKeys({{{"thresholds", "none",
                          "file of calibrated thresholds: counts then vary with the text", true}},
                        ImportanceKeys(),
                        {MatchKey()},
                        RangeKeys()}),
      .how = RemovalMethod{.make = &MakeLtmp}};
}

}  // namespace pith
