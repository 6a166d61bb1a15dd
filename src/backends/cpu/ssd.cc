// Ssd: the paper's chunked form, by small matrix products that stay in cache.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/ssd.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// One task's scratch, carved from one allocation. Widths are padded to kTileCols with zeros, so
// that products need no tails. Q: rows of a chunk, N: d_state, P: head_dim; Qp, Pp: padded.
class Scratch {
 public:
  Scratch(int64_t chunk, int64_t d_state, int64_t head_dim, int64_t heads)
      : Q(chunk), N(d_state), Qp(Pad(chunk)), Pp(Pad(head_dim)) {
    static thread_local BufferOwner<float> memory;
    memory.Resize(N * Qp + 2 * Q * Qp + Q * Np() + 3 * Q * Pp + heads * N * Pp + 5 * Qp);
    float* at = memory.data();
    const auto take = [&at](int64_t rows, int64_t cols) {
      const MatView<float> view(at, rows, cols);
      at += rows * cols;
      return view;
    };
    bt = take(N, Qp);
    scores = take(Q, Qp);
    mixed = take(Q, Qp);
    c = take(Q, Np());
    x_in = take(Q, Pp);
    x_out = take(Q, Pp);
    y = take(Q, Pp);
    states = take(heads * N, Pp);
    dt = take(1, Qp).data;
    log_high = take(1, Qp).data;
    log_low = take(1, Qp).data;
    from_start = take(1, Qp).data;
    to_end = take(1, Qp).data;
    std::fill(memory.data(), memory.data() + memory.size(), 0.0f);
  }

  int64_t Q, N, Qp, Pp;
  MatView<float> bt;      // [N, Qp] Bᵀ
  MatView<float> scores;  // [Q, Qp] C Bᵀ
  MatView<float> mixed;   // [Q, Qp] scores ∘ decays
  MatView<float> c;       // [Q, Np] decayed C
  MatView<float> x_in;    // [Q, Pp] Δ x
  MatView<float> x_out;   // [Q, Pp] Δ x, decayed to the chunk's end
  MatView<float> y;       // [Q, Pp]
  MatView<float> states;  // [heads · N, Pp]
  float* dt;              // [Qp]
  // Σ_{s ≤ t} Δ_s a in two floats: differences of two such sums then err by their own rounding
  // only.
  float* log_high;
  float* log_low;
  float* from_start;  // decay from before the chunk to row t
  float* to_end;      // decay from row t to the chunk's end

 private:
  static int64_t Pad(int64_t n) { return CeilDiv(n, kTileCols) * kTileCols; }
  int64_t Np() const { return Pad(N); }
};

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

// Rows and vectors of a [rows, cols] block.
template <class Fn>
HWY_INLINE void ForBlock(int64_t rows, int64_t cols, const Fn& fn) {
  for (int64_t r = 0; r < rows; ++r) {
    ForVectors(cols, [&](auto d, int64_t i) HWY_ATTR { fn(d, r, i); });
  }
}

// Δ of the chunk's rows, and the decays that follow from it.
void StepSizes(const SsdArgs& args, int64_t h, int64_t begin, int64_t rows, Scratch& s) {
  for (int64_t t = 0; t < rows; ++t) s.dt[t] = args.dt.Row(begin + t)[h] + args.dt_bias.data[h];
  ForVectors(rows, [&](auto d, int64_t i) HWY_ATTR {
    const auto dt = hn::Max(Softplus(d, hn::LoadU(d, s.dt + i)), hn::Set(d, args.dt_min));
    hn::StoreU(hn::Min(dt, hn::Set(d, args.dt_max)), d, s.dt + i);
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

// mixed[t, s] = scores[t, s] · exp(log_t − log_s) for s ≤ t, else 0.
void MaskScores(int64_t rows, Scratch& s) {
  const D d;
  for (int64_t t = 0; t < rows; ++t) {
    const V high = hn::Set(d, s.log_high[t]);
    const V low = hn::Set(d, s.log_low[t]);
    float* const to = s.mixed.Row(t);
    for (int64_t i = 0; i < s.Qp; i += kLanes) {
      if (i > t) {
        hn::Store(hn::Zero(d), d, to + i);
        continue;
      }
      const V log = hn::Add(hn::Sub(high, hn::Load(d, s.log_high + i)),
                            hn::Sub(low, hn::Load(d, s.log_low + i)));
      const V decay = FastExp(d, hn::Min(log, hn::Zero(d)));
      const auto past =
          hn::Le(hn::Iota(d, static_cast<float>(i)), hn::Set(d, static_cast<float>(t)));
      const V mixed = hn::Mul(hn::Load(d, s.scores.Row(t) + i), decay);
      hn::Store(hn::IfThenElseZero(past, mixed), d, to + i);
    }
  }
}

// Bᵀ, and C Bᵀ where outputs are wanted: shared by the group's heads.
void Scores(const Task& task, int64_t begin, int64_t rows, bool wanted, Scratch& s) {
  const int64_t first = task.group * s.N;
  for (int64_t t = 0; t < rows; ++t) {
    const float* b = task.args.b.Row(begin + t) + first;
    for (int64_t n = 0; n < s.N; ++n) s.bt.Row(n)[t] = b[n];
  }
  if (!wanted) return;
  const auto c = task.args.c.Rows(begin, rows).Cols(first, s.N);
  Multiply({.left = c, .right = s.bt.data, .right_stride = s.Qp, .out = s.scores.Rows(0, rows)});
}

// y = C S, decayed from the chunk's start, plus the chunk's own rows, plus the skip.
void Outputs(const Task& task, int64_t h, int64_t begin, int64_t rows, const MatView<float>& state,
             Scratch& s) {
  const SsdArgs& args = task.args;
  const int64_t P = args.head_dim;
  ForBlock(rows, s.N, [&](auto d, int64_t t, int64_t i) HWY_ATTR {
    const auto c = hn::LoadU(d, args.c.Row(begin + t) + task.group * s.N + i);
    hn::StoreU(hn::Mul(c, hn::Set(d, s.from_start[t])), d, s.c.Row(t) + i);
  });
  const auto y = s.y.Rows(0, rows);
  Multiply({.left = s.c.Rows(0, rows).Cols(0, s.N),
            .right = state.data,
            .right_stride = s.Pp,
            .out = y});
  MaskScores(rows, s);
  Multiply({.left = s.mixed.Rows(0, rows).Cols(0, rows),
            .right = s.x_in.data,
            .right_stride = s.Pp,
            .out = y,
            .accumulate = true,
            .causal = true});
  ForBlock(rows, P, [&](auto d, int64_t t, int64_t i) HWY_ATTR {
    const auto skip =
        args.d_has_hdim ? hn::LoadU(d, args.d.data + h * P + i) : hn::Set(d, args.d.data[h]);
    const auto x = hn::LoadU(d, args.x.Row(begin + t) + h * P + i);
    const auto sum = hn::MulAdd(skip, x, hn::LoadU(d, y.Row(t) + i));
    hn::StoreU(sum, d, args.y.Row(begin + t) + h * P + i);
  });
}

void HeadChunk(const Task& task, int64_t h, int64_t begin, int64_t rows, bool wanted, Scratch& s) {
  const SsdArgs& args = task.args;
  const int64_t P = args.head_dim;
  const auto state = s.states.Rows((h - task.head) * s.N, s.N);
  StepSizes(args, h, begin, rows, s);
  ForBlock(rows, P, [&](auto d, int64_t t, int64_t i) HWY_ATTR {
    const auto x = hn::LoadU(d, args.x.Row(begin + t) + h * P + i);
    const auto in = hn::Mul(x, hn::Set(d, s.dt[t]));
    hn::StoreU(in, d, s.x_in.Row(t) + i);
    hn::StoreU(hn::Mul(in, hn::Set(d, s.to_end[t])), d, s.x_out.Row(t) + i);
  });
  if (wanted) Outputs(task, h, begin, rows, state, s);
  const float decay = s.from_start[rows - 1];
  ForBlock(s.N, s.Pp, [&](auto d, int64_t n, int64_t i) HWY_ATTR {
    float* const at = state.Row(n) + i;
    hn::StoreU(hn::Mul(hn::LoadU(d, at), hn::Set(d, decay)), d, at);
  });
  Multiply({.left = s.bt.Cols(0, rows),
            .right = s.x_out.data,
            .right_stride = s.Pp,
            .out = state,
            .accumulate = true});
}

void RunTask(const Task& task) {
  const SsdArgs& args = task.args;
  const Segment segment = task.segment;
  if (segment.count == 0) return;
  Scratch s(std::min(args.chunk, segment.count), args.d_state, args.head_dim, task.heads);
  MatView<float> stored(task.states + task.head * s.N * args.head_dim, task.heads * s.N,
                        args.head_dim);
  const size_t row_bytes = args.head_dim * sizeof(float);
  for (int64_t r = 0; r < stored.rows; ++r) {
    std::memcpy(s.states.Row(r), stored.Row(r), row_bytes);
  }
  for (int64_t t = 0; t < segment.count; t += args.chunk) {
    const int64_t rows = std::min(args.chunk, segment.count - t);
    const bool wanted = t + rows > task.wanted_from;
    Scores(task, segment.begin + t, rows, wanted, s);
    for (int64_t h = task.head; h < task.head + task.heads; ++h) {
      HeadChunk(task, h, segment.begin + t, rows, wanted, s);
    }
  }
  for (int64_t r = 0; r < stored.rows; ++r) {
    std::memcpy(stored.Row(r), s.states.Row(r), row_bytes);
  }
}

// A task computes C Bᵀ anew for its heads, so it takes as many of a group as threads leave it.
void RunSsd(const Exec& exec, const SsdArgs& args) {
  const int64_t per_group = args.n_heads / args.n_groups;
  const int64_t groups = args.n_groups * static_cast<int64_t>(args.segments.size());
  if (groups == 0) return;
  const int threads = ThreadsFor(exec, args.x.rows * args.n_heads * args.head_dim * args.d_state);
  const int64_t splits = std::clamp<int64_t>(CeilDiv(2 * threads, groups), 1, per_group);
  const int64_t heads = CeilDiv(per_group, splits);
  const int64_t blocks = CeilDiv(per_group, heads);
  ParallelFor(threads, groups * blocks, [&](int64_t i) {
    const int64_t segment = i / blocks / args.n_groups;
    const int64_t group = i / blocks % args.n_groups;
    const int64_t first = i % blocks * heads;
    RunTask({args, args.segments[segment], args.states[segment], group, group * per_group + first,
             std::min(heads, per_group - first),
             args.wanted_from.empty() ? 0 : args.wanted_from[segment]});
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunSsd);

void Ssd(const Exec& exec, const SsdArgs& args) { HWY_DYNAMIC_DISPATCH(RunSsd)(exec, args); }

}  // namespace pith::cpu
#endif
