// The scan of mamba2_scan.cu by Hopper's warpgroup products.
#include "backends/cuda/mamba2_scan_hopper.cuh"

namespace pith::cuda::scan {
namespace {

constexpr size_t kSharedBytes = 8 * kTileBytes + 4096 + 1024;
constexpr int kBlocksAtOnce = 3;  // on a multiprocessor

#if PITH_HAS_WARPGROUP

// The tiles begin at a multiple of 1024 bytes.
__device__ Shared& SharedOf(unsigned char* memory) {
  return *reinterpret_cast<Shared*>(memory + (1024 - SharedAddress(memory) % 1024) % 1024);
}

// Rows [begin, end) of the block's segment; kRun: a run of them, whose state somebody else makes.
// kKeep: kept_conv or kept_y is there.
template <bool kKeep, bool kRun, class T>
__device__ void Scan(Block<T>& block, int64_t begin, int64_t end) {
  Shared& shared = block.shared;
  block.template StartLoads<true>(begin);
  uint32_t x[kRows + kPast];
  block.LoadX(begin, x);
  block.LoadConstants();
  State state;
  if constexpr (kRun) {
    block.LoadRun(state, begin / kRunRows);
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
  if constexpr (!kRun) block.StoreState(state);
  // Nobody else reads what the head's first rows read, or has read it before their state was there.
  if (begin == 0) StorePasts(block.task, block.segment, block.head, block.past);
}

// The states before each run of the block's segment, and the one behind its last row: what Scan
// makes of them, by the same products in the same order.
template <class T>
__device__ void Walk(Block<T>& block) {
  const int64_t count = block.segment.count;
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

template <class T, bool kKeep>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce) ScanHeads(Task<T> task) {
  extern __shared__ unsigned char memory[];
  Block<T> block(task, SharedOf(memory), blockIdx.x, blockIdx.y);
  if (block.segment.count > 0) Scan<kKeep, false>(block, 0, block.segment.count);
}

// Blocks take tickets, so that those that others wait for have begun before them: the first ones
// walk, one for each head of a segment, and the others scan a run each, early runs first.
template <class T, bool kKeep>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce) ScanRuns(Task<T> task, int chains) {
  extern __shared__ unsigned char memory[];
  __shared__ int ticket;
  if (threadIdx.x == 0) ticket = static_cast<int>(atomicAdd(task.run_tickets, 1));
  __syncthreads();
  const int chain = ticket % chains;
  Block<T> block(task, SharedOf(memory), chain % task.heads, chain / task.heads);
  if (block.segment.count == 0) return;
  if (ticket < chains) return Walk(block);
  const int64_t begin = (ticket / chains - 1) * kRunRows;
  const int64_t end = min(begin + kRunRows, block.segment.count);
  if (begin < end) Scan<kKeep, true>(block, begin, end);
}

#else

struct Shared {};
template <class T, bool kKeep>
__global__ void ScanHeads(Task<T> /*task*/) {
  __trap();  // Gpu::warpgroup says that this is not there
}
template <class T, bool kKeep>
__global__ void ScanRuns(Task<T> /*task*/, int /*chains*/) {
  __trap();
}

#endif  // PITH_HAS_WARPGROUP

}  // namespace

// A block takes a head of a segment. Where that leaves most of the GPU idle, it makes the states
// before each run of kRunRows rows only, in a third of the time, and other blocks take a run each.
template <class T>
void ScanOnHopper(const Exec& exec, Task<T> task, unsigned segments, int64_t longest) {
  static_assert(sizeof(Shared) <= kSharedBytes - 1024);
  const int64_t chains = int64_t{segments} * task.heads;
  const bool few =
      2 * chains <= int64_t{kBlocksAtOnce} * GpuOf(exec).properties().multiProcessorCount;
  if (!few || longest <= kRunRows) {
    return Launch(exec, task.keeps() ? ScanHeads<T, true> : ScanHeads<T, false>,
                  dim3(task.heads, segments), kThreads, kSharedBytes, task);
  }
  const int64_t runs = (task.rows / kRunRows + segments + 1) * task.heads;  // most: see RunIndex
  const Scratch<float4> states(exec, runs * kRunState);
  const Scratch<unsigned> tickets(exec, 1 + runs);
  PITH_CUDA(cudaMemsetAsync(tickets.data(), 0, (1 + runs) * sizeof(unsigned), StreamOf(exec)));
  task.run_states = states.data();
  task.run_tickets = tickets.data();
  Launch(exec, task.keeps() ? ScanRuns<T, true> : ScanRuns<T, false>,
         static_cast<unsigned>(chains * (1 + Blocks(longest, kRunRows))), kThreads, kSharedBytes,
         task, static_cast<int>(chains));
}

template void ScanOnHopper(const Exec&, Task<__nv_bfloat16>, unsigned, int64_t);
template void ScanOnHopper(const Exec&, Task<__half>, unsigned, int64_t);

}  // namespace pith::cuda::scan
