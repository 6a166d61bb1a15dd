// The FLOPs of each kind of layer, counted from its configuration (docs/reductions.md, "The count
// of work").
#ifndef PITH_MODEL_LAYERS_WORK_H_
#define PITH_MODEL_LAYERS_WORK_H_

#include <cstdint>
#include <span>
#include <string>

#include "load/model_config.h"
#include "reduce/facts.h"

namespace pith {

// One layer's FLOPs for one row in prefill, by operator; one multiply-add counts 2.
struct LayerFlops {
  double in_proj = 0;
  double conv = 0;  // with its SiLU
  double dt = 0;    // Mamba-1: x_proj and dt_proj; Mamba-2: bias and softplus
  double ssm = 0;   // Mamba-1: sequential scan; Mamba-2: SSD with dense chunks
  double gate = 0;  // and the gated norm
  double out_proj = 0;
  double norm = 0;  // the norm in front and the residual add
  double Total() const { return in_proj + conv + dt + ssm + gate + out_proj + norm; }
};
LayerFlops FlopsOf(const Mamba1Config& config, int64_t d_model);
LayerFlops FlopsOf(const Mamba2Config& config, int64_t d_model);

LayerWork WorkOf(const Mamba1Config& config, int64_t d_model);
LayerWork WorkOf(const Mamba2Config& config, int64_t d_model);
LayerWork WorkOf(const AttentionConfig& config, int64_t d_model);
LayerWork WorkOf(const ParallelConfig& config, int64_t d_model);
LayerWork WorkOf(const MlpConfig& config, int64_t d_model);
LayerWork WorkOf(const ExpertsConfig& config, int64_t d_model);
LayerWork WorkOf(const SharedBlockConfig& config, int64_t d_model);

// What a row of attention costs grows with the rows that it sees. A count that schedules use cannot
// depend on the text, so a row is counted as if it saw this many, or its window where that is less:
// the mean over a text of twice as many tokens.
inline constexpr int64_t kCountedKeys = 1024;

// FLOPs of a layer's matrix products for one row: what a device's rate of products bounds.
struct ProductFlops {
  double full = 0;   // of a row that passes the layer
  double state = 0;  // of a row that only writes state, as the last layer's unwanted rows do
};
ProductFlops ProductsOf(const Mamba1Config& config, int64_t d_model);
ProductFlops ProductsOf(const Mamba2Config& config, int64_t d_model);
ProductFlops ProductsOf(const AttentionConfig& config, int64_t d_model);
ProductFlops ProductsOf(const ParallelConfig& config, int64_t d_model);
ProductFlops ProductsOf(const MlpConfig& config, int64_t d_model);
ProductFlops ProductsOf(const ExpertsConfig& config, int64_t d_model);
ProductFlops ProductsOf(const SharedBlockConfig& config, int64_t d_model);

// ModelFacts::kind of a model of these layers: "mamba1" or "mamba2" where all are of that kind,
// "transformer" where none is Mamba's, else "hybrid".
std::string FactsName(std::span<const LayerConfig> layers);

}  // namespace pith

#endif  // PITH_MODEL_LAYERS_WORK_H_
