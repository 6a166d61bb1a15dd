// A reduction as the user wrote it, checked and ready to run on a model: policy and schedule.
#ifndef PITH_REDUCE_REDUCER_H_
#define PITH_REDUCE_REDUCER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "load/model_config.h"
#include "reduce/policy.h"
#include "reduce/schedule.h"
#include "reduce/spec.h"

namespace pith {

class ParamReader;

class Reducer {
 public:
  // `sites` overrides the method's and the spec's sites; empty: as they say. It is checked, and
  // then without effect, where the method has no sites to choose (`none`, `truncate`).
  // Throws kInvalidArgument for an unknown method (listing the known ones), an unknown key of the
  // method (listing its keys), a value out of range, a site outside the model or twice, and a
  // wanted reduction beyond what the method reaches at any length, naming the maximum.
  Reducer(const ReductionSpec& spec, const ModelConfig& config, const std::vector<int>& sites = {},
          FlopsCount count = FlopsCount::kBlocks);

  bool none() const { return policy_ == nullptr; }
  const ReductionPolicy& policy() const {
    PITH_CHECK(policy_ != nullptr);
    return *policy_;
  }
  const std::vector<int>& sites() const { return sites_; }  // layers, increasing; −1 for truncate
  int64_t protected_tail() const { return protect_; }
  double keep() const { return keep_; }  // share of rows kept at each site, given or solved

  // The lengths for a context of `tokens`. A context that is too short for the wanted reduction is
  // no error: it shows in `realised`.
  Schedule Lengths(int64_t tokens) const;

  const std::string& text() const { return text_; }  // canonical spelling, with overriding sites

 private:
  void SetKeep(const ReductionSpec& spec, const ParamReader& params);

  std::string text_;
  std::shared_ptr<const ReductionPolicy> policy_;
  std::vector<int> sites_;
  Limit limit_ = Limit::kHalf;
  int64_t n_layer_ = 0;
  int64_t protect_ = 0;
  double head_weight_ = 0;
  double keep_ = 1;
};

}  // namespace pith

#endif  // PITH_REDUCE_REDUCER_H_
