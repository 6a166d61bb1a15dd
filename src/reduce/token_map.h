// Which original positions the rows of a sequence stand for, and what became of the others.
#ifndef PITH_REDUCE_TOKEN_MAP_H_
#define PITH_REDUCE_TOKEN_MAP_H_

#include <cstdint>
#include <span>
#include <vector>

#include "ops/plan.h"

namespace pith {

class TokenMap {
 public:
  explicit TokenMap(int64_t tokens);  // the identity

  int64_t tokens() const { return static_cast<int64_t>(fate_.size()); }
  int64_t rows() const { return static_cast<int64_t>(positions_.size()); }
  // [rows] the original position of each row, strictly increasing.
  std::span<const int32_t> positions() const { return positions_; }

  // What became of an original position: kept (site −1), or removed at the site'th site of the
  // schedule (from 0) and merged into the row that then stood for position `target` (−1: pruned).
  struct Fate {
    int32_t site = -1;
    int32_t target = -1;
    bool merged_hidden = false;
    bool merged_residual = false;
  };
  const Fate& fate(int64_t position) const { return fate_[position]; }

  // The plan must pass CheckPlan for the current rows.
  void Apply(const Plan& plan, int32_t site);

 private:
  std::vector<int32_t> positions_;
  std::vector<Fate> fate_;
};

}  // namespace pith

#endif  // PITH_REDUCE_TOKEN_MAP_H_
