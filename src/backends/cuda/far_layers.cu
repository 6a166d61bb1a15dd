// FarLayers: the far rows of one sequence in a batch of layers at once. They pass none of these
// layers, so they are normalised once; the weight of each layer's norm goes into the layer's
// matrices instead. Δ of all heads of all layers is one product. Which writes arrive is chosen
// on the GPU, so that nothing waits for the host before the last write is on its way.
#include <algorithm>
#include <vector>

#include "backends/cuda/far_layers.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/norm16.cuh"
#include "backends/cuda/product.h"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
// Of Δ and B of a batch of layers; less than what a dense layer takes for 16,384 rows.
constexpr int64_t kMostScratch = int64_t{384} << 20;
constexpr int64_t kMostFar = int64_t{1} << 30;  // rows are counted in 32 bits
// Far rows are filled up to a multiple: products of different sizes want algorithms of their own.
constexpr int64_t kFill = 256;

// The rows of Δ of in_proj with the norm's weight [layers · heads, d_model]; a block a row.
template <class T>
__global__ void FoldNorm(far::Task<T> task, T* out) {
  const int64_t head = blockIdx.x;
  const far::Layer<T>& layer = task.layers[head / task.heads];
  const T* const w = layer.w + (task.channels() + head % task.heads) * task.d_model;
  for (int c = 2 * threadIdx.x; c < task.d_model; c += 2 * kThreads) {
    const float2 v = Unpack<T>(*reinterpret_cast<const uint32_t*>(w + c));
    *reinterpret_cast<uint32_t*>(out + head * task.d_model + c) =
        Pack<T>(v.x * layer.norm_weight[c], v.y * layer.norm_weight[c + 1]);
  }
}

template <class T>
std::vector<far::Layer<T>> LayersOf(std::span<const FarLayer> layers) {
  std::vector<far::Layer<T>> out;
  for (const FarLayer& layer : layers) {
    out.push_back({.w = static_cast<const T*>(layer.w.data) + layer.w.first * layer.w.cols,
                   .norm_weight = layer.norm_weight.data,
                   .conv_weight = layer.conv_weight.data,
                   .conv_bias = layer.conv_bias.data,
                   .dt_bias = layer.dt_bias.data,
                   .a = layer.a.data,
                   .conv_state = layer.conv_state,
                   .ssm_state = layer.ssm_state});
  }
  return out;
}

template <class T>
struct Rounded {
  const T* rows;  // [padded, d_model], of which the first `far` are rows
  int64_t padded;
};

template <class T>
void WriteBatch(const Exec& exec, const FarLayersArgs& args, std::span<const FarLayer> layers,
                const Rounded<T>& u, uint8_t* needed) {
  const FarShape& shape = args.shape;
  const auto count = static_cast<int64_t>(layers.size());
  const int64_t heads = count * shape.n_heads;
  const Scratch<T> folded(exec, heads * shape.d_model),
      b(exec, count * args.region.far * shape.n_groups * shape.d_state);
  const Scratch<float> weight(exec, heads * u.padded), decay(exec, heads);
  const Scratch<int> counts(exec, heads), order(exec, heads);
  const std::vector<far::Layer<T>> on_device = LayersOf<T>(layers);
  const far::Task<T> task{.layers = Place<far::Layer<T>>(exec, on_device),
                          .u = u.rows,
                          .weight = weight.data(),
                          .stride = u.padded,
                          .decay = decay.data(),
                          .needed = needed,
                          .counts = counts.data(),
                          .order = order.data(),
                          .b = b.data(),
                          .layer_count = static_cast<int>(count),
                          .heads = static_cast<int>(shape.n_heads),
                          .groups = static_cast<int>(shape.n_groups),
                          .d_model = static_cast<int>(shape.d_model),
                          .far = static_cast<int>(args.region.far),
                          .chunk = static_cast<int>(args.region.chunk),
                          .chunks = static_cast<int>(CountChunks(args.region)),
                          .dt_min = shape.dt_min,
                          .dt_max = shape.dt_max};
  Launch(exec, FoldNorm<T>, Blocks(heads, 1), kThreads, 0, task, folded.data());
  // Transposed, a head's Δ side by side: the far rows stand where a weight does.
  Product(
      exec,
      {.x = folded.data(),
       .x_stride = shape.d_model,
       .rows = heads,
       .w = {.dtype = layers[0].w.dtype, .data = u.rows, .rows = u.padded, .cols = shape.d_model},
       .bias = {},
       .out = weight.data(),
       .out_stride = u.padded,
       .out_type = DType::kF32});
  far::ChooseWrites(exec, task, args.horizon);
  far::WriteStates(exec, task);
}

template <class T>
void Run(const Exec& exec, const FarLayersArgs& args) {
  const FarShape& shape = args.shape;
  const int64_t far = args.region.far;
  const int64_t padded = (far + kFill - 1) / kFill * kFill;
  const Scratch<T> u(exec, padded * shape.d_model);
  AddNormRounded(exec, {.x = args.stream, .eps = shape.eps}, {}, u.data());
  const auto layers = static_cast<int64_t>(args.layers.size());
  const int64_t bytes = shape.n_heads * padded * static_cast<int64_t>(sizeof(float)) +
                        far * shape.n_groups * shape.d_state * static_cast<int64_t>(sizeof(T));
  const int64_t most = std::clamp<int64_t>(kMostScratch / bytes, 1, layers);
  const Scratch<uint8_t> needed(exec, args.needed.size());
  const auto masks = static_cast<int64_t>(args.needed.size()) / layers;
  for (int64_t first = 0; first < layers; first += most) {
    const auto batch = args.layers.subspan(first, std::min(most, layers - first));
    WriteBatch<T>(exec, args, batch, {u.data(), padded}, needed.data() + first * masks);
  }
  exec.backend->Download(exec.queue, needed.data(), args.needed.data(), args.needed.size());
}

}  // namespace

bool TakesFarLayers(const Exec& exec, const FarLayersArgs& args) {
  const FarShape& shape = args.shape;
  const auto half = exec.precision == Precision::kBF16 ? DType::kBF16 : DType::kF16;
  const auto fits = [&](const FarLayer& layer) {
    return layer.w.dtype == half && layer.bias.empty();
  };
  return exec.precision != Precision::kF32 && std::ranges::all_of(args.layers, fits) &&
         !shape.layer_norm && shape.d_state == kScanState && shape.head_dim == kScanHead &&
         shape.d_conv == kScanTaps && shape.d_model % 8 == 0 && shape.d_model <= kWidestNorm &&
         args.region.far < kMostFar &&
         (!args.horizon.mass || CountChunks(args.region) <= far::kMostChunks) &&
         far::SharedBytes(shape.d_model) <=
             static_cast<int64_t>(GpuOf(exec).properties().sharedMemPerBlockOptin);
}

void FarLayers(const Exec& exec, const FarLayersArgs& args) {
  (exec.precision == Precision::kBF16 ? Run<__nv_bfloat16> : Run<__half>)(exec, args);
}

}  // namespace pith::cuda
