// FarLayers: the far rows of some texts in a batch of layers at once. They pass none of these
// layers, so a text's are normalised once; the weight of each layer's norm goes into the layer's
// matrices instead. Δ of all heads of all layers is one product a text. Which writes arrive is
// chosen on the GPU, so that nothing waits for the host.
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
// Far rows of texts that are written together: more fill no GPU better.
constexpr int64_t kMostRows = 65'536;
constexpr int64_t kMostFar = int64_t{1} << 30;  // rows are counted in 32 bits
// Far rows are filled up to a multiple: products of different sizes want algorithms of their own.
constexpr int64_t kFill = 256;

int64_t Padded(const FarText& text) { return (text.region.far + kFill - 1) / kFill * kFill; }

// The rows of Δ of in_proj with the norm's weight [layers · heads, d_model]; a block a row. Every
// `texts`-th of the task's pairs is another layer.
template <class T>
__global__ void FoldNorm(far::Task<T> task, int texts, T* out) {
  const int64_t head = blockIdx.x;
  const far::LayerText<T>& layer = task.pairs[head / task.heads * texts];
  const T* const w = layer.w + (task.channels() + head % task.heads) * task.d_model;
  for (int c = 2 * threadIdx.x; c < task.d_model; c += 2 * kThreads) {
    const float2 v = Unpack<T>(*reinterpret_cast<const uint32_t*>(w + c));
    *reinterpret_cast<uint32_t*>(out + head * task.d_model + c) =
        Pack<T>(v.x * layer.norm_weight[c], v.y * layer.norm_weight[c + 1]);
  }
}

// Texts that are written together, and their rows behind the norm.
template <class T>
struct Texts {
  std::span<const FarText> texts;
  T* u;             // [padded of all, d_model], text after text, each filled up
  uint8_t* needed;  // their masks
  int64_t padded = 0;
  int64_t far = 0;
};

// Where one of the texts lies among all: in rows as they are and filled up, and in masks.
struct Place {
  int64_t far = 0;
  int64_t padded = 0;
  int64_t masks = 0;
};

// Layers [first, first + count) of a call.
template <class T>
class Batch {
 public:
  Batch(const Exec& exec, const FarLayersArgs& args, const Texts<T>& texts, int64_t first,
        int64_t count)
      : exec_(exec),
        args_(args),
        texts_(texts),
        first_(first),
        count_(count),
        heads_(count * args.shape.n_heads),
        folded_(exec, heads_ * args.shape.d_model),
        b_(exec, count * texts.far * args.shape.n_groups * args.shape.d_state),
        weight_(exec, heads_ * texts.padded) {}

  void Write() const {
    const FarShape& shape = args_.shape;
    const auto texts = std::ssize(texts_.texts);
    const std::vector<far::LayerText<T>> pairs = Pairs();
    const Scratch<float> decay(exec_, heads_ * texts);
    const Scratch<int> counts(exec_, heads_ * texts), order(exec_, heads_ * texts);
    int64_t most_far = 0, most_chunks = 0;
    for (const FarText& text : texts_.texts) {
      most_far = std::max(most_far, text.region.far);
      most_chunks = std::max(most_chunks, CountChunks(text.region));
    }
    const far::Task<T> task{.pairs = cuda::Place<far::LayerText<T>>(exec_, pairs),
                            .decay = decay.data(),
                            .counts = counts.data(),
                            .order = order.data(),
                            .pair_count = static_cast<int>(count_ * texts),
                            .most_far = static_cast<int>(most_far),
                            .most_chunks = static_cast<int>(most_chunks),
                            .heads = static_cast<int>(shape.n_heads),
                            .groups = static_cast<int>(shape.n_groups),
                            .d_model = static_cast<int>(shape.d_model),
                            .dt_min = shape.dt_min,
                            .dt_max = shape.dt_max};
    Launch(exec_, FoldNorm<T>, Blocks(heads_, 1), kThreads, 0, task, static_cast<int>(texts),
           folded_.data());
    Place at;
    for (const FarText& text : texts_.texts) Project(text, at);
    far::ChooseWrites(exec_, task, args_.horizon);
    far::WriteStates(exec_, task);
  }

 private:
  // Where the text behind `at` lies.
  void Pass(const FarText& text, Place& at) const {
    at.far += text.region.far;
    at.padded += Padded(text);
    at.masks += args_.CountMasks(text);
  }

  // Δ of one text. Transposed, a head's Δ side by side: the far rows stand where a weight does, so
  // that a text's own length chooses the algorithm.
  void Project(const FarText& text, Place& at) const {
    const int64_t d_model = args_.shape.d_model, padded = Padded(text);
    Product(exec_, {.x = folded_.data(),
                    .x_stride = d_model,
                    .rows = heads_,
                    .w = {.dtype = args_.layers[0].w.dtype,
                          .data = texts_.u + at.padded * d_model,
                          .rows = padded,
                          .cols = d_model},
                    .bias = {},
                    .out = weight_.data() + heads_ * at.padded,
                    .out_stride = padded,
                    .out_type = DType::kF32});
    Pass(text, at);
  }

  std::vector<far::LayerText<T>> Pairs() const {
    std::vector<far::LayerText<T>> pairs;
    for (int64_t l = 0; l < count_; ++l) {
      Place at;
      for (const FarText& text : texts_.texts) {
        pairs.push_back(PairOf(l, text, at));
        Pass(text, at);
      }
    }
    return pairs;
  }

  far::LayerText<T> PairOf(int64_t l, const FarText& text, const Place& at) const {
    const FarLayer& layer = args_.layers[first_ + l];
    const FarShape& shape = args_.shape;
    const int64_t far = text.region.far, chunks = CountChunks(text.region);
    const int64_t width = shape.n_groups * shape.d_state;
    return {.w = static_cast<const T*>(layer.w.data) + layer.w.first * layer.w.cols,
            .norm_weight = layer.norm_weight.data,
            .conv_weight = layer.conv_weight.data,
            .conv_bias = layer.conv_bias.data,
            .dt_bias = layer.dt_bias.data,
            .a = layer.a.data,
            .conv_state = layer.conv_states + text.slot * layer.stride,
            .ssm_state = layer.ssm_states + text.slot * layer.stride,
            .u = texts_.u + at.padded * shape.d_model,
            .weight = weight_.data() + heads_ * at.padded + l * shape.n_heads * Padded(text),
            .stride = Padded(text),
            .needed = texts_.needed + at.masks + (first_ + l) * shape.n_heads * chunks,
            .b = b_.data() + (count_ * at.far + l * far) * width,
            .far = static_cast<int>(far),
            .chunk = static_cast<int>(text.region.chunk),
            .chunks = static_cast<int>(chunks)};
  }

  const Exec& exec_;
  const FarLayersArgs& args_;
  const Texts<T>& texts_;
  int64_t first_, count_, heads_;
  Scratch<T> folded_, b_;
  Scratch<float> weight_;
};

template <class T>
void WriteTexts(const Exec& exec, const FarLayersArgs& args, Texts<T> texts) {
  const FarShape& shape = args.shape;
  for (const FarText& text : texts.texts) {
    texts.far += text.region.far;
    texts.padded += Padded(text);
  }
  const Scratch<T> u(exec, texts.padded * shape.d_model);
  texts.u = u.data();
  T* to = u.data();
  for (const FarText& text : texts.texts) {
    AddNormRounded(exec, {.x = text.stream, .eps = shape.eps}, {}, to);
    to += Padded(text) * shape.d_model;
  }
  const int64_t bytes =
      shape.n_heads * texts.padded * static_cast<int64_t>(sizeof(float)) +
      texts.far * shape.n_groups * shape.d_state * static_cast<int64_t>(sizeof(T));
  const int64_t layers = std::ssize(args.layers);
  const int64_t most = std::clamp<int64_t>(kMostScratch / bytes, 1, layers);
  for (int64_t first = 0; first < layers; first += most) {
    Batch<T>(exec, args, texts, first, std::min(most, layers - first)).Write();
  }
}

template <class T>
void Run(const Exec& exec, const FarLayersArgs& args) {
  uint8_t* needed = args.needed.data;
  for (size_t begin = 0; begin < args.texts.size();) {
    size_t end = begin;
    int64_t rows = 0, masks = 0;
    do {
      rows += Padded(args.texts[end]);
      masks += args.CountMasks(args.texts[end++]);
    } while (end < args.texts.size() && rows + Padded(args.texts[end]) <= kMostRows);
    WriteTexts<T>(
        exec, args,
        {.texts = args.texts.subspan(begin, end - begin), .u = nullptr, .needed = needed});
    needed += masks;
    begin = end;
  }
}

}  // namespace

bool TakesFarLayers(const Exec& exec, const FarLayersArgs& args) {
  const FarShape& shape = args.shape;
  const auto half = exec.precision == Precision::kBF16 ? DType::kBF16 : DType::kF16;
  const auto fits = [&](const FarLayer& layer) {
    return layer.w.dtype == half && layer.bias.empty();
  };
  const auto chooses = [&](const FarText& text) {
    return text.region.far < kMostFar &&
           (!args.horizon.mass || CountChunks(text.region) <= far::kMostChunks);
  };
  return exec.precision != Precision::kF32 && std::ranges::all_of(args.layers, fits) &&
         !shape.layer_norm && shape.d_state == kScanState && shape.head_dim == kScanHead &&
         shape.d_conv == kScanTaps && shape.d_model % 8 == 0 && shape.d_model <= kWidestNorm &&
         std::ranges::all_of(args.texts, chooses) &&
         far::SharedBytes(shape.d_model) <=
             static_cast<int64_t>(GpuOf(exec).properties().sharedMemPerBlockOptin);
}

void FarLayers(const Exec& exec, const FarLayersArgs& args) {
  (exec.precision == Precision::kBF16 ? Run<__nv_bfloat16> : Run<__half>)(exec, args);
}

}  // namespace pith::cuda
