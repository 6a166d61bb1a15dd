// What both forms of the SSD share (ssd.cc in f32, ssd_pairs.cc in pairs of 16 bits), compiled once
// per SIMD target: a task, the steps of its rows, and how the work is shared out.
#if defined(PITH_BACKENDS_CPU_SSD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_BACKENDS_CPU_SSD_INL_H_
#undef PITH_BACKENDS_CPU_SSD_INL_H_
#else
#define PITH_BACKENDS_CPU_SSD_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// The heads [head, head + heads) of one group, over one segment.
struct Task {
  const SsdArgs& args;
  Segment segment;
  float* states;  // the segment's
  int64_t group;
  int64_t head;
  int64_t heads;
  int64_t wanted_from;  // the segment's first row whose y is wanted
};

// Of the rows of a chunk, for one head: room for [Qp] each, Q rounded up to whole vectors.
struct Steps {
  float* dt;
  // Σ_{s ≤ t} Δ_s a in two floats: differences of two such sums then err by their own rounding
  // only.
  float* log_high;
  float* log_low;
  float* from_start;  // decay from before the chunk to row t
  float* to_end;      // decay from row t to the chunk's end
};

// Δ of the chunk's rows, and the decays that follow from it.
inline void StepSizes(const SsdArgs& args, int64_t h, int64_t begin, int64_t rows, const Steps& s) {
  for (int64_t t = 0; t < rows; ++t) s.dt[t] = args.dt.Row(begin + t)[h] + args.dt_bias.data[h];
  ForVectors(rows, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(StepSize(d, hn::LoadU(d, s.dt + i), args.dt_min, args.dt_max), d, s.dt + i);
  });
  double sum = 0;
  for (int64_t t = 0; t < rows; ++t) {
    sum += static_cast<double>(s.dt[t]) * args.a.data[h];
    s.log_high[t] = static_cast<float>(sum);
    s.log_low[t] = static_cast<float>(sum - s.log_high[t]);
  }
  const float high = s.log_high[rows - 1];
  const float low = s.log_low[rows - 1];
  ForVectors(rows, [&](auto d, int64_t i) HWY_ATTR {
    const auto log_high = hn::LoadU(d, s.log_high + i);
    const auto log_low = hn::LoadU(d, s.log_low + i);
    hn::StoreU(FastExp(d, log_high), d, s.from_start + i);
    const auto rest =
        hn::Add(hn::Sub(hn::Set(d, high), log_high), hn::Sub(hn::Set(d, low), log_low));
    hn::StoreU(FastExp(d, hn::Min(rest, hn::Zero(d))), d, s.to_end + i);
  });
}

// exp(log_t − log_s) for s = i … of row t's past, else 0; `high` and `low` are row t's.
HWY_INLINE V Decay(const Steps& s, V high, V low, int64_t i) {
  const D d;
  const V log =
      hn::Add(hn::Sub(high, hn::Load(d, s.log_high + i)), hn::Sub(low, hn::Load(d, s.log_low + i)));
  return FastExp(d, hn::Min(log, hn::Zero(d)));
}

// Whether row i + lane is not behind row t.
HWY_INLINE auto IsPast(int64_t i, int64_t t) {
  const D d;
  return hn::Le(hn::Iota(d, static_cast<float>(i)), hn::Set(d, static_cast<float>(t)));
}

// fn(begin, rows, wanted) for the chunks of the task's segment; `begin` is a row of the matrices.
template <class Fn>
HWY_INLINE void ForChunks(const Task& task, const Fn& fn) {
  for (int64_t t = 0; t < task.segment.count; t += task.args.chunk) {
    const int64_t rows = std::min(task.args.chunk, task.segment.count - t);
    fn(task.segment.begin + t, rows, t + rows > task.wanted_from);
  }
}

// run(task) for all of them. A task computes Bᵀ and C Bᵀ anew for its heads. So each of several
// threads gets two tasks, which even out, only where each still has some heads; and a thread alone
// more than one only where the states of all heads would not stay in L2.
template <class Run>
void ForTasks(const Exec& exec, const SsdArgs& args, const Run& run) {
  const int64_t per_group = args.n_heads / args.n_groups;
  const int64_t groups = args.n_groups * static_cast<int64_t>(args.segments.size());
  if (groups == 0) return;
  const int threads = ThreadsFor(exec, args.x.rows * args.n_heads * args.head_dim * args.d_state);
  constexpr int64_t kSomeHeads = 6, kManyHeads = 12;
  const int64_t one = CeilDiv(threads, groups), two = CeilDiv(2 * threads, groups);
  const int64_t splits =
      threads == 1 ? CeilDiv(per_group, kManyHeads)
                   : std::clamp<int64_t>(per_group >= two * kSomeHeads ? two : one, 1, per_group);
  const int64_t heads = CeilDiv(per_group, splits);
  const int64_t blocks = CeilDiv(per_group, heads);
  ParallelFor(threads, groups * blocks, [&](int64_t i) {
    const int64_t segment = i / blocks / args.n_groups;
    const int64_t group = i / blocks % args.n_groups;
    const int64_t first = i % blocks * heads;
    run(Task{args, args.segments[segment], args.states[segment], group, group * per_group + first,
             std::min(heads, per_group - first),
             args.wanted_from.empty() ? 0 : args.wanted_from[segment]});
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PITH_BACKENDS_CPU_SSD_INL_H_
