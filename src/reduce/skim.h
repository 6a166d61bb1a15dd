// Skim: far tokens stop being processed after some layer and only write state, where the write
// arrives. A row role, not a plan: no row moves.
#ifndef PITH_REDUCE_SKIM_H_
#define PITH_REDUCE_SKIM_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "load/model_config.h"
#include "ops/far_region.h"
#include "reduce/params.h"
#include "reduce/spec.h"

namespace pith {

inline constexpr int64_t kLongContext = 512;  // shorter ones get the small window and chunk

// Which writes of far tokens are made. A write counts for a (layer, head, chunk) with decay D from
// the chunk's end to the end of the far tokens and mass m = Σ_t Δ_t · decay from t to the chunk's
// end.
struct Horizon {
  double threshold = 0;        // made where D ≥ threshold; 0: all
  std::optional<double> mass;  // instead: the least m·D are left out while they sum to at most this
                               // share of the head's total in its layer
};

class Skim {
 public:
  // Reads the method's keys (registry.cc lists them). Throws kInvalidArgument; for Mamba-1 also
  // where a horizon is given, since its Δ depends on all of x.
  Skim(const ReductionSpec& spec, const ModelConfig& config, const ParamReader& params);

  bool full(int64_t layer) const { return full_[layer]; }
  const Horizon& horizon() const { return horizon_; }
  // The roles in a context of `tokens`: its first `far` ones are far.
  FarRegion Region(int64_t tokens) const;

  // Share of the blocks' work saved in a context of `tokens` where all pairs are written, and where
  // none are: the masks of a real text lie between.
  struct Bounds {
    double all_pairs = 0;
    double no_pairs = 0;
  };
  Bounds Realised(int64_t tokens) const;

 private:
  void SetWanted(double wanted, const ModelConfig& config);

  std::vector<bool> full_;
  Horizon horizon_;
  std::optional<int64_t> window_;  // as given
  std::optional<int64_t> chunk_;
  std::optional<double> wanted_;  // then the window is the largest that still saves this much
  int64_t protect_ = 0;
  int64_t frozen_layers_ = 0;
  double all_ = 0;   // a far token's work beside a full one's, all pairs written
  double none_ = 0;  // and with none
};

// Multiply-adds of one token in one layer (products and convolution; SSD counted in chunks of 64).
struct LayerWork {
  double full = 0;
  double far = 0;       // Mamba-2: Δ alone; Mamba-1: everything a far token costs
  double far_b = 0;     // Mamba-2: more where any head of the chunk is written
  double far_head = 0;  // Mamba-2: more for each head that is written
};
LayerWork WorkPerToken(const ModelConfig& config);

}  // namespace pith

#endif  // PITH_REDUCE_SKIM_H_
