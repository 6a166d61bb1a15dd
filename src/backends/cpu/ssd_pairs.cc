// Ssd with products of pairs of bf16, for Precision::kBF16 where the processor has them: the
// chunked form of ssd.cc. Rounded are x, B, C, the scores with their decays and steps, x as it is
// written, and the state as it is read. Sums, decays and the state that is carried on are f32.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/ssd_pairs.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <utility>

#include "backends/cpu/ssd-inl.h"
#include "core/error.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3

// One task's scratch, carved from one allocation. Q: rows of a chunk, N: d_state, P: head_dim. What
// is [Q / 2, …] or [N / 2, …] holds pairs of rows, an odd last one with zeros. Widths are padded
// to kTileCols, with zeros where right sides are read beyond P.
class PairScratch {
 public:
  PairScratch(int64_t chunk, int64_t d_state, int64_t head_dim)
      : Q(chunk),
        N(d_state),
        P(head_dim),
        Qp(CeilDiv(chunk, kTileCols) * kTileCols),
        Pp(CeilDiv(head_dim, kTileCols) * kTileCols),
        row_pairs(CeilDiv(chunk, 2)),
        state_pairs(CeilDiv(d_state, 2)),
        b_stride(OddLines(d_state)),
        bt_stride(OddLines(Qp)),
        x_stride(OddLines(Pp)) {
    const int64_t c_size = Q * CeilDiv(state_pairs, kDepth) * kLeftStride;
    const int64_t mixed_size = Q * CeilDiv(Qp / 2, kDepth) * kLeftStride;
    static thread_local BufferOwner<float> memory;
    memory.Resize(c_size + mixed_size + Q * Qp + row_pairs * (b_stride + 2 * x_stride) +
                  state_pairs * (bt_stride + x_stride) + kRun * OddLines(state_pairs) + 6 * Qp);
    float* at = memory.data();
    const auto take = [&at](int64_t size) { return std::exchange(at, at + size); };
    c = {take(c_size), Q};
    mixed = {take(mixed_size), Q};
    scores = take(Q * Qp);
    b = take(row_pairs * b_stride);
    x = take(row_pairs * x_stride);
    x_out = take(row_pairs * x_stride);
    bt = take(state_pairs * bt_stride);
    state = take(state_pairs * x_stride);
    run = take(kRun * OddLines(state_pairs));
    steps = {take(Qp), take(Qp), take(Qp), take(Qp), take(Qp)};
    weight = take(Qp);
    std::fill(memory.data(), memory.data() + memory.size(), 0.0f);
  }

  static constexpr int64_t kRun = 16;  // of rows that are transposed together
  // Whole cache lines, an odd number of them, so that a panel's rows do not share L1's sets.
  static int64_t OddLines(int64_t floats) {
    constexpr int64_t kLine = 16;
    return (CeilDiv(floats, kLine) | 1) * kLine;
  }

  int64_t Q, N, P, Qp, Pp, row_pairs, state_pairs, b_stride, bt_stride, x_stride;
  Blocked c;      // [Q, N / 2]: pairs of neighbours
  Blocked mixed;  // [Q, Q / 2] scores ∘ decays ∘ Δ: pairs of neighbours
  float* scores;  // [Q, Qp] C Bᵀ
  float* b;       // [Q / 2, N]: a left side that lies transposed
  float* x;       // [Q / 2, P]
  float* x_out;   // [Q / 2, P]: Δ x, decayed to the chunk's end
  float* bt;      // [N / 2, Q] Bᵀ
  float* state;   // [N / 2, P] the state before the chunk
  float* run;     // [kRun, N / 2]
  Steps steps;
  float* weight;  // [Qp] Δ, decayed to the chunk's end
};

const BF16Pair* Pairs(const float* right) { return reinterpret_cast<const BF16Pair*>(right); }

// A vector of which the first n lanes are there, the others 0.
HWY_INLINE V LoadUpTo(const float* from, int64_t n) {
  const D d;
  if (n >= kLanes) return hn::LoadU(d, from);
  return n <= 0 ? hn::Zero(d) : hn::MaskedLoad(hn::FirstN(d, n), d, from);
}
HWY_INLINE void StoreUpTo(V v, float* to, int64_t n) {
  const D d;
  if (n >= kLanes) {
    hn::StoreU(v, d, to);
  } else if (n > 0) {
    hn::BlendedStore(v, hn::FirstN(d, n), d, to);
  }
}

// fn(r, i, left, sum) for rows r < kRows and vectors of columns i of the first `cols`, of which
// there are `left` from i on. The sums lie in memory meanwhile: where fn itself takes registers,
// the compiler keeps sums of pairs in memory all the while that they are made.
template <int kRows, class Fn>
HWY_INLINE void ForSums(const V (&sums)[kRows][2], int64_t cols, const Fn& fn) {
  const D d;
  HWY_ALIGN float held[kRows * kTileCols];
  StoreSums(sums, [&](int64_t r, int j, V sum)
                      HWY_ATTR { hn::Store(sum, d, held + r * kTileCols + j * kLanes); });
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t i = 0; i < std::min(kTileCols, cols); i += kLanes) {
      fn(r, i, cols - i, hn::Load(d, held + r * kTileCols + i));
    }
  }
}

// Pairs of rows [rows, cols] → to [rows / 2, cols], padded with zeros to `width`. row(r): where row
// r begins.
template <class Row>
HWY_INLINE void PairRows(int64_t rows, int64_t cols, int64_t width, const Row& row, int64_t stride,
                         float* to) {
  const D d;
  for (int64_t r = 0; r < rows; r += 2, to += stride) {
    const float* const first = row(r);
    const float* const second = r + 1 < rows ? row(r + 1) : nullptr;
    for (int64_t i = 0; i < width; i += kLanes) {
      const V low = LoadUpTo(first + i, cols - i);
      const V high = second != nullptr ? LoadUpTo(second + i, cols - i) : hn::Zero(d);
      hn::Store(RoundPair(low, high), d, to + i);
    }
  }
}

// Bᵀ, and C Bᵀ.
void PairScores(const Task& task, int64_t begin, int64_t rows, PairScratch& s) {
  const int64_t first = task.group * s.N;
  const int64_t run_stride = PairScratch::OddLines(s.state_pairs);
  for (int64_t t0 = 0; t0 < rows; t0 += PairScratch::kRun) {
    const int64_t count = std::min(PairScratch::kRun, rows - t0);
    for (int64_t t = 0; t < count; ++t) {
      RoundPairs(task.args.b.Row(begin + t0 + t) + first, s.N, s.run + t * run_stride);
    }
    for (int64_t n = 0; n < s.state_pairs; ++n) {
      for (int64_t t = 0; t < count; ++t) {
        s.bt[n * s.bt_stride + t0 + t] = s.run[t * run_stride + n];
      }
    }
  }
  ForDepth(s.state_pairs, [&](int64_t k0, int64_t depth) HWY_ATTR {
    for (int64_t t = 0; t < rows; ++t) {
      RoundPairs(task.args.c.Row(begin + t) + first + 2 * k0, std::min(2 * depth, s.N - 2 * k0),
                 s.c.At(t, k0));
    }
  });
  const D d;
  for (int64_t col = 0; col < rows; col += kTileCols) {
    ForTiles(rows, [&](auto count, int64_t row) HWY_ATTR {
      if (row + count <= col) return;  // above the diagonal
      V sums[count][2];
      ClearSums(sums);
      ForDepth(s.state_pairs, [&](int64_t k0, int64_t depth) HWY_ATTR {
        AddProducts(s.c.At(row, k0), Pairs(s.bt + k0 * s.bt_stride + col), s.bt_stride, depth,
                    sums);
      });
      StoreSums(sums, [&](int64_t r, int j, V sum) HWY_ATTR {
        hn::Store(sum, d, s.scores + (row + r) * s.Qp + col + j * kLanes);
      });
    });
  }
}

// mixed[t, s] = scores[t, s] · exp(log_t − log_s) · Δ_s for s ≤ t, else 0.
void MixScores(int64_t rows, PairScratch& s) {
  const D d;
  for (int64_t t = 0; t < rows; ++t) {
    const V high = hn::Set(d, s.steps.log_high[t]);
    const V low = hn::Set(d, s.steps.log_low[t]);
    const auto mixed = [&](int64_t i) HWY_ATTR {
      if (i > t) return hn::Zero(d);
      const V scores = hn::Mul(hn::Load(d, s.scores + t * s.Qp + i), hn::Load(d, s.steps.dt + i));
      return hn::IfThenElseZero(IsPast(i, t), hn::Mul(scores, Decay(s.steps, high, low, i)));
    };
    for (int64_t i = 0; i < s.Qp; i += kTileCols) {
      hn::Store(RoundNeighbours(mixed(i), mixed(i + kLanes)), d, s.mixed.At(t, i / 2));
    }
  }
}

// y = C S, decayed from the chunk's start.
void ReadState(const Task& task, int64_t h, int64_t begin, int64_t rows, PairScratch& s) {
  for (int64_t col = 0; col < s.P; col += kTileCols) {
    ForTiles(rows, [&](auto count, int64_t row) HWY_ATTR {
      V sums[count][2];
      ClearSums(sums);
      ForDepth(s.state_pairs, [&](int64_t k0, int64_t depth) HWY_ATTR {
        AddProducts(s.c.At(row, k0), Pairs(s.state + k0 * s.x_stride + col), s.x_stride, depth,
                    sums);
      });
      ForSums(sums, s.P - col, [&](int64_t r, int64_t i, int64_t left, V sum) HWY_ATTR {
        const V decay = hn::Set(D(), s.steps.from_start[row + r]);
        StoreUpTo(hn::Mul(sum, decay), task.args.y.Row(begin + row + r) + h * s.P + col + i, left);
      });
    });
  }
}

// To this y, the chunk's own rows and the skip.
void AddRowsOfChunk(const Task& task, int64_t h, int64_t begin, int64_t rows, PairScratch& s) {
  const SsdArgs& args = task.args;
  const V skip_of_head = hn::Set(D(), args.d.data[h]);
  for (int64_t col = 0; col < s.P; col += kTileCols) {
    ForTiles(rows, [&](auto count, int64_t row) HWY_ATTR {
      V sums[count][2];
      ClearSums(sums);
      // row is even; a rounded division here makes the compiler keep the sums in memory.
      ForDepth((row >> 1) + (count + 1) / 2, [&](int64_t k0, int64_t depth) HWY_ATTR {
        AddProducts(s.mixed.At(row, k0), Pairs(s.x + k0 * s.x_stride + col), s.x_stride, depth,
                    sums);
      });
      ForSums(sums, s.P - col, [&](int64_t r, int64_t i, int64_t left, V sum) HWY_ATTR {
        const int64_t at = h * s.P + col + i;
        float* const y = args.y.Row(begin + row + r) + at;
        const V skip = args.d_has_hdim ? LoadUpTo(args.d.data + at, left) : skip_of_head;
        const V x = LoadUpTo(args.x.Row(begin + row + r) + at, left);
        StoreUpTo(hn::MulAdd(skip, x, hn::Add(LoadUpTo(y, left), sum)), y, left);
      });
    });
  }
}

// The state after the chunk: decayed over it, plus what its rows write.
void PairWrite(int64_t rows, float decay, const MatView<float>& state, PairScratch& s) {
  const D d;
  const int64_t depth = (rows + 1) >> 1;
  for (int64_t col = 0; col < s.P; col += kTileCols) {
    ForTiles(s.N, [&](auto count, int64_t row) HWY_ATTR {
      V sums[count][2];
      ClearSums(sums);
      AddProductsOf(LeftColumns{s.b + row, s.b_stride}, Pairs(s.x_out + col), s.x_stride, depth,
                    sums);
      ForSums(sums, s.P - col, [&](int64_t r, int64_t i, int64_t left, V sum) HWY_ATTR {
        float* const at = state.Row(row + r) + col + i;
        StoreUpTo(hn::MulAdd(LoadUpTo(at, left), hn::Set(d, decay), sum), at, left);
      });
    });
  }
}

// x as it is read, where outputs are wanted, and as it is written.
void PairX(const Task& task, int64_t h, int64_t begin, int64_t rows, bool wanted, PairScratch& s) {
  const D d;
  for (int64_t t = 0; t < rows; ++t) s.weight[t] = s.steps.dt[t] * s.steps.to_end[t];
  for (int64_t t = 0; t < rows; t += 2) {
    const bool two = t + 1 < rows;
    const float* const first = task.args.x.Row(begin + t) + h * s.P;
    const float* const second = two ? task.args.x.Row(begin + t + 1) + h * s.P : nullptr;
    const V low_weight = hn::Set(d, s.weight[t]);
    const V high_weight = two ? hn::Set(d, s.weight[t + 1]) : hn::Zero(d);
    const int64_t at = t / 2 * s.x_stride;
    for (int64_t i = 0; i < s.Pp; i += kLanes) {
      const V low = LoadUpTo(first + i, s.P - i);
      const V high = two ? LoadUpTo(second + i, s.P - i) : hn::Zero(d);
      if (wanted) hn::Store(RoundPair(low, high), d, s.x + at + i);
      hn::Store(RoundPair(hn::Mul(low, low_weight), hn::Mul(high, high_weight)), d,
                s.x_out + at + i);
    }
  }
}

void PairHeadChunk(const Task& task, int64_t h, int64_t begin, int64_t rows, bool wanted,
                   PairScratch& s) {
  const MatView<float> state(task.states + h * s.N * s.P, s.N, s.P);
  StepSizes(task.args, h, begin, rows, s.steps);
  PairX(task, h, begin, rows, wanted, s);
  if (wanted) {
    PairRows(
        s.N, s.P, s.Pp, [&](int64_t n) { return state.Row(n); }, s.x_stride, s.state);
    ReadState(task, h, begin, rows, s);
    MixScores(rows, s);
    AddRowsOfChunk(task, h, begin, rows, s);
  }
  PairWrite(rows, s.steps.from_start[rows - 1], state, s);
}

void RunPairTask(const Task& task) {
  if (task.segment.count == 0) return;
  const SsdArgs& args = task.args;
  PairScratch s(std::min(args.chunk, task.segment.count), args.d_state, args.head_dim);
  ForChunks(task, [&](int64_t begin, int64_t rows, bool wanted) {
    const auto row = [&](int64_t t) { return args.b.Row(begin + t) + task.group * s.N; };
    PairRows(rows, s.N, CeilDiv(s.N, kLanes) * kLanes, row, s.b_stride, s.b);
    if (wanted) PairScores(task, begin, rows, s);
    for (int64_t h = task.head; h < task.head + task.heads; ++h) {
      PairHeadChunk(task, h, begin, rows, wanted, s);
    }
  });
}

void RunSsdPairs(const Exec& exec, const SsdArgs& args) { ForTasks(exec, args, RunPairTask); }

#else

void RunSsdPairs(const Exec&, const SsdArgs&) { PITH_CHECK(false); }

#endif

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunSsdPairs);

void SsdPairs(const Exec& exec, const SsdArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunSsdPairs)(exec, args);
}

}  // namespace pith::cpu
#endif
