// A reduction method: given what stands at one site of one sequence, which rows go, and where to.
#ifndef PITH_REDUCE_POLICY_H_
#define PITH_REDUCE_POLICY_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/exec.h"
#include "core/tensor.h"
#include "reduce/plan.h"

namespace pith {

// Which activations of the site's block a policy reads (reduction-methods A1, A3).
enum class Source : uint8_t {
  kNone,
  kSsm,       // y before the gate, with D·x: [rows, d_inner]
  kGated,     // what out_proj reads: [rows, d_inner]
  kHidden,    // h, the mixer's output: [rows, d_model]
  kCombined,  // T = h + x: [rows, d_model]; for matching only
};

// How a row of activations becomes one importance (Eq. 5 and Table 3). All are means over channels.
enum class ImportanceKind : uint8_t { kClip, kNoClip, kL1, kL2 };

struct SiteNeeds {
  Source importance_from = Source::kNone;  // kNone: SiteView::importance is empty
  ImportanceKind importance = ImportanceKind::kClip;
  Source match_on = Source::kNone;  // kNone: SiteView::features is empty
  bool branches = false;            // rows merge: h and x must be kept apart until the site
};

struct SiteView {
  int layer = 0;  // 0-based; −1 before the first layer, with nothing but positions
  int64_t rows = 0;
  std::span<const int32_t> positions;  // [rows] original positions, strictly increasing
  std::span<const float> importance;   // [rows]
  MatView<const float> features;       // [rows, width of match_on]
  int64_t protected_tail = 0;          // the last rows that are neither removed nor altered
  Exec exec;
};

class ReductionPolicy {
 public:
  virtual ~ReductionPolicy() = default;
  virtual SiteNeeds Needs() const = 0;
  // Removes exactly `remove` rows, 0 ≤ remove ≤ MaxRemovable(limit of the method, rows, protected
  // tail) of schedule.h. Depends on nothing but the view: const, stateless, the same on every call.
  virtual Plan MakePlan(const SiteView& site, int64_t remove) const = 0;
};

}  // namespace pith

#endif  // PITH_REDUCE_POLICY_H_
