// Mamba-1's mixer as a whole, in 16 bits between its products. x_proj wants all channels of the
// convolution and dt_proj all of x_proj, so the convolution cannot join the scan; softplus, skip
// and gate do.
#include <algorithm>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba1_scan.cuh"
#include "backends/cuda/norm16.cuh"
#include "backends/cuda/product.h"
#include "backends/cuda/step_product.h"

namespace pith::cuda {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Room for what passes between the operators, and where it lies.
template <class T>
struct Between {
  Between(const Exec& exec, const Mamba1MixerArgs& args)
      : rows(args.norm.x.rows),
        inner(args.scan.d_inner),
        rank(args.dt_proj.cols),
        stride(RoundUp(args.x_proj.rows, 8)),
        normed(exec, rows * args.norm.x.cols),
        proj(exec, rows * 2 * inner),
        conv(exec, rows * inner),
        bcdt(exec, rows * stride),
        dt(exec, rows * inner) {}
  int64_t rows, inner, rank, stride;
  Scratch<T> normed;  // [rows, d_model]
  Scratch<T> proj;    // [rows, 2 d_inner] x, z
  Scratch<T> conv;    // [rows, d_inner], in the end the gated rows
  Scratch<T> bcdt;    // [rows, stride] Δ, B, C
  Scratch<T> dt;      // [rows, d_inner]
};

template <class T>
void ProductInto(const Exec& exec, const Between<T>& between, const T* x, int64_t x_stride,
                 const WeightView& w, T* out, int64_t out_stride) {
  Product(exec, {.x = x,
                 .x_stride = x_stride,
                 .rows = between.rows,
                 .w = w,
                 .bias = {},
                 .out = out,
                 .out_stride = out_stride,
                 .out_type = w.dtype});
}

DType HiddenType(const Mamba1MixerArgs& args) {
  return args.compact != nullptr ? args.out_proj.dtype : DType::kF32;
}

template <class T>
void ProjectOut(const Exec& exec, const Mamba1MixerArgs& args, const Between<T>& between) {
  const T* const gated = between.conv.data();
  const bool all = args.h.rows == between.rows;
  const int64_t* const wanted = all ? nullptr : Place(exec, args.wanted);
  if (!args.kept_gated.empty()) WidenRows<T>(exec, {.data = gated}, wanted, args.kept_gated);
  const Scratch<T> gathered(exec, all ? 0 : args.h.rows * between.inner);
  if (!all) {
    GatherRounded(exec, gated, wanted, args.h.rows, between.inner, gathered.data());
  }
  Product(exec, {.x = all ? gated : gathered.data(),
                 .x_stride = between.inner,
                 .rows = args.h.rows,
                 .w = args.out_proj,
                 .bias = {},
                 .out = args.h.data,
                 .out_stride = args.h.stride,
                 .out_type = HiddenType(args)});
}

// One row a sequence. What passes between the launches lies in the caller's scratch, whose place
// does not change from step to step.
template <class T>
void RunStep(const Exec& exec, const Mamba1MixerArgs& args) {
  T* const normed = reinterpret_cast<T*>(args.norm.out.data);
  T* const conv = reinterpret_cast<T*>(args.kept_conv.data);
  T* const gated = reinterpret_cast<T*>(args.kept_gated.data);
  const auto product = [&](const T* x, const WeightView& w, const MatView<float>& out, DType type) {
    StepProduct(exec, {.x = x,
                       .x_stride = w.cols,
                       .rows = args.norm.x.rows,
                       .w = w,
                       .bias = {},
                       .out = out.data,
                       .out_stride = out.stride,
                       .out_type = type});
  };
  AddNormRounded(exec, args.norm, args.add, normed);
  product(normed, args.in_proj, args.step_proj, DType::kF32);
  Mamba1StepConv(exec, args, conv);
  product(conv, args.x_proj, args.kept_bcdt, DType::kF32);
  Mamba1Step(exec, args, conv, gated);
  product(gated, args.out_proj, args.h, HiddenType(args));
}

template <class T>
void RunRows(const Exec& exec, const Mamba1MixerArgs& args) {
  const Between<T> between(exec, args);
  const auto& [count, inner, rank, stride, normed, proj, conv, bcdt, dt] = between;
  AddNormProduct(exec, args.norm, args.add,
                 {.w = args.in_proj,
                  .bias = {},
                  .out = proj.data(),
                  .out_stride = 2 * inner,
                  .out_type = args.in_proj.dtype},
                 normed.data());
  const Mamba1Rows<T> rows{.rows = count,
                           .proj = proj.data(),
                           .conv = conv.data(),
                           .bc = bcdt.data() + rank,
                           .bc_stride = stride,
                           .dt = dt.data()};
  Mamba1Conv(exec, args.conv, rows);
  ProductInto(exec, between, conv.data(), inner, args.x_proj, bcdt.data(), stride);
  ProductInto(exec, between, bcdt.data(), stride, args.dt_proj, dt.data(), inner);
  if (!args.kept_conv.empty()) WidenColumns(exec, conv.data(), inner, args.kept_conv);
  if (!args.kept_bcdt.empty()) WidenColumns(exec, bcdt.data(), stride, args.kept_bcdt);
  if (!args.kept_dt.empty()) WidenColumns(exec, dt.data(), inner, args.kept_dt);
  Mamba1Scan(exec, args, rows);
  ProjectOut(exec, args, between);
}

template <class T>
void Run(const Exec& exec, const Mamba1MixerArgs& args) {
  (args.step ? RunStep<T> : RunRows<T>)(exec, args);
  if (args.compact != nullptr) *args.compact = {.data = args.h.data};
}

}  // namespace

bool TakesMamba1Mixer(const Exec& exec, const Mamba1MixerArgs& args) {
  if (exec.precision == Precision::kF32) return false;
  const auto half = exec.precision == Precision::kBF16 ? DType::kBF16 : DType::kF16;
  for (const WeightView* w : {&args.in_proj, &args.x_proj, &args.dt_proj, &args.out_proj}) {
    if (w->dtype != half || (args.step && !TakesStepProduct(*w))) return false;
  }
  const auto one = [](const Segment& segment) { return segment.count == 1; };
  if (args.step && !std::ranges::all_of(args.scan.segments, one)) return false;
  return args.in_bias.empty() && args.out_bias.empty() && !args.norm.layer_norm &&
         !args.bcdt_norm && args.scan.d_state == kMamba1State && args.conv.d_conv == kMamba1Taps &&
         args.scan.d_inner % kMamba1Channels == 0 && args.dt_proj.cols % 8 == 0 &&
         args.dt_proj.cols <= kMamba1Rank && args.in_proj.cols % 8 == 0 &&
         args.in_proj.cols <= kWidestNorm;
}

void Mamba1Mixer(const Exec& exec, const Mamba1MixerArgs& args) {
  (exec.precision == Precision::kBF16 ? Run<__nv_bfloat16> : Run<__half>)(exec, args);
}

}  // namespace pith::cuda
