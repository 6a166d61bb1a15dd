// Mamba-2's mixer as a whole, in 16 bits between its products. Per row of a layer it moves what the
// products read and write, the residual branch in f32, and nothing else: the norm in front adds
// the hidden branch of the layer before and applies the factor of its gated norm; the scan
// convolves what it reads and gates what it writes (mamba2_scan.cu).
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba2_scan.cuh"
#include "backends/cuda/norm16.cuh"
#include "backends/cuda/product.h"
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
  CompactRows rows{.data = between.gated.data()};
  if (!args.gate.norm_weight.empty()) {
    rows.squares = args.squares.data;
    rows.parts = args.ssd.n_heads;
    rows.width = between.inner;
    rows.eps = args.gate.eps;
  }
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

template <class T>
void Run(const Exec& exec, const Mamba2MixerArgs& args) {
  const Between<T> between(exec, args);
  AddNormRounded(exec, args.norm, args.add, between.normed.data());
  Product(exec, {.x = between.normed.data(),
                 .x_stride = args.norm.x.cols,
                 .rows = between.rows,
                 .w = args.in_proj,
                 .bias = {},
                 .out = between.proj.data(),
                 .out_stride = between.stride,
                 .out_type = args.in_proj.dtype});
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
                       .kept_y = args.kept_y.data});
  if (!args.kept_dt.empty()) {
    const int64_t before = between.inner + args.conv.weight.size / args.conv.d_conv;
    WidenColumns(exec, between.proj.data() + before, between.stride, args.kept_dt);
  }
  ProjectOut(exec, args, between);
}

}  // namespace

bool TakesMamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args) {
  const auto half = exec.precision == Precision::kBF16 ? DType::kBF16 : DType::kF16;
  return exec.precision != Precision::kF32 && !args.step && args.in_proj.dtype == half &&
         args.out_proj.dtype == half && args.in_bias.empty() && args.out_bias.empty() &&
         !args.norm.layer_norm && args.ssd.d_state == kScanState &&
         args.ssd.head_dim == kScanHead && args.conv.d_conv == kScanTaps &&
         args.ssd.chunk == kScanChunk && args.in_proj.cols % 8 == 0 && OneFactorARow(args);
}

void Mamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args) {
  (exec.precision == Precision::kBF16 ? Run<__nv_bfloat16> : Run<__half>)(exec, args);
}

}  // namespace pith::cuda
