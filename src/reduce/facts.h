// What reductions know of a model: how much work its layers do with a row, how they forget, and
// what holds their states.
#ifndef PITH_REDUCE_FACTS_H_
#define PITH_REDUCE_FACTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace pith {

// What a layer is, for those who ask what can be read of it.
enum class LayerKind : uint8_t { kMamba, kAttention, kMlp, kExperts };

// FLOPs of one row in one layer in prefill, a multiply-add counting 2, by the formulas of
// docs/reductions.md ("The count of work"). Schedules, plans, skim and what was realised all use
// this count.
struct LayerWork {
  double full = 0;       // of a row that passes the layer
  double far = 0;        // of a far row, whatever is written
  double far_group = 0;  // more for each group of heads of which any is written (Mamba-2: B)
  double far_head = 0;   // more for each head that is written
  int64_t heads = 0;     // whose writes can be left out, each by itself; 0: all are made
  int64_t groups = 0;
  int64_t d_conv = 0;  // last rows that the layer's state holds as they are, the next one included
  LayerKind kind = LayerKind::kMamba;

  double FarWritten() const {
    return far + far_group * static_cast<double>(groups) + far_head * static_cast<double>(heads);
  }
  bool operator==(const LayerWork&) const = default;
};

struct ModelFacts {
  std::string kind;               // "mamba1", "mamba2", "transformer" or "hybrid"
  std::vector<LayerWork> layers;  // at least one
  double head = 0;                // FLOPs of the language-model head for one row
  DType state = DType::kF32;      // what the model's states are held as

  int64_t n_layer() const { return static_cast<int64_t>(layers.size()); }
  // Of one row through all layers.
  double LayersWork() const;
  // The last rows that some layer's convolution carries on.
  int64_t d_conv() const;
  // Whether some layer can leave far writes out.
  bool has_horizon() const;
  bool operator==(const ModelFacts&) const = default;
};

}  // namespace pith

#endif  // PITH_REDUCE_FACTS_H_
