// A block a head goes from the region's end to its begin, kThreads rows at a time: the sums over
// later rows are a prefix sum in shared memory, in an order that depends on the number of rows
// alone.
#include "ops/far_weights.h"

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/step_size.cuh"
#include "backends/cuda/sum_before.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kMassThreads = 128;
constexpr int64_t kMassWarps = kMassThreads / 32;

struct Inputs {
  Rows<const float> dt;
  const float* dt_bias;
  float dt_min, dt_max;
  const float* a;
  int64_t far, chunk, chunks;
};

__global__ void Weigh(Inputs in, Rows<float> weight, float* decay, double* chunk_decay) {
  const int64_t h = blockIdx.x;
  double after = 0;  // T of the last row at hand
  for (int64_t done = 0; done < in.far; done += kThreads) {
    const int64_t back = done + threadIdx.x;  // rows between this one and the region's end
    const int64_t t = in.far - 1 - back;
    const double step = t < 0 ? 0 : StepSize(in.dt[t][h], in.dt_bias[h], in.dt_min, in.dt_max);
    double total;
    const double left = exp(after + SumBefore<kThreads>(step * in.a[h], total));
    after += total;
    if (t < 0) continue;
    weight[h][t] = static_cast<float>(step * left);
    if (back % in.chunk == 0) {
      chunk_decay[h * in.chunks + in.chunks - 1 - back / in.chunk] = left;
    }
  }
  if (threadIdx.x == 0) decay[h] = static_cast<float>(exp(after));
}

// A warp a head and chunk.
__global__ void SumMasses(Rows<const float> weight, int64_t heads, Inputs in, double* chunk_mass) {
  const int64_t pair = blockIdx.x * kMassWarps + threadIdx.x / 32;
  if (pair >= heads * in.chunks) return;
  const int64_t end = in.far - (in.chunks - 1 - pair % in.chunks) * in.chunk;
  double sum = 0;
  for (int64_t t = max(int64_t{0}, end - in.chunk) + threadIdx.x % 32; t < end; t += 32) {
    sum += weight[pair / in.chunks][t];
  }
  sum = WarpSum(sum);
  if (threadIdx.x % 32 == 0) chunk_mass[pair] = sum;
}

}  // namespace

void FarWeights(const Exec& exec, const FarWeightsArgs& args) {
  const int64_t heads = args.dt.cols;
  const int64_t chunks = CountChunks(args.region);
  const int64_t pairs = heads * chunks;
  const Inputs in{args.dt,     args.dt_bias.data, args.dt_min,       args.dt_max,
                  args.a.data, args.region.far,   args.region.chunk, chunks};
  const Scratch<double> chunk_decay(exec, pairs), chunk_mass(exec, pairs);
  Launch(exec, Weigh, Blocks(heads, 1), kThreads, 0, in, args.weight, args.decay.data,
         chunk_decay.data());
  Launch(exec, SumMasses, Blocks(pairs, kMassWarps), kMassThreads, 0,
         MatView<const float>(args.weight), heads, in, chunk_mass.data());
  const int64_t bytes = pairs * static_cast<int64_t>(sizeof(double));
  exec.backend->Download(exec.queue, chunk_decay.data(), args.chunk_decay.data(), bytes);
  exec.backend->Download(exec.queue, chunk_mass.data(), args.chunk_mass.data(), bytes);
}

}  // namespace pith::cuda
