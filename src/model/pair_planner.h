// Plans that are made where the rows lie, and stay there until somebody asks for them.
#ifndef PITH_MODEL_PAIR_PLANNER_H_
#define PITH_MODEL_PAIR_PLANNER_H_

#include <cstdint>
#include <vector>

#include "ops/backend.h"
#include "ops/pair_plan.h"
#include "reduce/policy.h"
#include "reduce/token_map.h"

namespace pith {

class PairPlanner {
 public:
  PairPlanner(const Exec& exec, const PairRule& rule) : exec_(exec), rule_(rule) {}

  // Plans the site'th site for sequences that lie one after the other in `features`; what the
  // branches prune is set here.
  void Plan(int site, std::vector<PairSequence> sequences, VecView<const float> importance,
            MatView<const float> features);

  // Of the last plan: the rows that stay, empty before the first; and its merges.
  VecView<const int32_t> kept() const { return {kept_.view().data, kept_.cols()}; }
  void Merge(Branch branch, MatView<float> rows) const;

  // Brings to the host what was planned, and waits for it.
  void Fetch();
  // Notes in each sequence's map what was planned since the last call.
  void ApplyTo(std::vector<TokenMap>& maps);

 private:
  struct Site {
    int site = 0;
    std::vector<PairSequence> sequences;
    DeviceMat<pith::Plan::Removed> planned{MemoryUse::kStream};
    std::vector<pith::Plan::Removed> removed;  // the same on the host, once fetched
    bool fetched = false;
  };

  const Exec exec_;
  const PairRule rule_;
  DeviceMat<int32_t> kept_{MemoryUse::kStream};
  std::vector<Site> sites_;  // that no map tells of yet
};

}  // namespace pith

#endif  // PITH_MODEL_PAIR_PLANNER_H_
