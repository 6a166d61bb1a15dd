// The work of a model's layers, counted from its configuration (docs/reductions.md, "The count of
// work").
#ifndef PITH_MODEL_FACTS_H_
#define PITH_MODEL_FACTS_H_

#include "load/model_config.h"
#include "reduce/facts.h"

namespace pith {

// One block's FLOPs for one row in prefill, by operator; one multiply-add counts 2.
struct BlockFlops {
  double in_proj = 0;
  double conv = 0;  // with its SiLU
  double dt = 0;    // Mamba-1: x_proj and dt_proj; Mamba-2: bias and softplus
  double ssm = 0;   // Mamba-1: sequential scan; Mamba-2: SSD with dense chunks
  double gate = 0;  // and the gated norm
  double out_proj = 0;
  double norm = 0;  // block norm and residual add
  double Total() const { return in_proj + conv + dt + ssm + gate + out_proj + norm; }
};
BlockFlops BlockFlopsPerRow(const ModelConfig& config);

ModelFacts FactsOf(const ModelConfig& config);

}  // namespace pith

#endif  // PITH_MODEL_FACTS_H_
