// The reference backend's table.
#include "backends/reference/kernels.h"

#include "ops/kernels.h"

namespace pith::reference {

const Kernels& Table() {
  static constexpr Kernels kKernels = {
      .embed = Embed,
      .linear = Linear,
      .linear_step = Linear,
      .add_norm = AddNorm,
      .gate = Gate,
      .causal_conv1d = CausalConv1d,
      .ssd = Ssd,
      .ssd_step = Ssd,
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
  };
  return kKernels;
}

}  // namespace pith::reference
