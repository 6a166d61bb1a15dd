// The scan of mamba2_scan.cu by Hopper's warpgroup products.
#include "backends/cuda/mamba2_scan_hopper.cuh"

#include <algorithm>
#include <span>

namespace pith::cuda::scan {
namespace {

constexpr size_t kSharedBytes = 8 * kTileBytes + 4096 + 1024;
constexpr int kBlocksAtOnce = 3;  // on a multiprocessor

#if PITH_HAS_WARPGROUP

// The tiles begin at a multiple of 1024 bytes.
__device__ Shared& SharedOf(unsigned char* memory) {
  return *reinterpret_cast<Shared*>(memory + (1024 - SharedAddress(memory) % 1024) % 1024);
}

// Where a piece of a segment has its state from, and who gets it: the sequence's own, nobody, or
// what HandOver and TakeOver name by a number.
constexpr int64_t kOwn = -1, kNobody = -2;

// Rows [begin, end) of the block's segment. kPlain: the task is one of the usual kind, see Plain.
template <bool kPlain, class T>
__device__ void Scan(Block<T>& block, int64_t begin, int64_t end, int64_t from, int64_t to) {
  Shared& shared = block.shared;
  block.template StartLoads<true>(begin);
  uint32_t x[kRows + kPast];
  block.LoadX(begin, x);
  block.LoadConstants();
  State state;
  if (from == kOwn) {
    block.LoadState(state);
  } else {
    block.TakeOver(state, from);
  }
  block.StoreRows(state, shared.state[0]);
#pragma unroll 1
  for (int64_t first = begin; first < end; first += kScanChunk) {
    block.Enter(first);
    AwaitCopies<0>();
    FenceShared();
    __syncthreads();
    uint32_t m[kBlocks][4];
    Output y;
    {
      Output cb;
      block.MultiplyCb(cb);
      block.MakeWeights();
      block.template Convolve<kPlain, true>(x);
      AwaitProducts();
      Settle(cb);
      block.template MakeM<kPlain>(cb, m);
    }
    FenceShared();
    __syncthreads();
    block.ReadState(y);
    uint4 z[4];
    block.LoadGates(z);
    block.DecayState(state);
    AwaitProducts();
    Settle(y);
    block.DecayOutput(y);
    block.ReadAndWrite(m, y, state);
    AwaitProducts();
    Settle(y);
    Settle(state);
    __syncthreads();  // all have read the tiles
    if (first + kScanChunk < end) block.template StartLoads<true>(first + kScanChunk);
    block.StoreRows(state, shared.state[0]);
    block.StoreRows(y, shared.write);  // the warp's own rows
    __syncwarp();
    block.template Gate<kPlain>(z, [&] {
      if (first + kScanChunk < end) block.LoadX(first + kScanChunk, x);
    });
  }
  if (to == kOwn) {
    block.StoreState(state);
  } else if (to != kNobody) {
    block.HandOver(state, to);
  }
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
    if (first % kRunRows == 0) block.HandOver(state, block.RunIndex(first / kRunRows));
    block.MakeWeights(place);
    block.template Convolve<true, false>(x);
    FenceShared();
    __syncthreads();
    if (next < count) block.LoadX(next, x);
    block.DecayState(state, place);
    block.Write(state, place);
  }
  block.StoreState(state);
}

// A block for each head of each segment.
template <class T, bool kPlain>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce) ScanHeads(Task<T> task) {
  extern __shared__ unsigned char memory[];
  Block<T> block(task, SharedOf(memory), blockIdx.x, blockIdx.y);
  const int64_t count = block.segment.count;
  if (count > 0) Scan<kPlain>(block, 0, count, kOwn, kOwn);
}

// Blocks take tickets, so that those that others wait for have begun before them.
template <class T>
__device__ int TakeTicket(const Task<T>& task) {
  __shared__ int ticket;
  if (threadIdx.x == 0) ticket = static_cast<int>(atomicAdd(task.run_tickets, 1));
  __syncthreads();
  return ticket;
}

// The first blocks walk, one for each head of a segment, and the others scan a run each, early runs
// first.
template <class T, bool kPlain>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce) ScanRuns(Task<T> task, int chains) {
  extern __shared__ unsigned char memory[];
  const int ticket = TakeTicket(task);
  const int chain = ticket % chains;
  Block<T> block(task, SharedOf(memory), chain % task.heads, chain / task.heads);
  if (block.segment.count == 0) return;
  if (ticket < chains) return Walk(block);
  const int64_t run = ticket / chains - 1;
  const int64_t begin = run * kRunRows;
  const int64_t end = min(begin + kRunRows, block.segment.count);
  if (begin < end) Scan<kPlain>(block, begin, end, block.RunIndex(run), kNobody);
}

// All chunks of all heads in one row, segment by segment and head by head, of which each block has
// an equal share. It begins with the share's last head, so that the block behind it, which goes on
// from there when it has done all else, need not wait for it.
template <class T, bool kPlain>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    ScanShares(Task<T> task, int64_t chunks) {
  extern __shared__ unsigned char memory[];
  const int64_t share = TakeTicket(task);
  const int64_t begin = share * chunks / gridDim.x;
  int64_t end = (share + 1) * chunks / gridDim.x;
  while (begin < end) {
    int which = 0;
    int64_t head_begin = 0, each;  // the head's first chunk, and its number of chunks
    for (;; ++which) {
      each = (task.segments[which].count + kScanChunk - 1) / kScanChunk;
      if (end <= head_begin + each * task.heads) break;
      head_begin += each * task.heads;
    }
    const int head = static_cast<int>((end - 1 - head_begin) / each);
    head_begin += head * each;
    const int64_t first = max(begin, head_begin);
    Block<T> block(task, SharedOf(memory), head, which);
    Scan<kPlain>(block, (first - head_begin) * kScanChunk,
                 min((end - head_begin) * kScanChunk, block.segment.count),
                 first == head_begin ? kOwn : share - 1, end == head_begin + each ? kOwn : share);
    end = first;
    __syncthreads();  // the next piece takes the same memory
  }
}

#else

struct Shared {};
template <class T, bool kPlain>
__global__ void ScanHeads(Task<T> /*task*/) {
  __trap();  // Gpu::warpgroup says that this is not there
}
template <class T, bool kPlain>
__global__ void ScanRuns(Task<T> /*task*/, int /*chains*/) {
  __trap();
}
template <class T, bool kPlain>
__global__ void ScanShares(Task<T> /*task*/, int64_t /*chunks*/) {
  __trap();
}

#endif  // PITH_HAS_WARPGROUP

// What is rare costs the others no instruction.
template <class T>
bool Plain(const Task<T>& task) {
  return !task.keeps() && !task.d_has_hdim && !task.norm_before_gate;
}

// Room for `count` states that blocks hand over, none there yet.
template <class T>
class HandOvers {
 public:
  HandOvers(const Exec& exec, int64_t count, Task<T>& task)
      : states_(exec, count * kRunState), tickets_(exec, 1 + count) {
    PITH_CUDA(cudaMemsetAsync(tickets_.data(), 0, (1 + count) * sizeof(unsigned), StreamOf(exec)));
    task.run_states = states_.data();
    task.run_tickets = tickets_.data();
  }

 private:
  Scratch<float4> states_;
  Scratch<unsigned> tickets_;
};

}  // namespace

// A block takes a head of a segment. Where that leaves most of the GPU idle, it makes the states
// before each run of kRunRows rows only, in a third of the time, and other blocks take a run each.
// Where there are more heads than blocks at once, these share them equally: else a part of the GPU
// would idle while the last heads are scanned. All do the same products in the same order.
template <class T>
void ScanOnHopper(const Exec& exec, Task<T> task, std::span<const Segment> segments) {
  static_assert(sizeof(Shared) <= kSharedBytes - 1024);
  int64_t longest = 0, chunks = 0;
  for (const Segment& segment : segments) {
    longest = std::max(longest, segment.count);
    chunks += task.heads * int64_t{Blocks(segment.count, kScanChunk)};
  }
  const auto count = static_cast<int64_t>(segments.size()), chains = count * task.heads;
  const int64_t at_once = int64_t{kBlocksAtOnce} * GpuOf(exec).properties().multiProcessorCount;
  const bool plain = Plain(task);
  if (2 * chains <= at_once && longest > kRunRows) {
    // At most: see RunIndex.
    const HandOvers<T> runs(exec, (task.rows / kRunRows + count + 1) * task.heads, task);
    return Launch(exec, plain ? ScanRuns<T, true> : ScanRuns<T, false>,
                  static_cast<unsigned>(chains * (1 + Blocks(longest, kRunRows))), kThreads,
                  kSharedBytes, task, static_cast<int>(chains));
  }
  // A head that is longer than a share would make three blocks wait for each other.
  if (chains > at_once && chunks / at_once >= Blocks(longest, kScanChunk)) {
    const HandOvers<T> shares(exec, at_once, task);
    return Launch(exec, plain ? ScanShares<T, true> : ScanShares<T, false>,
                  static_cast<unsigned>(at_once), kThreads, kSharedBytes, task, chunks);
  }
  Launch(exec, plain ? ScanHeads<T, true> : ScanHeads<T, false>,
         dim3(task.heads, static_cast<unsigned>(count)), kThreads, kSharedBytes, task);
}

template void ScanOnHopper(const Exec&, Task<__nv_bfloat16>, std::span<const Segment>);
template void ScanOnHopper(const Exec&, Task<__half>, std::span<const Segment>);

}  // namespace pith::cuda::scan
