// A reduction method of the caller's own: a function that says which rows go.
#ifndef PITH_POLICY_H_
#define PITH_POLICY_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace pith {

// What stands at one site of one text. The spans are the call's.
struct PolicySite {
  int layer = 0;  // 0-based; the rows have passed it
  int64_t rows = 0;
  std::span<const int32_t> positions;  // [rows] original positions, strictly increasing
  std::span<const float> importance;   // [rows]; empty: the policy reads none
  std::span<const float> features;     // [rows, feature_width], row after row; empty: likewise
  int64_t feature_width = 0;
  int64_t protected_tail = 0;  // the last rows, which are neither removed nor altered
};

struct PolicyPlan {
  std::vector<int32_t> removed;  // rows, strictly increasing
  // [removed] the kept row that each is averaged into, in both branches; −1: it is dropped. Empty:
  // all are dropped.
  std::vector<int32_t> targets;
};

struct OwnPolicy {
  std::string name = "own";  // in texts and messages; no method of pith's
  // What PolicySite::importance is the mean of max(0, value) of: "ssm" (y, the scan's output),
  // "gated" (out_proj's input) or "hidden" (h, the mixer's output). "": nothing.
  std::string importance;
  // What PolicySite::features holds: one of these, "combined" (x + h) or "keys" (B). "": nothing.
  std::string features;
  bool merges = false;  // whether plans may have targets
  // Removes exactly `remove` rows of the first rows − protected_tail. Must depend on nothing but
  // its arguments and give the same on every call; calls may come from any thread. What it throws
  // comes out of the call that reads the context.
  std::function<PolicyPlan(const PolicySite& site, int64_t remove)> plan;
};

}  // namespace pith

#endif  // PITH_POLICY_H_
