// The table of kernels that each backend fills. Operators check shapes and call through it.
#ifndef PITH_OPS_KERNELS_H_
#define PITH_OPS_KERNELS_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"
#include "ops/activation.h"
#include "ops/apply_plan.h"
#include "ops/attention.h"
#include "ops/causal_conv1d.h"
#include "ops/draw_tokens.h"
#include "ops/experts.h"
#include "ops/far_layers.h"
#include "ops/far_weights.h"
#include "ops/far_write.h"
#include "ops/fused.h"
#include "ops/importance.h"
#include "ops/log_softmax.h"
#include "ops/mamba1_mixer.h"
#include "ops/mamba2_mixer.h"
#include "ops/match.h"
#include "ops/norm.h"
#include "ops/pair_plan.h"
#include "ops/rope.h"
#include "ops/rows.h"
#include "ops/scan_features.h"
#include "ops/scan_importance.h"
#include "ops/selective_scan.h"
#include "ops/ssd.h"

namespace pith {

// Contracts stand at the operators' headers; a kernel may rely on every check made there.
struct Kernels {
  void (*embed)(const Exec&, const WeightView& table, std::span<const int32_t> ids,
                MatView<float> out);
  void (*linear)(const Exec&, MatView<const float> x, const WeightView& w,
                 VecView<const float> bias, MatView<float> out);
  void (*linear_step)(const Exec&, MatView<const float> x, const WeightView& w,
                      VecView<const float> bias, MatView<float> out);
  void (*add_norm)(const Exec&, const AddNormArgs&);
  void (*gate)(const Exec&, const GateArgs&);
  void (*causal_conv1d)(const Exec&, const CausalConv1dArgs&);
  void (*ssd)(const Exec&, const SsdArgs&);
  void (*ssd_step)(const Exec&, const SsdArgs&);
  void (*selective_scan)(const Exec&, const SelectiveScanArgs&);
  void (*rope)(const Exec&, const RopeArgs&);
  void (*write_kv)(const Exec&, const WriteKvArgs&);
  void (*attention)(const Exec&, const AttentionArgs&);
  void (*activate)(const Exec&, const ActivateArgs&);
  void (*add_scaled_rows)(const Exec&, const AddScaledRowsArgs&);
  void (*score_labels)(const Exec&, MatView<const float> logits, std::span<const int32_t> labels,
                       std::span<LabelScore> out);
  void (*draw_tokens)(const Exec&, const DrawTokensArgs&);
  void (*copy_rows)(const Exec&, MatView<const float> in, MatView<float> out);
  void (*add_rows)(const Exec&, MatView<const float> a, MatView<const float> b, MatView<float> out);
  void (*clip_rows)(const Exec&, MatView<const float> in, MatView<float> out);
  void (*scale_rows)(const Exec&, MatView<const float> in, float factor, MatView<float> out);
  void (*gather_rows)(const Exec&, const GatherRowsArgs&);
  void (*take_rows)(const Exec&, const TakeRowsArgs&);
  void (*row_importance)(const Exec&, ImportanceKind kind, MatView<const float> activations,
                         VecView<float> importance);
  void (*scan_features)(const Exec&, const ScanFeaturesArgs&);
  void (*scan_importance)(const Exec&, const ScanImportanceArgs&);
  void (*best_matches)(const Exec&, const MatchArgs&);
  void (*apply_plan)(const Exec&, const Plan&, Branch branch, MatView<float> rows);
  void (*far_weights)(const Exec&, const FarWeightsArgs&);
  void (*far_write)(const Exec&, const FarWriteArgs&);
  // Null where the backend has no kernel of its own: fused.cc or the operator's own file then
  // composes the others.
  void (*norm_linear)(const Exec&, const NormLinearArgs&) = nullptr;
  void (*conv_ssd_gate)(const Exec&, const ConvSsdGateArgs&) = nullptr;
  void (*scan_gate)(const Exec&, const ScanGateArgs&) = nullptr;
  void (*score_head)(const Exec&, const ScoreHeadArgs&) = nullptr;
  // Of each pair both or neither.
  bool (*takes_mamba1_mixer)(const Exec&, const Mamba1MixerArgs&) = nullptr;
  void (*mamba1_mixer)(const Exec&, const Mamba1MixerArgs&) = nullptr;
  // All or none.
  bool (*takes_mamba2_mixer)(const Exec&, const Mamba2MixerArgs&) = nullptr;
  void (*mamba2_mixer)(const Exec&, const Mamba2MixerArgs&) = nullptr;
  void (*expand_rows)(const Exec&, const CompactRows&, MatView<float> out) = nullptr;
  // Likewise.
  void (*plan_pairs)(const Exec&, const PairPlanArgs&) = nullptr;
  void (*merge_pairs)(const Exec&, const MergePairsArgs&) = nullptr;
  // Both or neither.
  bool (*takes_far_layers)(const Exec&, const FarLayersArgs&) = nullptr;
  void (*far_layers)(const Exec&, const FarLayersArgs&) = nullptr;
};

// The kernels of the backend that `exec` names.
const Kernels& KernelsFor(const Exec& exec);

}  // namespace pith

#endif  // PITH_OPS_KERNELS_H_
