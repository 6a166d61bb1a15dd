// The table of kernels that each backend fills. Operators check shapes and call through it.
#ifndef PITH_OPS_KERNELS_H_
#define PITH_OPS_KERNELS_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"
#include "ops/causal_conv1d.h"
#include "ops/importance.h"
#include "ops/log_softmax.h"
#include "ops/norm.h"
#include "ops/rows.h"
#include "ops/scan_features.h"
#include "ops/scan_importance.h"
#include "ops/selective_scan.h"
#include "ops/ssd.h"
#include "ops/state_write.h"

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
  void (*state_write)(const Exec&, const StateWriteArgs&);
  void (*score_labels)(const Exec&, MatView<const float> logits, std::span<const int32_t> labels,
                       std::span<LabelScore> out);
  void (*copy_rows)(const Exec&, MatView<const float> in, MatView<float> out);
  void (*add_rows)(const Exec&, MatView<const float> a, MatView<const float> b, MatView<float> out);
  void (*clip_rows)(const Exec&, MatView<const float> in, MatView<float> out);
  void (*gather_rows)(const Exec&, const GatherRowsArgs&);
  void (*row_importance)(const Exec&, ImportanceKind kind, MatView<const float> activations,
                         VecView<float> importance);
  void (*scan_features)(const Exec&, const ScanFeaturesArgs&);
  void (*scan_importance)(const Exec&, const ScanImportanceArgs&);
};

// The kernels of the backend that `exec` names.
const Kernels& KernelsFor(const Exec& exec);

}  // namespace pith

#endif  // PITH_OPS_KERNELS_H_
