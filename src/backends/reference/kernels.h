// The executable specification of every operator: the formulas of src/ops/*.h in double, one
// thread, one row after the other. Inputs and outputs are f32; nothing between is rounded.
#ifndef PITH_BACKENDS_REFERENCE_KERNELS_H_
#define PITH_BACKENDS_REFERENCE_KERNELS_H_

#include <cmath>

#include "ops/kernels.h"
#include "ops/softplus.h"

namespace pith::reference {

const Kernels& Table();

void Embed(const Exec& exec, const WeightView& table, std::span<const int32_t> ids,
           MatView<float> out);
void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out);
void AddNorm(const Exec& exec, const AddNormArgs& args);
void Gate(const Exec& exec, const GateArgs& args);
void CausalConv1d(const Exec& exec, const CausalConv1dArgs& args);
void Ssd(const Exec& exec, const SsdArgs& args);
void SelectiveScan(const Exec& exec, const SelectiveScanArgs& args);
void Rope(const Exec& exec, const RopeArgs& args);
void WriteKv(const Exec& exec, const WriteKvArgs& args);
void Attention(const Exec& exec, const AttentionArgs& args);
void Activate(const Exec& exec, const ActivateArgs& args);
void AddScaledRows(const Exec& exec, const AddScaledRowsArgs& args);
void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out);
void DrawTokens(const Exec& exec, const DrawTokensArgs& args);
void CopyRows(const Exec& exec, MatView<const float> in, MatView<float> out);
void AddRows(const Exec& exec, MatView<const float> a, MatView<const float> b, MatView<float> out);
void ClipRows(const Exec& exec, MatView<const float> in, MatView<float> out);
void ScaleRows(const Exec& exec, MatView<const float> in, float factor, MatView<float> out);
void GatherRows(const Exec& exec, const GatherRowsArgs& args);
void TakeRows(const Exec& exec, const TakeRowsArgs& args);
void RowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
                   VecView<float> importance);
void ScanFeatures(const Exec& exec, const ScanFeaturesArgs& args);
void ScanImportance(const Exec& exec, const ScanImportanceArgs& args);
void BestMatches(const Exec& exec, const MatchArgs& args);
void ApplyPlan(const Exec& exec, const Plan& plan, Branch branch, MatView<float> rows);
void FarWeights(const Exec& exec, const FarWeightsArgs& args);
void FarWrite(const Exec& exec, const FarWriteArgs& args);

// An operand of a matrix product.
inline double RoundTo(Precision precision, float v) {
  switch (precision) {
    case Precision::kBF16:
      return ToFloat(ToBF16(v));
    case Precision::kF16:
      return ToFloat(ToF16(v));
    case Precision::kF32:
      break;
  }
  return v;
}

inline double Silu(double v) { return v / (1 + std::exp(-v)); }

}  // namespace pith::reference

#endif  // PITH_BACKENDS_REFERENCE_KERNELS_H_
