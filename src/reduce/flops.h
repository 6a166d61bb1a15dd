// The FLOPs model of reduction-aware schedules; one multiply-add counts 2.
#ifndef PITH_REDUCE_FLOPS_H_
#define PITH_REDUCE_FLOPS_H_

#include "load/model_config.h"

namespace pith {

// One block's work for one token in prefill, by operator.
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
BlockFlops BlockFlopsPerToken(const ModelConfig& config);

// The language-model head for one row; the embedding is a gather and counts nothing.
double HeadFlopsPerToken(const ModelConfig& config);

}  // namespace pith

#endif  // PITH_REDUCE_FLOPS_H_
