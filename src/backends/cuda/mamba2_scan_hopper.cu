// The scan of mamba2_scan.cu by Hopper's warpgroup products.
#include "backends/cuda/mamba2_scan_hopper.cuh"

namespace pith::cuda::scan {
namespace {

constexpr size_t kSharedBytes = 8 * kTileBytes + 4096 + 1024;
constexpr int kBlocksAtOnce = 3;  // on a multiprocessor

#if PITH_HAS_WARPGROUP

// The head's rows of a segment, or a run of them that begins with a state of its own. kKeep:
// kept_conv or kept_y is there.
template <class T, bool kKeep>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce) ScanHeads(Task<T> task) {
  extern __shared__ unsigned char memory[];
  // The tiles begin at a multiple of 1024 bytes.
  Shared& shared =
      *reinterpret_cast<Shared*>(memory + (1024 - SharedAddress(memory) % 1024) % 1024);
  Block<T> block(task, shared);
  const bool runs = task.run_states != nullptr;
  const int64_t begin = blockIdx.z * kRunRows;
  if (begin >= block.segment.count) return;
  const int64_t end = runs ? min(begin + kRunRows, block.segment.count) : block.segment.count;
  block.template StartLoads<true>(begin);
  uint32_t x[kRows + kPast];
  block.LoadX(begin, x);
  block.LoadConstants();
  State state;
  if (runs) {
    block.LoadRun(state, blockIdx.z);
  } else {
    block.LoadState(state);
  }
  block.StoreRows(state, shared.state[0]);
#pragma unroll 1
  for (int64_t first = begin; first < end; first += kScanChunk) {
    block.Enter(first);
    AwaitCopies<0>();
    __syncthreads();
    block.MakeWeights();
    block.template Convolve<kKeep, true>(x);
    FenceShared();
    __syncthreads();
    Output y;
    block.ReadState(y);
    if (first + kScanChunk < end) block.LoadX(first + kScanChunk, x);
    uint32_t m[kBlocks][4];
    block.MakeM(m);
    AwaitProducts();
    Settle(y);
    block.DecayOutput(y);
    block.DecayState(state);
    block.ReadAndWrite(m, y, state);
    uint4 z[4];
    block.LoadGates(z);
    __syncthreads();  // all have read the tiles
    if (first + kScanChunk < end) block.template StartLoads<true>(first + kScanChunk);
    block.StoreRows(state, shared.state[0]);
    block.StoreRows(y, shared.write);  // the warp's own rows
    __syncwarp();
    block.template Gate<kKeep>(z);
  }
  if (!runs) block.StoreState(state);
  // Nobody else reads what the head's first rows read.
  if (begin == 0) StorePasts(task, block.segment, block.head, block.past);
}

// The states before each run of a segment, and the one behind its last row: what ScanHeads makes of
// them, by the same products in the same order.
template <class T>
__global__ void __launch_bounds__(kThreads) WalkStates(Task<T> task) {
  extern __shared__ unsigned char memory[];
  Shared& shared =
      *reinterpret_cast<Shared*>(memory + (1024 - SharedAddress(memory) % 1024) % 1024);
  Block<T> block(task, shared);
  const int64_t count = block.segment.count;
  if (count == 0) return;
  block.template StartLoads<false>(0);
  uint32_t x[kRows + kPast];
  block.LoadX(0, x);
  block.LoadConstants();
  State state;
  block.LoadState(state);
  int place = 0;
#pragma unroll 1
  for (int64_t first = 0; first < count; first += kScanChunk, place ^= 1) {
    const int64_t next = first + kScanChunk;
    block.Enter(first);
    AwaitCopies<0>();
    __syncthreads();  // all have read the other place
    if (next < count) block.template StartLoads<false>(next, place ^ 1);
    if (first % kRunRows == 0) block.StoreRun(state, first / kRunRows);
    block.MakeWeights(place);
    block.template Convolve<false, false>(x);
    FenceShared();
    __syncthreads();
    if (next < count) block.LoadX(next, x);
    block.DecayState(state, place);
    block.Write(state, place);
  }
  block.StoreState(state);
}

#else

struct Shared {};
template <class T, bool kKeep>
__global__ void ScanHeads(Task<T> /*task*/) {
  __trap();  // Gpu::warpgroup says that this is not there
}
template <class T>
__global__ void WalkStates(Task<T> /*task*/) {
  __trap();
}

#endif  // PITH_HAS_WARPGROUP

}  // namespace

// A block takes a head of a segment. Where that leaves most of the GPU idle, the states before each
// run of kRunRows rows are made first, in a third of the time, and then a block takes a run.
template <class T>
void ScanOnHopper(const Exec& exec, Task<T> task, unsigned segments, int64_t longest) {
  static_assert(sizeof(Shared) <= kSharedBytes - 1024);
  const auto kernel = task.keeps() ? ScanHeads<T, true> : ScanHeads<T, false>;
  const bool few = 2 * int64_t{segments} * task.heads <=
                   int64_t{kBlocksAtOnce} * GpuOf(exec).properties().multiProcessorCount;
  if (!few || longest <= kRunRows) {
    return Launch(exec, kernel, dim3(task.heads, segments), kThreads, kSharedBytes, task);
  }
  const int64_t runs = task.rows / kRunRows + segments + 1;  // at most: see RunState
  const Scratch<float4> run_states(exec, runs * task.heads * kRunState);
  task.run_states = run_states.data();
  Launch(exec, WalkStates<T>, dim3(task.heads, segments), kThreads, kSharedBytes, task);
  Launch(exec, kernel, dim3(task.heads, segments, Blocks(longest, kRunRows)), kThreads,
         kSharedBytes, task);
}

template void ScanOnHopper(const Exec&, Task<__nv_bfloat16>, unsigned, int64_t);
template void ScanOnHopper(const Exec&, Task<__half>, unsigned, int64_t);

}  // namespace pith::cuda::scan
