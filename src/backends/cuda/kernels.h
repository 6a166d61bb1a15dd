// The CUDA backend's kernels. Each runs on the stream of its Exec and returns before it is done,
// but for those that leave something in the host's memory.
#ifndef PITH_BACKENDS_CUDA_KERNELS_H_
#define PITH_BACKENDS_CUDA_KERNELS_H_

#include <cuda_runtime.h>

#include "ops/kernels.h"

namespace pith::cuda {

const Kernels& Table();

void Embed(const Exec& exec, const WeightView& table, std::span<const int32_t> ids,
           MatView<float> out);
// Linear and LinearStep for any precision; the two below are their parts.
void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out);
void LinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                VecView<const float> bias, MatView<float> out);
// f32 activations and widened weights, f32 sums by fused multiply-adds, without tensor cores.
void LinearF32(const Exec& exec, MatView<const float> x, const WeightView& w,
               VecView<const float> bias, MatView<float> out);
void LinearStepF32(const Exec& exec, MatView<const float> x, const WeightView& w,
                   VecView<const float> bias, MatView<float> out);
// Both operands rounded to 16 bits, by tensor cores with f32 sums.
void LinearTensor(const Exec& exec, MatView<const float> x, const WeightView& w,
                  VecView<const float> bias, MatView<float> out, bool step);
void AddNorm(const Exec& exec, const AddNormArgs& args);
void Gate(const Exec& exec, const GateArgs& args);
void CausalConv1d(const Exec& exec, const CausalConv1dArgs& args);
void Ssd(const Exec& exec, const SsdArgs& args);
void SsdStep(const Exec& exec, const SsdArgs& args);
void SelectiveScan(const Exec& exec, const SelectiveScanArgs& args);
void Rope(const Exec& exec, const RopeArgs& args);
void WriteKv(const Exec& exec, const WriteKvArgs& args);
void Attention(const Exec& exec, const AttentionArgs& args);
void Activate(const Exec& exec, const ActivateArgs& args);
void AddScaledRows(const Exec& exec, const AddScaledRowsArgs& args);
void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out);
void DrawTokens(const Exec& exec, const DrawTokensArgs& args);
void ScoreHead(const Exec& exec, const ScoreHeadArgs& args);
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
void PlanPairs(const Exec& exec, const PairPlanArgs& args);
void MergePairs(const Exec& exec, const MergePairsArgs& args);
void FarWeights(const Exec& exec, const FarWeightsArgs& args);
void FarWrite(const Exec& exec, const FarWriteArgs& args);
bool TakesMamba1Mixer(const Exec& exec, const Mamba1MixerArgs& args);
void Mamba1Mixer(const Exec& exec, const Mamba1MixerArgs& args);
bool TakesMamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args);
void Mamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args);
void ExpandRows(const Exec& exec, const CompactRows& rows, MatView<float> out);
bool TakesFarLayers(const Exec& exec, const FarLayersArgs& args);
void FarLayers(const Exec& exec, const FarLayersArgs& args);

// x rounded to bf16 or f16: `to` is contiguous.
void RoundRows(const Exec& exec, MatView<const float> x, DType type, uint16_t* to);

// 16-bit rows [rows, cols] → e4m3, contiguous, with the scales of the rows: their largest magnitude
// becomes 448, e4m3's. cols is a multiple of 8, and rows begin at multiples of 16 bytes.
void RoundToE4M3(const Exec& exec, const void* from, DType type, int64_t stride, int64_t rows,
                 int64_t cols, void* to, float* scales);

// values [count] of `from` → `to`, which are device memory. Rounds to nearest, ties to even.
void Convert(cudaStream_t stream, const void* from, DType from_type, void* to, DType to_type,
             int64_t count);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_KERNELS_H_
