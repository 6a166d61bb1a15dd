#include "model/calibrate_ltmp.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/error.h"
#include "reduce/params.h"

namespace pith {
namespace {

// What one text shows at the site that is being calibrated.
struct Sample {
  int64_t rows = 0;
  int64_t protected_tail = 0;
  std::vector<float> importance;
  std::vector<Edge> edges;

  SiteView View() const {
    SiteView view;
    view.rows = rows;
    view.protected_tail = protected_tail;
    view.importance = importance;
    return view;
  }
};

// Plans by the thresholds found so far; at the next site it looks and removes nothing.
class Recorder : public ReductionPolicy {
 public:
  Recorder(const LtmpOptions& options, std::span<const LtmpThreshold> known, int layer,
           std::vector<Sample>& samples)
      : options_(options), known_(known), layer_(layer), samples_(samples) {}
  SiteNeeds Needs() const override { return options_.needs; }

  Plan MakePlan(const SiteView& site, int64_t /*remove*/) const override {
    const auto it = std::ranges::find(known_, site.layer, &LtmpThreshold::layer);
    if (it != known_.end()) return PlanByThreshold(site, options_, *it);
    if (site.layer == layer_) {
      samples_.push_back({.rows = site.rows,
                          .protected_tail = site.protected_tail,
                          .importance = {site.importance.begin(), site.importance.end()},
                          .edges = AlternateEdges(site, 0, options_.range)});
    }
    return {};
  }

 private:
  const LtmpOptions& options_;
  std::span<const LtmpThreshold> known_;
  int layer_;
  std::vector<Sample>& samples_;
};

// Rows of one importance go or stay together: all those up to the result go, `wanted` of `sorted`
// or as near to it as ties allow, of two equally near the fewer.
double PruneThreshold(std::span<const float> sorted, size_t wanted) {
  constexpr float kNone = std::numeric_limits<float>::lowest();
  if (wanted == 0 || !std::isfinite(sorted[wanted - 1])) return kNone;
  const auto tie = std::ranges::equal_range(sorted, sorted[wanted - 1]);
  const auto below = static_cast<size_t>(tie.begin() - sorted.begin());
  const auto through = static_cast<size_t>(tie.end() - sorted.begin());
  if (through - wanted < wanted - below) return sorted[wanted - 1];
  return below > 0 && std::isfinite(sorted[below - 1]) ? sorted[below - 1] : kNone;
}

LtmpThreshold Choose(const std::vector<Sample>& samples, int layer, double keep) {
  double rows = 0;
  std::vector<float> similarities;
  for (const Sample& sample : samples) {
    rows += static_cast<double>(sample.rows);
    for (const Edge& edge : sample.edges) {
      if (edge.match.target >= 0) similarities.push_back(edge.match.similarity);
    }
  }
  const auto remove = static_cast<size_t>(std::floor((1 - keep) * rows + 0.5));
  const size_t merge = remove / 2;
  std::ranges::sort(similarities, std::greater<>());
  LtmpThreshold chosen{.layer = layer, .merge = -2};
  if (merge < similarities.size()) chosen.merge = similarities[merge];

  size_t merged = 0;
  std::vector<float> importance;
  for (const Sample& sample : samples) {
    const std::vector<Edge> edges = EdgesAbove(sample.edges, chosen.merge);
    merged += edges.size();
    for (const Survivor& s : RankSurvivors(sample.View(), edges)) {
      importance.push_back(s.importance);
    }
  }
  std::ranges::sort(importance);
  chosen.prune = PruneThreshold(importance, std::min(remove - merged, importance.size()));
  return chosen;
}

}  // namespace

LtmpThresholds CalibrateLtmp(const Model& model, const Exec& exec, const ReductionSpec& spec,
                             const std::vector<int>& sites,
                             std::span<const std::vector<int32_t>> texts,
                             const PrefillOptions& options) {
  Require(spec.method == "ltmp" && !spec.params.contains("thresholds") &&
              !spec.params.contains("block"),
          ErrorCode::kInvalidArgument, "calibration: got '", spec.ToString(),
          "', expected ltmp without thresholds and blocks");
  Require(!texts.empty(), ErrorCode::kInvalidArgument,
          "calibration: got no text, expected at least one");
  const Reduction compiled = CompileReduction(spec, model.facts(), sites);
  const Removal& base = *compiled.impl().Compiled().removal();
  const LtmpOptions ltmp = ReadLtmpOptions(ParamReader(spec.method, spec.params));
  LtmpThresholds result{.keep = base.keep,
                        .protect = base.protected_tail,
                        .options = LtmpMeaning(spec.params),
                        .sites = {}};
  Workspace ws;
  for (const int layer : base.sites) {
    std::vector<Sample> samples;
    Removal recording = base;
    recording.setup = {.policy = std::make_shared<Recorder>(ltmp, result.sites, layer, samples),
                       .counts_vary = true};
    const CompiledReduction reduction(std::move(recording));
    PrefillOptions prefill = options;
    prefill.reduction = &reduction;
    for (const std::vector<int32_t>& text : texts) {
      StatePool pool(model, exec, 1);
      Sequence state{.slot = pool.Take()};
      const SequenceInput input{text, &state, WantRows::kNone};
      Prefill(model, exec, pool, {&input, 1}, prefill, ws,
              [](std::span<const OutputRow>, MatView<const float>) {});
    }
    result.sites.push_back(Choose(samples, layer, base.keep));
  }
  return result;
}

}  // namespace pith
