// A reduction method: given what stands at one site of one sequence, which rows go, and where to.
#ifndef PITH_REDUCE_POLICY_H_
#define PITH_REDUCE_POLICY_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/exec.h"
#include "core/tensor.h"
#include "ops/importance.h"
#include "ops/plan.h"
#include "reduce/unigrams.h"

namespace pith {

// What of the site's block, or of the text, a policy reads (reduction-methods A1, A3).
enum class Source : uint8_t {
  kNone,
  kSsm,            // y before the gate, with D·x: [rows, d_inner]
  kGated,          // what out_proj reads: [rows, d_inner]
  kHidden,         // h, the mixer's output: [rows, d_model]
  kHiddenClipped,  // max(0, h): [rows, d_model]; for matching only
  kCombined,       // T = h + x: [rows, d_model]; for matching only
  kKeys,           // B of the scan: [rows, n_groups · d_state]; for matching only
  kScan,           // Δ, x, B, C of the scan (ops/scan_importance.h); for importance only
  kTokens,         // token ids; for importance only
};

struct SiteNeeds {
  Source importance_from = Source::kNone;  // kNone: SiteView::importance is empty
  ImportanceKind importance = ImportanceKind::kClip;
  Source match_on = Source::kNone;  // kNone: SiteView::features is empty
  bool branches = false;            // rows merge: h and x must be kept apart until the site
  bool sizes = false;               // else SiteView::sizes is empty
  std::shared_ptr<const Unigrams> unigrams = nullptr;  // for kRarity; null: the context's own
};

struct SiteView {
  int layer = 0;  // 0-based; −1 before the first layer, with nothing but positions
  int64_t rows = 0;
  std::span<const int32_t> positions;  // [rows] original positions, strictly increasing
  std::span<const float> importance;   // [rows]
  MatView<const float> features;       // [rows, width of match_on]
  std::span<const float> sizes;        // [rows] how many tokens have merged into each row, ≥ 1
  int64_t protected_tail = 0;          // the last rows that are neither removed nor altered
  int64_t block = 0;  // which of the blocks that a site is planned in; 0 where it is planned whole
  Exec exec;
};

class ReductionPolicy {
 public:
  virtual ~ReductionPolicy() = default;
  virtual SiteNeeds Needs() const = 0;
  // Removes exactly `remove` rows, 0 ≤ remove ≤ MaxRemovable(limit of the method, rows, protected
  // tail + head) of schedule.h. Depends on nothing but the view: const, stateless, the same on
  // every call.
  virtual Plan MakePlan(const SiteView& site, int64_t remove) const = 0;

  // The first tokens of the context that are neither removed nor altered.
  virtual int64_t protected_head() const { return 0; }
  // Rows that the published code keeps at each site beyond ceil(keep · rows); for
  // lengths=published.
  virtual int64_t published_extra() const { return 0; }
  // Whether plans remove what they see fit in place of `remove` rows; one row at least stays.
  virtual bool counts_vary() const { return false; }
  // Throws kInvalidArgument where the policy was made for other sites, another keep ratio or
  // another number of protected last rows.
  virtual void CheckSchedule(std::span<const int> /*sites*/, double /*keep*/,
                             int64_t /*protect*/) const {}
};

}  // namespace pith

#endif  // PITH_REDUCE_POLICY_H_
