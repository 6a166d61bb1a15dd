// A reduction that removes rows: a policy, and the schedule by which rows leave.
#ifndef PITH_REDUCE_REMOVAL_H_
#define PITH_REDUCE_REMOVAL_H_

#include <cstdint>
#include <vector>

#include "pith/reduction_spec.h"
#include "reduce/facts.h"
#include "reduce/policy.h"
#include "reduce/registry.h"
#include "reduce/schedule.h"

namespace pith {

struct Removal {
  PolicySetup setup;
  std::vector<int> sites;  // layers, increasing; −1 alone: before the first layer
  double keep = 1;         // share of rows kept at each site, given or solved
  int64_t protected_tail = 1;
  int64_t block = 0;  // rows that are planned together; 0: all
  LengthRules rules;
  WorkWeights weights;

  // The lengths for a context of `tokens`. A context that is too short for the wanted reduction is
  // no error: it shows in `realised`.
  Schedule Lengths(int64_t tokens) const;
  // What lengths save that plans of varying counts left.
  double RealisedBy(const std::vector<SiteLength>& lengths, int64_t tokens) const;
  // The policy's plan for one site, in blocks where the spec says so.
  Plan MakePlan(const SiteView& site, int64_t remove) const;
};

// `given` sites override the spec's where the method has sites to choose; empty: as it says.
// Throws kInvalidArgument for a value out of range, for sites, keep or protected rows that the
// policy was not made for, and for a wanted reduction beyond what the method reaches at any length,
// naming the maximum.
Removal CompileRemoval(const ReductionSpec& spec, const RemovalMethod& method,
                       const ModelFacts& facts, const std::vector<int>& given, FlopsCount count);

}  // namespace pith

#endif  // PITH_REDUCE_REMOVAL_H_
