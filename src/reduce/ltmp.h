// LTMP's two steps at a site (Bonnaerens & Dambre 2023, "Learned Thresholds Token Merging and
// Pruning"): similar rows merge, then unimportant survivors go. By counts or by thresholds.
#ifndef PITH_REDUCE_LTMP_H_
#define PITH_REDUCE_LTMP_H_

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ops/match.h"
#include "reduce/edges.h"
#include "reduce/params.h"
#include "reduce/policy.h"

namespace pith {

struct LtmpOptions {
  SiteNeeds needs;
  MatchRange range;
};
LtmpOptions ReadLtmpOptions(const ParamReader& params);

// At one site: edges with a similarity above `merge` merge, then survivors with an importance of at
// most `prune` go.
struct LtmpThreshold {
  int layer = 0;
  double merge = 0;
  double prune = 0;
};

// docs/formats/ltmp.md.
struct LtmpThresholds {
  double keep = 1;                             // share of rows to keep at each site
  int64_t protect = 0;                         // last rows that no threshold touches
  std::map<std::string, std::string> options;  // LtmpMeaning of what they were made with
  std::vector<LtmpThreshold> sites;            // increasing layers

  // Throws as ReadFile does, and kCorruptData for a file that is none.
  static LtmpThresholds Read(const std::filesystem::path& path);
  void Write(const std::filesystem::path& path) const;
};

// Of a spec's parameters those that decide what thresholds mean.
std::map<std::string, std::string> LtmpMeaning(const std::map<std::string, std::string>& params);

// Edges with a target and a similarity above `threshold`, in row order.
std::vector<Edge> EdgesAbove(const std::vector<Edge>& edges, double threshold);

// Unprotected rows that are left once `merged` edges have merged, the least important first, of
// equals the lower row. A merged row has the largest importance of its members.
struct Survivor {
  int32_t row;
  float importance;
};
std::vector<Survivor> RankSurvivors(const SiteView& site, const std::vector<Edge>& merged);

// `merged` edges (in row order) merge by size-weighted means, then the first `prune` of `survivors`
// go, with whatever merged into them.
Plan MergeThenPrune(const SiteView& site, const std::vector<Edge>& merged,
                    const std::vector<Survivor>& survivors, int64_t prune);

// A plan by thresholds. Leaves one row at least.
Plan PlanByThreshold(const SiteView& site, const LtmpOptions& options,
                     const LtmpThreshold& threshold);

}  // namespace pith

#endif  // PITH_REDUCE_LTMP_H_
