// The CPU backend: Highway kernels, chosen at run time for the machine's instruction set.
#ifndef PITH_BACKENDS_CPU_KERNELS_H_
#define PITH_BACKENDS_CPU_KERNELS_H_

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "ops/kernels.h"

namespace pith::cpu {

const Kernels& Table();

// Holds all kernels at the SIMD level that the environment's PITH_SIMD names; without it they take
// the best that the processor has. An error for a level that is not among SimdLevels().
void ChooseSimd();
// What this build has kernels for and this processor runs, the best first.
std::vector<std::string> SimdLevels();
// The same for one of them by name.
void UseSimd(std::string_view name);
// Whether the level has products of four bytes (AVX-512 VNNI), of f16 (AVX-512 FP16), and of two
// bf16 (AVX-512 BF16). A level has one of the last two at the most.
bool HasByteProducts();
bool HasF16Products();
bool HasBF16Products();

void Embed(const Exec& exec, const WeightView& table, std::span<const int32_t> ids,
           MatView<float> out);
void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out);
// Two neighbouring columns of a row (WeightFormat::kPairPanels).
struct BF16Pair {
  BF16 first, second;
};
struct F16Pair {
  F16 first, second;
};
// Matrices for products: how many rows stand side by side in a panel, and [rows, cols] → panels
// (WeightFormat::kPanels), of the same dtype or rounded to bf16; or rounded to bf16 → kPairPanels.
// Or to f16, each row times a power of two that brings its largest value to between 8 and 16, of
// which `scales` [rows, to whole panels] are the inverse; columns of a panel stand in the order of
// F16Place.
int64_t PanelRows();
void PackPanels(const Exec& exec, const StoredMatrix& from, DType dtype, void* to);
void PackPairs(const Exec& exec, const StoredMatrix& from, BF16Pair* to);
void PackF16Pairs(const Exec& exec, const StoredMatrix& from, F16Pair* to, float* scales);
// Products with quantised panels (quant_panels.h), in any precision.
void LinearQuant(const Exec& exec, MatView<const float> x, const WeightView& w,
                 VecView<const float> bias, MatView<float> out);
void LinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                VecView<const float> bias, MatView<float> out);
void AddNorm(const Exec& exec, const AddNormArgs& args);
void Gate(const Exec& exec, const GateArgs& args);
void CausalConv1d(const Exec& exec, const CausalConv1dArgs& args);
void Ssd(const Exec& exec, const SsdArgs& args);
// With Precision::kBF16 where HasBF16Products() or HasF16Products().
void SsdPairs(const Exec& exec, const SsdArgs& args);
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

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How many threads a kernel of `operations` elementary steps is worth: below some 20 µs of work a
// fork and join costs more than it saves.
inline int ThreadsFor(const Exec& exec, int64_t operations) {
  constexpr int64_t kWorthOneThread = 100'000;
  return static_cast<int>(std::clamp<int64_t>(operations / kWorthOneThread, 1, exec.threads));
}

// The same for a kernel whose cost is to bring `bytes` from memory: 20 µs are some 200 kB.
inline int ThreadsForBytes(const Exec& exec, int64_t bytes) {
  constexpr int64_t kWorthOneThread = 100'000;
  return static_cast<int>(std::clamp<int64_t>(bytes / kWorthOneThread, 1, exec.threads));
}

}  // namespace pith::cpu

#endif  // PITH_BACKENDS_CPU_KERNELS_H_
