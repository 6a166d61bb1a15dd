// What is left of each far row's write at the region's end, and which chunks are written. A block a
// head goes from the region's end to its begin and stops where nothing is left: from there on
// every weight is exactly zero.
#include <cfloat>

#include "backends/cuda/far_layers.cuh"
#include "backends/cuda/sum_before.cuh"

namespace pith::cuda::far {
namespace {

constexpr int kThreads = 256;
constexpr int kPer = 4;  // rows of a thread
constexpr int kBins = 1024;

struct Rule {
  double threshold;
  double share;  // where by_mass
  bool by_mass;

  // Whether rows before one with this T can matter to the choice.
  __device__ bool Over(double after) const {
    return by_mass || threshold <= 0 || exp(after) < threshold;
  }
};

// By threshold, needed too. Rows that the loop does not reach keep what they held where no chunk of
// theirs is needed, and become zero elsewhere.
template <class T>
__global__ void __launch_bounds__(kThreads) Weigh(Task<T> task, Rule rule) {
  const int64_t head = blockIdx.x;
  const LayerText<T> pair = task.pairs[head / task.heads];
  const int64_t in_layer = head % task.heads;
  const float bias = pair.dt_bias[in_layer];
  const double a = pair.a[in_layer];
  float* const row = pair.weight + in_layer * pair.stride;
  uint8_t* const needed = pair.needed + in_layer * pair.chunks;
  double after = 0;  // T of the last row at hand
  int done = 0;
  for (; done < pair.far; done += kThreads * kPer) {
    const int back = done + static_cast<int>(threadIdx.x) * kPer;
    const int last = pair.far - 1 - back;  // the thread's rows are last, last − 1, …
    float step[kPer];
    double sum = 0;
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      step[i] = last < i ? 0 : Clamp(Softplus(row[last - i] + bias), task.dt_min, task.dt_max);
      sum += step[i] * a;
    }
    double total;
    double left = after + SumBefore<kThreads>(sum, total);
    int phase = back % pair.chunk;
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      if (last < i) break;
      row[last - i] = step[i] * expf(static_cast<float>(left));
      if (phase == 0 && !rule.by_mass) {
        needed[pair.chunks - 1 - (back + i) / pair.chunk] = exp(left) >= rule.threshold;
      }
      if (++phase == pair.chunk) phase = 0;
      left += step[i] * a;
    }
    after += total;
    if (expf(static_cast<float>(after)) == 0 && rule.Over(after)) {
      done += kThreads * kPer;
      break;
    }
  }
  if (threadIdx.x == 0) task.decay[head] = static_cast<float>(exp(after));
  if (rule.by_mass || rule.threshold <= 0) {
    for (int t = pair.far - 1 - done - static_cast<int>(threadIdx.x); t >= 0; t -= kThreads) {
      row[t] = 0;
    }
  }
  if (rule.by_mass) return;
  int count = 0;
  __syncthreads();
  for (int c = threadIdx.x; c < pair.chunks; c += kThreads) {
    if ((pair.chunks - 1 - c) * int64_t{pair.chunk} >= done) needed[c] = rule.threshold <= 0;
    count += needed[c];
  }
  count = BlockSum<kThreads>(count);
  if (threadIdx.x == 0) task.counts[head] = count;
}

// Lighter first, of equal ones the earlier.
__device__ bool Heavier(double mass, int chunk, double other, int other_chunk) {
  return mass > other || (mass == other && chunk > other_chunk);
}

// `size`: a power of two.
__device__ void SortByMass(double* mass, int* chunk, int size) {
  for (int k = 2; k <= size; k *= 2) {
    for (int j = k / 2; j > 0; j /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < size; i += kThreads) {
        const int other = i ^ j;
        if (other < i) continue;
        const bool up = (i & k) == 0;
        if (Heavier(mass[i], chunk[i], mass[other], chunk[other]) != up) continue;
        const double m = mass[i];
        const int c = chunk[i];
        mass[i] = mass[other];
        chunk[i] = chunk[other];
        mass[other] = m;
        chunk[other] = c;
      }
    }
  }
  __syncthreads();
}

template <class T>
__device__ void SumMasses(const LayerText<T>& pair, const float* row, double* mass, int* chunk,
                          int size) {
  for (int c = threadIdx.x / 32; c < size; c += kThreads / 32) {
    double sum = c < pair.chunks ? 0 : DBL_MAX;  // what fills the power of two comes last
    if (c < pair.chunks) {
      for (int t = pair.ChunkBegin(c) + threadIdx.x % 32; t < pair.ChunkBegin(c + 1); t += 32) {
        sum += row[t];
      }
      sum = WarpSum(sum);
    }
    if (threadIdx.x % 32 == 0) {
      mass[c] = sum;
      chunk[c] = c;
    }
  }
  __syncthreads();
}

// NeededChunks (ops/horizon.h) with a share of the mass: the same sums in the same order.
template <class T>
__global__ void __launch_bounds__(kThreads) ChooseByMass(Task<T> task, Rule rule, int size) {
  extern __shared__ double mass[];
  int* const chunk = reinterpret_cast<int*>(mass + size);
  const int64_t head = blockIdx.x;
  const LayerText<T> pair = task.pairs[head / task.heads];
  const int64_t in_layer = head % task.heads;
  SumMasses(pair, pair.weight + in_layer * pair.stride, mass, chunk, size);
  double limit = 0;
  if (threadIdx.x == 0) {
    for (int c = 0; c < pair.chunks; ++c) limit += mass[c];
    limit *= rule.share;
  }
  uint8_t* const needed = pair.needed + in_layer * pair.chunks;
  for (int c = threadIdx.x; c < pair.chunks; c += kThreads) needed[c] = 1;
  SortByMass(mass, chunk, size);
  if (threadIdx.x != 0) return;
  int left_out = 0;
  for (double sum = 0; left_out < pair.chunks; ++left_out) {
    sum += mass[left_out];
    if (sum > limit) break;
    needed[chunk[left_out]] = 0;
  }
  task.counts[head] = pair.chunks - left_out;
}

// The heads by their needed chunks, the most first: blocks start in this order, and one that takes
// long should not start last. Which of two with equal counts comes first changes no result.
__global__ void __launch_bounds__(kBins) Order(const int* counts, int heads, int* order) {
  __shared__ int places[kBins];
  places[threadIdx.x] = 0;
  __syncthreads();
  const auto bin = [&](int head) { return kBins - 1 - min(counts[head], kBins - 1); };
  for (int i = threadIdx.x; i < heads; i += kBins) atomicAdd(&places[bin(i)], 1);
  __syncthreads();
  double total;
  const auto before = static_cast<int>(SumBefore<kBins>(places[threadIdx.x], total));
  places[threadIdx.x] = before;
  __syncthreads();
  for (int i = threadIdx.x; i < heads; i += kBins) order[atomicAdd(&places[bin(i)], 1)] = i;
}

}  // namespace

template <class T>
void ChooseWrites(const Exec& exec, const Task<T>& task, const Horizon& horizon) {
  const Rule rule{.threshold = horizon.threshold,
                  .share = horizon.mass.value_or(0),
                  .by_mass = horizon.mass.has_value()};
  Launch(exec, Weigh<T>, task.all_heads(), kThreads, 0, task, rule);
  if (rule.by_mass) {
    int size = 1;
    while (size < task.most_chunks) size *= 2;
    Launch(exec, ChooseByMass<T>, task.all_heads(), kThreads, size * (sizeof(double) + sizeof(int)),
           task, rule, size);
  }
  Launch(exec, Order, 1, kBins, 0, static_cast<const int*>(task.counts), task.all_heads(),
         task.order);
}

template void ChooseWrites(const Exec&, const Task<__nv_bfloat16>&, const Horizon&);
template void ChooseWrites(const Exec&, const Task<__half>&, const Horizon&);

}  // namespace pith::cuda::far
