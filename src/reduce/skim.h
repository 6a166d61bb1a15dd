// Skim: far tokens stop being processed after some layer and only write state, where the write
// arrives. A row role, not a plan: no row moves.
#ifndef PITH_REDUCE_SKIM_H_
#define PITH_REDUCE_SKIM_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "ops/far_region.h"
#include "ops/horizon.h"
#include "pith/reduction_spec.h"
#include "reduce/facts.h"
#include "reduce/params.h"

namespace pith {

// Throws kUnsupported, naming `spec`, where far rows cannot be written into the model's states.
void RequireStatesForSkim(const ReductionSpec& spec, const ModelFacts& facts);

class Skim {
 public:
  // Reads the method's keys (registry.cc lists them). Throws kInvalidArgument; also where a horizon
  // is given and no layer can leave writes out. Throws as RequireStatesForSkim does.
  Skim(const ReductionSpec& spec, const ModelFacts& facts, const ParamReader& params);

  bool full(int64_t layer) const { return full_[layer]; }
  const Horizon& horizon() const { return horizon_; }
  // The roles in a context of `tokens`: its first `far` ones are far.
  FarRegion Region(int64_t tokens) const;

  // Share of the layers' work saved in a context of `tokens` where all pairs are written, and where
  // none are: the masks of a real text lie between.
  struct Bounds {
    double all_pairs = 0;
    double no_pairs = 0;
  };
  Bounds Realised(int64_t tokens) const;
  // The same where far rows cost `far_work` FLOPs in the layers that skim them.
  double RealisedBy(double far_work, int64_t tokens) const;

 private:
  void SetWanted(double wanted, const ModelFacts& facts);
  void ReadHorizon(const ReductionSpec& spec, const ModelFacts& facts, const ParamReader& params);

  std::vector<bool> full_;
  Horizon horizon_;
  std::optional<int64_t> window_;  // as given
  std::optional<int64_t> chunk_;
  std::optional<double> wanted_;  // then the window is the largest that still saves this much
  int64_t protect_ = 0;
  double row_work_ = 0;      // of one row through all layers
  double skimmed_work_ = 0;  // through those that skim it
  double all_ = 0;           // share of row_work_ that a far row saves, all pairs written
  double none_ = 0;          // and with none
};

}  // namespace pith

#endif  // PITH_REDUCE_SKIM_H_
