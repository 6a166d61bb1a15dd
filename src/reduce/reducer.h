// A reduction as the user wrote it, checked and ready to run on a model: policy and schedule.
#ifndef PITH_REDUCE_REDUCER_H_
#define PITH_REDUCE_REDUCER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "load/model_config.h"
#include "reduce/policy.h"
#include "reduce/schedule.h"
#include "reduce/skim.h"
#include "reduce/spec.h"

namespace pith {

class ParamReader;
struct Method;

class Reducer {
 public:
  // `sites` overrides the method's and the spec's sites; empty: as they say. It is checked, and
  // then without effect, where the method has no sites to choose (`none`, `truncate`).
  // `auto` must have been resolved (auto.h).
  // Throws kInvalidArgument for an unknown method (listing the known ones), an unknown key of the
  // method (listing its keys), a value out of range, a site outside the model or twice, and a
  // wanted reduction beyond what the method reaches at any length, naming the maximum.
  Reducer(const ReductionSpec& spec, const ModelConfig& config, const std::vector<int>& sites = {},
          FlopsCount count = FlopsCount::kBlocks);

  bool none() const { return policy_ == nullptr && !skim_; }
  // The method `skim` moves no rows: it has roles in place of a policy. Null for the others.
  const Skim* skim() const { return skim_ ? &*skim_ : nullptr; }
  const ReductionPolicy& policy() const {
    PITH_CHECK(policy_ != nullptr);
    return *policy_;
  }
  const std::vector<int>& sites() const { return sites_; }  // layers, increasing; −1 for truncate
  int64_t protected_tail() const { return protect_; }
  // The policy's plan for one site, in blocks where the spec says so.
  Plan MakePlan(const SiteView& site, int64_t remove) const;
  // The same reduction with another policy; for calibration.
  Reducer With(std::shared_ptr<const ReductionPolicy> policy) const;
  double keep() const { return keep_; }  // share of rows kept at each site, given or solved

  // The lengths for a context of `tokens`. A context that is too short for the wanted reduction is
  // no error: it shows in `realised`.
  Schedule Lengths(int64_t tokens) const;

  // The reduction that lengths give which plans of varying counts left.
  double RealisedBy(const std::vector<SiteLength>& lengths, int64_t tokens) const;

  const std::string& text() const { return text_; }  // canonical spelling, with overriding sites

 private:
  void SetSites(const ReductionSpec& spec, const Method& method, const std::vector<int>& given);
  void SetKeep(const ReductionSpec& spec, const ParamReader& params);

  std::string text_;
  std::shared_ptr<const ReductionPolicy> policy_;
  std::optional<Skim> skim_;
  std::vector<int> sites_;
  Limit limit_ = Limit::kHalf;
  int64_t n_layer_ = 0;
  int64_t protect_ = 0;
  int64_t block_ = 0;
  Rounding rounding_ = Rounding::kCumulative;
  double head_weight_ = 0;
  double keep_ = 1;
};

}  // namespace pith

#endif  // PITH_REDUCE_REDUCER_H_
