// Mamba-2's mixer as a whole, in 16 bits between its products. Per row of a layer it moves what the
// products read and write, the residual branch in f32, and nothing else: the norm in front adds
// the hidden branch of the layer before and applies the factor of its gated norm; the scan
// convolves what it reads and gates what it writes (mamba2_scan.cu).
#include <algorithm>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba2_scan.cuh"
#include "backends/cuda/mamba2_step.cuh"
#include "backends/cuda/norm16.cuh"
#include "backends/cuda/product.h"
#include "backends/cuda/step_product.h"
#include "backends/cuda/streamed_product.h"
#include "ops/mamba2_mixer.h"

namespace pith::cuda {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The factor of the gated norm is one number a row, or there is none.
bool OneFactorARow(const Mamba2MixerArgs& args) {
  return args.gate.norm_weight.empty() || args.gate.group == args.ssd.n_heads * args.ssd.head_dim;
}

CompactRows GatedRows(const Mamba2MixerArgs& args, const void* gated) {
  CompactRows rows{.data = gated};
  if (args.gate.norm_weight.empty()) return rows;
  rows.squares = args.squares.data;
  rows.parts = args.ssd.n_heads;
  rows.width = args.ssd.n_heads * args.ssd.head_dim;
  rows.eps = args.gate.eps;
  return rows;
}

// Room for what passes between the operators, and where it lies.
template <class T>
struct Between {
  Between(const Exec& exec, const Mamba2MixerArgs& args)
      : rows(args.norm.x.rows),
        inner(args.ssd.n_heads * args.ssd.head_dim),
        stride(RoundUp(args.in_proj.rows, 8)),
        normed(exec, rows * args.norm.x.cols),
        proj(exec, rows * stride),
        bc(exec, rows * 2 * args.ssd.n_groups * args.ssd.d_state),
        gated(exec, rows * inner) {}
  int64_t rows, inner, stride;
  Scratch<T> normed;  // [rows, d_model]
  Scratch<T> proj;    // [rows, stride] z, x, B, C, Δ
  Scratch<T> bc;
  Scratch<T> gated;  // [rows, d_inner]
};

template <class T>
void ProjectOut(const Exec& exec, const Mamba2MixerArgs& args, const Between<T>& between) {
  const CompactRows rows = GatedRows(args, between.gated.data());
  const bool all = args.h.rows == between.rows;
  const int64_t* const wanted = all ? nullptr : Place(exec, args.wanted);
  if (!args.kept_gated.empty()) WidenRows<T>(exec, rows, wanted, args.kept_gated);
  const Scratch<T> gathered(exec, all ? 0 : args.h.rows * between.inner);
  if (!all) {
    GatherRounded(exec, between.gated.data(), wanted, args.h.rows, between.inner, gathered.data());
  }
  ProductArgs product{.x = all ? between.gated.data() : gathered.data(),
                      .x_stride = between.inner,
                      .rows = args.h.rows,
                      .w = args.out_proj,
                      .bias = {},
                      .out = args.h.data,
                      .out_stride = args.h.stride,
                      .out_type = args.compact != nullptr ? args.out_proj.dtype : DType::kF32};
  Product(exec, product);
  if (args.compact == nullptr) {
    ScaleRows(exec, rows, wanted, args.h);
    return;
  }
  *args.compact = rows;
  args.compact->data = args.h.data;
}

// out_proj, and where a product can do so the residual addition behind it, with the sums of squares
// that the next norm is made of.
void StepOut(const Exec& exec, const Mamba2MixerArgs& args) {
  const CompactRows factors = GatedRows(args, args.h.data);
  ProductArgs product{.x = args.kept_gated.data,
                      .x_stride = args.ssd.n_heads * args.ssd.head_dim,
                      .rows = args.norm.x.rows,
                      .w = args.out_proj,
                      .bias = {},
                      .out = args.h.data,
                      .out_stride = args.h.stride,
                      .out_type = DType::kF32};
  if (args.added == nullptr || !TakesStreamedProduct(exec, args.out_proj)) {
    StepProduct(exec, product);
    ScaleRows(exec, factors, nullptr, args.h);
    return;
  }
  product.out = args.residual.data;
  product.out_stride = args.residual.stride;
  const int64_t parts = StreamedSquares(exec, args.out_proj);
  PITH_CHECK(parts <= args.residual_squares.cols);
  const MatView<float> squares = args.residual_squares.Cols(0, parts);
  StreamedProduct(
      exec,
      {.product = product, .add = true, .factors = factors, .squares = squares, .norm = nullptr});
  *args.added = {.added = true, .squares = squares};
}

// The norm in front and in_proj: one launch where whoever made the rows left their squares.
template <class T>
void StepIn(const Exec& exec, const Mamba2MixerArgs& args) {
  ProductArgs product{.rows = args.norm.x.rows,
                      .w = args.in_proj,
                      .bias = {},
                      .out = args.step_proj.data,
                      .out_stride = args.step_proj.stride,
                      .out_type = DType::kF32};
  if (TakesStreamedNorm(exec, args.norm, args.in_proj) && args.add.empty()) {
    return StreamedProduct(
        exec, {.product = product, .add = false, .factors = {}, .squares = {}, .norm = &args.norm});
  }
  T* const normed = reinterpret_cast<T*>(args.norm.out.data);
  AddNormRounded(exec, args.norm, args.add, normed);
  product.x = normed;
  product.x_stride = args.norm.x.cols;
  StepProduct(exec, product);
}

// One row a sequence. What passes between the launches lies in the caller's scratch, whose place
// does not change from step to step.
template <class T>
void RunStep(const Exec& exec, const Mamba2MixerArgs& args) {
  StepIn<T>(exec, args);
  Mamba2Step(exec, args, args.step_proj.data, args.step_proj.stride,
             reinterpret_cast<T*>(args.kept_gated.data));
  StepOut(exec, args);
}

template <class T>
void Run(const Exec& exec, const Mamba2MixerArgs& args) {
  if (args.step) return RunStep<T>(exec, args);
  const Between<T> between(exec, args);
  AddNormProduct(exec, args.norm, args.add,
                 {.w = args.in_proj,
                  .bias = {},
                  .out = between.proj.data(),
                  .out_stride = between.stride,
                  .out_type = args.in_proj.dtype},
                 between.normed.data());
  const Scratch<float> parts(exec, args.importance.size * args.ssd.n_heads);
  Mamba2Scan<T>(exec, {.conv = &args.conv,
                       .ssd = &args.ssd,
                       .gate = &args.gate,
                       .proj = between.proj.data(),
                       .rows = between.rows,
                       .stride = between.stride,
                       .bc = between.bc.data(),
                       .gated = between.gated.data(),
                       .squares = args.squares.data,
                       .kept_conv = args.kept_conv.data,
                       .kept_y = args.kept_y.data,
                       .importance = args.importance.empty() ? nullptr : parts.data(),
                       .importance_kind = args.importance_kind});
  if (!args.importance.empty()) {
    const bool squared = args.importance_kind == ImportanceKind::kL2;
    cuda::RowImportance(exec, squared ? ImportanceKind::kL2 : ImportanceKind::kNoClip,
                        MatView<const float>(parts.data(), between.rows, args.ssd.n_heads),
                        args.importance);
  }
  if (!args.kept_dt.empty()) {
    const int64_t before = between.inner + args.conv.weight.size / args.conv.d_conv;
    WidenColumns(exec, between.proj.data() + before, between.stride, args.kept_dt);
  }
  ProjectOut(exec, args, between);
}

}  // namespace

bool TakesMamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args) {
  const auto half = exec.precision == Precision::kBF16 ? DType::kBF16 : DType::kF16;
  if (args.step) {
    const auto one = [](const Segment& segment) { return segment.count == 1; };
    if (!std::ranges::all_of(args.ssd.segments, one) || !TakesStepProduct(args.in_proj) ||
        !TakesStepProduct(args.out_proj)) {
      return false;
    }
  }
  return exec.precision != Precision::kF32 && args.in_proj.dtype == half &&
         args.out_proj.dtype == half && args.in_bias.empty() && args.out_bias.empty() &&
         !args.norm.layer_norm && args.ssd.d_state == kScanState &&
         args.ssd.head_dim == kScanHead && args.conv.d_conv == kScanTaps &&
         (args.step || args.ssd.chunk == kScanChunk) && args.in_proj.cols % 8 == 0 &&
         args.in_proj.cols <= kWidestNorm && OneFactorARow(args);
}

void ExpandRows(const Exec& exec, const CompactRows& rows, MatView<float> out) {
  const bool bf16 = exec.precision == Precision::kBF16;
  (bf16 ? WidenRows<__nv_bfloat16> : WidenRows<__half>)(exec, rows, nullptr, out);
}

void Mamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args) {
  (exec.precision == Precision::kBF16 ? Run<__nv_bfloat16> : Run<__half>)(exec, args);
}

}  // namespace pith::cuda
