// A site's thresholds are quantiles of what its rows show: of the similarities of all edges, then
// of the importance of the rows that are left once the most similar ones have merged. What rows
// show depends on what went at earlier sites, so sites are calibrated one after the other: each
// round reads all contexts under the thresholds found so far, which stand in a file as they will in
// use, with thresholds at the later sites that remove nothing.
#include "eval/ltmp_calibration.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"

namespace pith {
namespace {

constexpr float kNoPrune = std::numeric_limits<float>::lowest();
constexpr double kNoMerge = 2;  // above every cosine

struct Threshold {
  int layer = 0;
  double merge = kNoMerge;
  double prune = kNoPrune;
};

// What one context shows at the site that is being calibrated.
struct Sample {
  int64_t rows = 0;
  int64_t eligible = 0;
  std::vector<float> importance;
  std::vector<SiteEdge> edges;  // with a target
};

Sample Keep(const SiteSight& sight) {
  Sample sample{.rows = sight.rows,
                .eligible = sight.rows - sight.protected_tail,
                .importance = {sight.importance.begin(), sight.importance.end()},
                .edges = {}};
  std::ranges::copy_if(sight.edges, std::back_inserter(sample.edges),
                       [](const SiteEdge& edge) { return edge.target >= 0; });
  return sample;
}

// Rows of one importance go or stay together: all those up to the result go, `wanted` of `sorted`
// or as near to it as ties allow, of two equally near the fewer.
double PruneThreshold(std::span<const float> sorted, size_t wanted) {
  if (wanted == 0 || !std::isfinite(sorted[wanted - 1])) return kNoPrune;
  const auto tie = std::ranges::equal_range(sorted, sorted[wanted - 1]);
  const auto below = static_cast<size_t>(tie.begin() - sorted.begin());
  const auto through = static_cast<size_t>(tie.end() - sorted.begin());
  if (through - wanted < wanted - below) return sorted[wanted - 1];
  return below > 0 && std::isfinite(sorted[below - 1]) ? sorted[below - 1] : kNoPrune;
}

// The importance of unprotected rows once the edges above `merge` have merged: a merged row has the
// largest of its members, and what is no number ranks lowest.
size_t AddSurvivors(const Sample& sample, double merge, std::vector<float>& importance) {
  std::vector<float> rank;
  for (int64_t row = 0; row < sample.eligible; ++row) {
    const float value = sample.importance[row];
    rank.push_back(std::isnan(value) ? -std::numeric_limits<float>::infinity() : value);
  }
  const std::vector<float> own = rank;
  std::vector<bool> gone(rank.size());
  size_t merged = 0;
  for (const SiteEdge& edge : sample.edges) {
    if (!(edge.similarity > merge)) continue;
    ++merged;
    gone[edge.row] = true;
    rank[edge.target] = std::max(rank[edge.target], own[edge.row]);
  }
  for (size_t row = 0; row < rank.size(); ++row) {
    if (!gone[row]) importance.push_back(rank[row]);
  }
  return merged;
}

Threshold Choose(const std::vector<Sample>& samples, int layer, double keep) {
  double rows = 0;
  std::vector<float> similarities;
  for (const Sample& sample : samples) {
    rows += static_cast<double>(sample.rows);
    for (const SiteEdge& edge : sample.edges) similarities.push_back(edge.similarity);
  }
  const auto remove = static_cast<size_t>(std::floor((1 - keep) * rows + 0.5));
  const size_t merge = remove / 2;
  std::ranges::sort(similarities, std::greater<>());
  Threshold chosen{.layer = layer, .merge = -2};  // below every cosine
  if (merge < similarities.size()) chosen.merge = similarities[merge];
  size_t merged = 0;
  std::vector<float> importance;
  for (const Sample& sample : samples) merged += AddSurvivors(sample, chosen.merge, importance);
  std::ranges::sort(importance);
  chosen.prune = PruneThreshold(importance, std::min(remove - merged, importance.size()));
  return chosen;
}

// Of the options those that decide what thresholds mean, as their reader compares them.
OrderedJson Meaning(const ReductionSpec& spec) {
  OrderedJson meaning = OrderedJson::object();
  for (const char* key : {"importance", "from", "table", "match", "causal", "window", "block"}) {
    const auto it = spec.params.find(key);
    if (it != spec.params.end()) meaning[key] = it->second;
  }
  return meaning;
}

void WriteThresholds(const std::filesystem::path& file, const ReductionSpec& spec,
                     const PlanReport& plan, std::span<const Threshold> thresholds) {
  OrderedJson json = {{"format", "pith-ltmp-1"},
                      {"keep", plan.keep},
                      {"protect", plan.protected_tail},
                      {"options", Meaning(spec)},
                      {"sites", OrderedJson::array()}};
  for (const Threshold& site : thresholds) {
    json["sites"].push_back({{"layer", site.layer}, {"merge", site.merge}, {"prune", site.prune}});
  }
  AtomicWriter writer(file);
  writer.Write(json.dump(2) + "\n");
  writer.Commit();
}

// A file that goes with the scope.
struct Scratch {
  std::filesystem::path path;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

std::vector<Sample> Watch(const Engine& engine, const Reduction& reduction, int layer,
                          std::span<const std::vector<int32_t>> contexts,
                          const RunControl& control) {
  std::vector<Sample> samples;
  InspectOptions options{.control = control};
  options.on_site = [&](const SiteSight& sight) {
    if (sight.layer == layer) samples.push_back(Keep(sight));
  };
  for (const std::vector<int32_t>& context : contexts) engine.Inspect(context, reduction, options);
  return samples;
}

}  // namespace

void CalibrateLtmp(const Engine& engine, const ReductionSpec& spec,
                   std::span<const std::vector<int32_t>> contexts,
                   const std::filesystem::path& file, const RunControl& control) {
  Require(spec.method == "ltmp" && !spec.params.contains("thresholds") &&
              !spec.params.contains("block"),
          ErrorCode::kInvalidArgument, "calibration: got '", spec.ToString(),
          "', expected ltmp without thresholds and blocks");
  Require(!contexts.empty(), ErrorCode::kInvalidArgument,
          "calibration: got no text, expected at least one");
  const PlanReport plan = engine.Plan(1, engine.Compile(spec.ToString()));
  std::vector<Threshold> thresholds;
  for (const SiteRows& site : plan.sites) thresholds.push_back({.layer = site.layer});
  const Scratch scratch{file.string() + ".part"};
  for (Threshold& threshold : thresholds) {
    WriteThresholds(scratch.path, spec, plan, thresholds);
    ReductionSpec so_far = spec;
    so_far.params["thresholds"] = scratch.path.string();
    const Reduction reduction = engine.Compile(so_far.ToString());
    threshold = Choose(Watch(engine, reduction, threshold.layer, contexts, control),
                       threshold.layer, plan.keep);
  }
  WriteThresholds(file, spec, plan, thresholds);
}

}  // namespace pith
