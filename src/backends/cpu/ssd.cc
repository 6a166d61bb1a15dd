// Ssd: the paper's chunked form, by small matrix products that stay in cache. ssd_pairs.cc has it
// in pairs of 16 bits.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/ssd.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cstring>
#include <utility>

#include "backends/cpu/ssd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// One task's scratch, carved from one allocation. Q: rows of a chunk, N: d_state, P: head_dim.
// Widths are padded to kTileCols, so that products need no tails.
class Scratch {
 public:
  Scratch(int64_t chunk, int64_t d_state, int64_t head_dim, int64_t heads)
      : Q(chunk), N(d_state), Qp(CeilDiv(chunk, kTileCols) * kTileCols), stride(Stride(head_dim)) {
    const int64_t blocks = CeilDiv(Qp, kDepth);
    const int64_t left = (N * blocks + Q * CeilDiv(N, kDepth) + Q * blocks) * kLeftStride;
    static thread_local BufferOwner<float> memory;
    memory.Resize(left + Q * Qp + (2 * Q + heads * N) * stride + 5 * Qp);
    float* at = memory.data();
    const auto take = [&at](int64_t size) { return std::exchange(at, at + size); };
    bt = {take(N * blocks * kLeftStride), N};
    c = {take(Q * CeilDiv(N, kDepth) * kLeftStride), Q};
    mixed = {take(Q * blocks * kLeftStride), Q};
    scores = take(Q * Qp);
    x_in = take(Q * stride);
    x_out = take(Q * stride);
    states = {take(heads * N * stride), heads * N, head_dim, stride};
    steps = {take(Qp), take(Qp), take(Qp), take(Qp), take(Qp)};
    std::fill(memory.data(), memory.data() + memory.size(), 0.0f);
  }

  int64_t Q, N, Qp, stride;
  Blocked bt;             // [N, Q] Bᵀ
  Blocked c;              // [Q, N]
  Blocked mixed;          // [Q, Q] scores ∘ decays
  float* scores;          // [Q, Qp] C Bᵀ
  float* x_in;            // [Q, P], by stride: Δ x
  float* x_out;           // [Q, P], by stride: Δ x, decayed to the chunk's end
  MatView<float> states;  // [heads · N, P], by stride
  Steps steps;

 private:
  // An odd number of cache lines, so that a panel's rows do not share L1's sets.
  static int64_t Stride(int64_t head_dim) {
    constexpr int64_t kLine = 16;
    return (CeilDiv(CeilDiv(head_dim, kTileCols) * kTileCols, kLine) | 1) * kLine;
  }
};

// Rows and vectors of a [rows, cols] block.
template <class Fn>
HWY_INLINE void ForBlock(int64_t rows, int64_t cols, const Fn& fn) {
  for (int64_t r = 0; r < rows; ++r) {
    ForVectors(cols, [&](auto d, int64_t i) HWY_ATTR { fn(d, r, i); });
  }
}

// mixed[t, s] = scores[t, s] · exp(log_t − log_s) for s ≤ t, else 0.
void MaskScores(int64_t rows, Scratch& s) {
  const D d;
  for (int64_t t = 0; t < rows; ++t) {
    const V high = hn::Set(d, s.steps.log_high[t]);
    const V low = hn::Set(d, s.steps.log_low[t]);
    for (int64_t i = 0; i < s.Qp; i += kLanes) {
      float* const to = s.mixed.At(t, i);
      if (i > t) {
        hn::Store(hn::Zero(d), d, to);
        continue;
      }
      const V mixed = hn::Mul(hn::Load(d, s.scores + t * s.Qp + i), Decay(s.steps, high, low, i));
      hn::Store(hn::IfThenElseZero(IsPast(i, t), mixed), d, to);
    }
  }
}

// Bᵀ, and where outputs are wanted C and C Bᵀ: shared by the group's heads.
void Scores(const Task& task, int64_t begin, int64_t rows, bool wanted, Scratch& s) {
  const int64_t first = task.group * s.N;
  constexpr int64_t kRun = 8;  // of rows, so that what is written lies in few lines
  for (int64_t t0 = 0; t0 < rows; t0 += kRun) {
    for (int64_t n = 0; n < s.N; ++n) {
      float* const to = s.bt.At(n, t0);
      for (int64_t t = t0; t < std::min(t0 + kRun, rows); ++t) {
        to[t - t0] = task.args.b.Row(begin + t)[first + n];
      }
    }
  }
  if (!wanted) return;
  ForDepth(s.N, [&](int64_t k0, int64_t depth) {
    for (int64_t t = 0; t < rows; ++t) {
      std::copy_n(task.args.c.Row(begin + t) + first + k0, depth, s.c.At(t, k0));
    }
  });
  const D d;
  for (int64_t col = 0; col < rows; col += kTileCols) {
    ForTiles(rows, [&](auto count, int64_t row) HWY_ATTR {
      if (row + count <= col) return;  // above the diagonal
      V sums[count][2];
      ClearSums(sums);
      ForDepth(s.N, [&](int64_t k0, int64_t depth) HWY_ATTR {
        AddProducts(s.c.At(row, k0), s.bt.At(k0, col), kLeftStride, depth, sums);
      });
      StoreSums(sums, [&](int64_t r, int j, V sum) HWY_ATTR {
        hn::Store(sum, d, s.scores + (row + r) * s.Qp + col + j * kLanes);
      });
    });
  }
}

// y = C S, decayed from the chunk's start, plus the chunk's own rows, plus the skip: one chain of
// sums for each element.
void Outputs(const Task& task, int64_t h, int64_t begin, int64_t rows, const MatView<float>& state,
             Scratch& s) {
  const SsdArgs& args = task.args;
  const int64_t P = args.head_dim;
  const auto store = [&](auto d, int64_t t, int64_t i, auto sum) HWY_ATTR {
    const auto skip =
        args.d_has_hdim ? hn::LoadU(d, args.d.data + h * P + i) : hn::Set(d, args.d.data[h]);
    const auto x = hn::LoadU(d, args.x.Row(begin + t) + h * P + i);
    hn::StoreU(hn::MulAdd(skip, x, sum), d, args.y.Row(begin + t) + h * P + i);
  };
  MaskScores(rows, s);
  for (int64_t col = 0; col < P; col += kTileCols) {
    ForTiles(rows, [&](auto count, int64_t row) HWY_ATTR {
      const D d;
      V sums[count][2];
      ClearSums(sums);
      ForDepth(s.N, [&](int64_t k0, int64_t depth) HWY_ATTR {
        AddProducts(s.c.At(row, k0), state.Row(k0) + col, s.stride, depth, sums);
      });
#pragma GCC unroll 16
      for (int r = 0; r < count; ++r) {
        const V decay = hn::Set(d, s.steps.from_start[row + r]);
        sums[r][0] = hn::Mul(sums[r][0], decay);
        sums[r][1] = hn::Mul(sums[r][1], decay);
      }
      ForDepth(row + count, [&](int64_t k0, int64_t depth) HWY_ATTR {
        AddProducts(s.mixed.At(row, k0), s.x_in + k0 * s.stride + col, s.stride, depth, sums);
      });
      StoreSums(sums, [&](int64_t r, int j, V sum) HWY_ATTR {
        const int64_t i = col + j * kLanes;
        if (i + kLanes <= P) {
          store(d, row + r, i, sum);
          return;
        }
        HWY_ALIGN float rest[kLanes];
        hn::Store(sum, d, rest);
        const hn::CappedTag<float, 1> one;
        for (int64_t l = 0; i + l < P; ++l) store(one, row + r, i + l, hn::Load(one, rest + l));
      });
    });
  }
}

// The state after the chunk: decayed over it, plus what its rows write.
void Write(int64_t rows, float decay, const MatView<float>& state, Scratch& s) {
  const D d;
  for (int64_t col = 0; col < state.cols; col += kTileCols) {
    ForTiles(s.N, [&](auto count, int64_t row) HWY_ATTR {
      V sums[count][2];
      ClearSums(sums);
      ForDepth(rows, [&](int64_t k0, int64_t depth) HWY_ATTR {
        AddProducts(s.bt.At(row, k0), s.x_out + k0 * s.stride + col, s.stride, depth, sums);
      });
      StoreSums(sums, [&](int64_t r, int j, V sum) HWY_ATTR {
        float* const at = state.Row(row + r) + col + j * kLanes;
        hn::Store(hn::MulAdd(hn::Load(d, at), hn::Set(d, decay), sum), d, at);
      });
    });
  }
}

void HeadChunk(const Task& task, int64_t h, int64_t begin, int64_t rows, bool wanted, Scratch& s) {
  const SsdArgs& args = task.args;
  const int64_t P = args.head_dim;
  const auto state = s.states.Rows((h - task.head) * s.N, s.N);
  StepSizes(args, h, begin, rows, s.steps);
  ForBlock(rows, P, [&](auto d, int64_t t, int64_t i) HWY_ATTR {
    const auto x = hn::LoadU(d, args.x.Row(begin + t) + h * P + i);
    const auto in = hn::Mul(x, hn::Set(d, s.steps.dt[t]));
    hn::StoreU(in, d, s.x_in + t * s.stride + i);
    hn::StoreU(hn::Mul(in, hn::Set(d, s.steps.to_end[t])), d, s.x_out + t * s.stride + i);
  });
  if (wanted) Outputs(task, h, begin, rows, state, s);
  Write(rows, s.steps.from_start[rows - 1], state, s);
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
  ForChunks(task, [&](int64_t begin, int64_t rows, bool wanted) {
    Scores(task, begin, rows, wanted, s);
    for (int64_t h = task.head; h < task.head + task.heads; ++h) {
      HeadChunk(task, h, begin, rows, wanted, s);
    }
  });
  for (int64_t r = 0; r < stored.rows; ++r) {
    std::memcpy(stored.Row(r), s.states.Row(r), row_bytes);
  }
}

void RunSsd(const Exec& exec, const SsdArgs& args) { ForTasks(exec, args, RunTask); }

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunSsd);

void Ssd(const Exec& exec, const SsdArgs& args) {
  const bool pairs = HasBF16Products() || HasF16Products();
  if (exec.precision == Precision::kBF16 && pairs) return SsdPairs(exec, args);
  HWY_DYNAMIC_DISPATCH(RunSsd)(exec, args);
}

}  // namespace pith::cpu
#endif
