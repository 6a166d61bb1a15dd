// The CPU backend's table.
#include "backends/cpu/kernels.h"

namespace pith {

const Kernels* CpuKernels() {
  static constexpr Kernels kKernels = {
      .embed = cpu::Embed,
      .linear = cpu::Linear,
      .linear_step = cpu::LinearStep,
      .add_norm = cpu::AddNorm,
      .gate = cpu::Gate,
      .causal_conv1d = cpu::CausalConv1d,
      .ssd = cpu::Ssd,
      .ssd_step = cpu::SsdStep,
      .selective_scan = cpu::SelectiveScan,
      .score_labels = cpu::ScoreLabels,
      .copy_rows = cpu::CopyRows,
      .add_rows = cpu::AddRows,
      .clip_rows = cpu::ClipRows,
      .gather_rows = cpu::GatherRows,
      .row_importance = cpu::RowImportance,
      .scan_features = cpu::ScanFeatures,
      .scan_importance = cpu::ScanImportance,
      .best_matches = cpu::BestMatches,
      .apply_plan = cpu::ApplyPlan,
      .far_weights = cpu::FarWeights,
      .far_write = cpu::FarWrite,
  };
  return &kKernels;
}

}  // namespace pith
