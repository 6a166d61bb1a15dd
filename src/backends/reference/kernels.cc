// The reference backend's table.
#include "backends/reference/kernels.h"

#include "ops/kernels.h"

namespace pith {

const Kernels* ReferenceKernels() {
  static constexpr Kernels kKernels = {
      .embed = reference::Embed,
      .linear = reference::Linear,
      .linear_step = reference::Linear,
      .add_norm = reference::AddNorm,
      .gate = reference::Gate,
      .causal_conv1d = reference::CausalConv1d,
      .ssd = reference::Ssd,
      .ssd_step = reference::Ssd,
      .selective_scan = reference::SelectiveScan,
      .score_labels = reference::ScoreLabels,
      .copy_rows = reference::CopyRows,
      .add_rows = reference::AddRows,
      .clip_rows = reference::ClipRows,
      .gather_rows = reference::GatherRows,
      .row_importance = reference::RowImportance,
      .scan_features = reference::ScanFeatures,
      .scan_importance = reference::ScanImportance,
      .best_matches = reference::BestMatches,
      .apply_plan = reference::ApplyPlan,
      .far_weights = reference::FarWeights,
      .far_write = reference::FarWrite,
  };
  return &kKernels;
}

}  // namespace pith
