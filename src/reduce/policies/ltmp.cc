// LTMP without training: half of the rows merge and half are pruned, by fixed counts, or by
// thresholds chosen on a calibration text (model/calibrate_ltmp.h) as the method itself has them.
#include "reduce/ltmp.h"

#include <algorithm>
#include <cmath>

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
    std::vector<Edge> edges = AlternateEdges(site, 0, options_.range);
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
  LtmpCalibrated(const LtmpOptions& options, LtmpThresholds thresholds, std::string file)
      : options_(options), thresholds_(std::move(thresholds)), file_(std::move(file)) {}
  SiteNeeds Needs() const override { return options_.needs; }
  bool counts_vary() const override { return true; }

  void CheckSchedule(std::span<const int> sites, double keep, int64_t protect) const override {
    std::string layers;
    for (const LtmpThreshold& t : thresholds_.sites) {
      layers += StrCat(layers.empty() ? "" : "+", t.layer);
    }
    Require(std::ranges::equal(sites, thresholds_.sites, {}, {}, &LtmpThreshold::layer),
            ErrorCode::kInvalidArgument, file_, ": thresholds for sites ", layers,
            ", expected those of the reduction's sites");
    Require(std::abs(keep - thresholds_.keep) < 1e-9, ErrorCode::kInvalidArgument, file_,
            ": thresholds for keep=", thresholds_.keep, ", expected those for keep=", keep);
    Require(protect == thresholds_.protect, ErrorCode::kInvalidArgument, file_,
            ": thresholds for protect=", thresholds_.protect,
            ", expected those for protect=", protect);
  }

  Plan MakePlan(const SiteView& site, int64_t /*remove*/) const override {
    const auto it = std::ranges::find(thresholds_.sites, site.layer, &LtmpThreshold::layer);
    PITH_CHECK(it != thresholds_.sites.end());
    return PlanByThreshold(site, options_, *it);
  }

 private:
  LtmpOptions options_;
  LtmpThresholds thresholds_;
  std::string file_;
};

std::shared_ptr<const ReductionPolicy> MakeLtmp(const ParamReader& params) {
  const LtmpOptions options = ReadLtmpOptions(params);
  const std::string file = params.Text("thresholds", "none");
  if (file == "none") return std::make_shared<LtmpFixed>(options);
  LtmpThresholds thresholds = LtmpThresholds::Read(file);
  if (LtmpMeaning(params.all()) != thresholds.options) {
    std::string made;
    for (const auto& [key, value] : thresholds.options) made += StrCat(" ", key, "=", value);
    params.Fail("thresholds", StrCat("one made with the options given; this one was made with",
                                     made.empty() ? " none" : made));
  }
  return std::make_shared<LtmpCalibrated>(options, std::move(thresholds), file);
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
      .make = &MakeLtmp};
}

}  // namespace pith
