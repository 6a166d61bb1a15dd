// A reduction method: given what stands at one site of one sequence, which rows go, and where to.
#ifndef PITH_REDUCE_POLICY_H_
#define PITH_REDUCE_POLICY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/exec.h"
#include "core/tensor.h"
#include "ops/importance.h"
#include "ops/pair_plan.h"
#include "ops/plan.h"
#include "reduce/facts.h"
#include "reduce/unigrams.h"

namespace pith {

// What of the site's layer, or of the text, a policy reads; docs/reductions.md,
// "Importance and matching".
enum class Source : uint8_t {
  kNone,
  kSsm,            // y before the gate, with D·x: [rows, d_inner]; attention: what its heads give
  kGated,          // what out_proj reads: [rows, d_inner]; attention: the same as kSsm; MLP:
                   // [rows, d_hidden]
  kHidden,         // h, the mixer's output: [rows, d_model]
  kHiddenClipped,  // max(0, h): [rows, d_model]; for matching only
  kCombined,       // T = h + x: [rows, d_model]; for matching only
  kKeys,           // B of the scan: [rows, n_groups · d_state]; attention: keys before they are
                   // rotated, [rows, kv_width]; for matching only
  kScan,           // Δ, x, B, C of the scan (ops/scan_importance.h); for importance only
  kTokens,         // token ids; for importance only
};

// Whether layers of a kind have it, and how messages say that one has not.
bool HasSource(LayerKind kind, Source source);
std::string_view Lack(Source source);
std::string_view NameOf(LayerKind kind);

struct SiteNeeds {
  Source importance_from = Source::kNone;  // kNone: SiteView::importance is empty
  ImportanceKind importance = ImportanceKind::kClip;
  Source match_on = Source::kNone;  // kNone: SiteView::features is empty
  bool branches = false;            // rows merge: h and x must be kept apart until the site
  bool sizes = false;               // else SiteView::sizes is empty
  std::shared_ptr<const Unigrams> unigrams = nullptr;  // for kRarity; null: the context's own

  bool Reads(Source source) const { return importance_from == source || match_on == source; }
};

// How a policy plans whose MakePlan is PlanPairs of ops/pair_plan.h.
struct PairRule {
  MatchRange range;
  PruneOrder prune = PruneOrder::kLeastImportant;
  double q_hidden = 0;  // shares of the removed rows that each branch prunes (PrunedEdges)
  double q_residual = 0;
};

struct Edge;  // edges.h

struct SiteView {
  int layer = 0;  // 0-based; −1 before the first layer, with nothing but positions
  int64_t rows = 0;
  std::span<const int32_t> positions;  // [rows] original positions, strictly increasing
  std::span<const float> importance;   // [rows]
  MatView<const float> features;       // [rows, width of match_on]
  std::span<const float> sizes;        // [rows] how many tokens have merged into each row, ≥ 1
  int64_t protected_tail = 0;          // the last rows that are neither removed nor altered
  int64_t block = 0;  // which of the blocks that a site is planned in; 0 where it is planned whole
  std::vector<Edge>* edges_seen = nullptr;  // where edges that are weighed are noted; null: nowhere
  Exec exec;
};

class ReductionPolicy {
 public:
  virtual ~ReductionPolicy() = default;
  virtual SiteNeeds Needs() const = 0;
  // Removes exactly `remove` rows, 0 ≤ remove ≤ MaxRemovable(limit of the method, rows, protected
  // tail + head) of schedule.h; what it sees fit where PolicySetup::counts_vary. Depends on nothing
  // but the view: const, stateless, the same on every call.
  virtual Plan MakePlan(const SiteView& site, int64_t remove) const = 0;
  // The rule of MakePlan, for backends that plan by themselves; none: MakePlan alone plans.
  virtual std::optional<PairRule> Pairs() const { return std::nullopt; }
};

// Sites, keep ratio and protected last rows that a policy was made for.
struct ScheduleMade {
  std::string file;  // for messages
  std::vector<int> sites;
  double keep = 1;
  int64_t protect = 0;
};

// A policy with what a schedule must know of it.
struct PolicySetup {
  std::shared_ptr<const ReductionPolicy> policy;
  int64_t protected_head = 0;   // first tokens of the context that are neither removed nor altered
  int64_t published_extra = 0;  // rows that the published code keeps at each site beyond
                                // ceil(keep · rows); for lengths=published
  bool counts_vary = false;     // plans remove what they see fit; one row at least stays
  std::optional<ScheduleMade> made_for = std::nullopt;  // any other schedule is refused
};

// What stood at a site (SiteView::edges_seen is set), and the plan that was made.
using SiteObserver = std::function<void(const SiteView&, const Plan&)>;

}  // namespace pith

#endif  // PITH_REDUCE_POLICY_H_
