// The CUDA backend's table.
#include "backends/cuda/kernels.h"

#include "ops/kernels.h"

namespace pith::cuda {

const Kernels& Table() {
  static constexpr Kernels kKernels = {
      .embed = Embed,
      .linear = Linear,
      .linear_step = LinearStep,
      .add_norm = AddNorm,
      .gate = Gate,
      .causal_conv1d = CausalConv1d,
      .ssd = Ssd,
      .ssd_step = SsdStep,
      .selective_scan = SelectiveScan,
      .rope = Rope,
      .write_kv = WriteKv,
      .attention = Attention,
      .activate = Activate,
      .add_scaled_rows = AddScaledRows,
      .score_labels = ScoreLabels,
      .draw_tokens = DrawTokens,
      .copy_rows = CopyRows,
      .add_rows = AddRows,
      .clip_rows = ClipRows,
      .scale_rows = ScaleRows,
      .gather_rows = GatherRows,
      .take_rows = TakeRows,
      .row_importance = RowImportance,
      .scan_features = ScanFeatures,
      .scan_importance = ScanImportance,
      .best_matches = BestMatches,
      .apply_plan = ApplyPlan,
      .far_weights = FarWeights,
      .far_write = FarWrite,
      .score_head = ScoreHead,
      .takes_mamba1_mixer = TakesMamba1Mixer,
      .mamba1_mixer = Mamba1Mixer,
      .takes_mamba2_mixer = TakesMamba2Mixer,
      .mamba2_mixer = Mamba2Mixer,
      .expand_rows = ExpandRows,
      .plan_pairs = PlanPairs,
      .merge_pairs = MergePairs,
      .takes_far_layers = TakesFarLayers,
      .far_layers = FarLayers,
  };
  return kKernels;
}

}  // namespace pith::cuda
