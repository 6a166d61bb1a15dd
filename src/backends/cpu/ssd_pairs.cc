// Ssd with products of pairs of 16 bits, for Precision::kBF16 where the processor has them: the
// chunked form of ssd.cc. Rounded are x, B, C, the scores with their decays and steps, x as it is
// written, and the state as it is read, to bf16, or to f16 with a scale for all that a product
// reads of a chunk: what is 2²⁰ times smaller than the largest value there loses digits, also where
// that comes in a later row. Decays and the state that is carried on are f32, and so are sums, but
// that those of f16 begin in runs (gemm-inl.h).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/ssd_pairs.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <bit>
#include <type_traits>
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

  // Of f16, what each side is multiplied by; of bf16 all are 1.
  float b_scale = 1, c_scale = 1, x_scale = 1, x_out_scale = 1, state_scale = 1, mixed_scale = 1;
  uint32_t most_score = 0;  // of C Bᵀ, as MostBits
};

// What bounds values with such bits times the largest of n factors, as bits.
uint32_t Times(uint32_t most, const float* factors, int64_t n) {
  return std::bit_cast<uint32_t>(std::bit_cast<float>(most) *
                                 *std::max_element(factors, factors + n));
}

// MostBits where T has scales.
template <class T, class Row>
HWY_INLINE uint32_t MostOf(int64_t rows, int64_t cols, const Row& row) {
  return std::is_same_v<T, F16Pair> ? MostBits(rows, cols, row) : 0;
}

template <class T>
HWY_INLINE V Scaled(V v, float scale) {
  return std::is_same_v<T, F16Pair> ? hn::Mul(v, hn::Set(D(), scale)) : v;
}
// Sums without the scales of both sides.
template <class T>
HWY_INLINE V Unscaled(V sum, float left_scale, float right_scale) {
  return Scaled<T>(Scaled<T>(sum, InverseOfPower(left_scale)), InverseOfPower(right_scale));
}

// A tile's vectors of a right side as tiles read them: see F16Place.
template <class T>
HWY_INLINE void StoreRight(V first, V second, float* to) {
  const D d;
  constexpr bool kF16 = std::is_same_v<T, F16Pair>;
  hn::Store(kF16 ? hn::ConcatEven(d, second, first) : first, d, to);
  hn::Store(kF16 ? hn::ConcatOdd(d, second, first) : second, d, to + kLanes);
}

// held[r][i]: left · right, of rows r < kRows and columns i < kTileCols. left(k0): the left side
// from step k0 on, up to the end of its block. The sums lie in memory for whatever comes next:
// where that itself takes registers, the compiler keeps sums of pairs in memory all the while that
// they are made.
template <class T, int kRows, class Left>
HWY_INLINE void Multiply(const Left& left, const float* right, int64_t stride, int64_t depth,
                         float* held) {
  const auto* const pairs = reinterpret_cast<const T*>(right);
  if constexpr (std::is_same_v<T, F16Pair>) {
    ForDepth(depth, [&](int64_t k0, int64_t steps) HWY_ATTR {
      AddRunsOfF16<kRows>(left(k0), pairs + k0 * stride, stride, steps, k0 == 0, held);
    });
    return;
  }
  V sums[kRows][2];
  ClearSums(sums);
  ForDepth(depth, [&](int64_t k0, int64_t steps) HWY_ATTR {
    AddProductsOf(left(k0), pairs + k0 * stride, stride, steps, sums);
  });
  StoreSums(sums, [&](int64_t r, int j, V sum)
                      HWY_ATTR { hn::Store(sum, D(), held + r * kTileCols + j * kLanes); });
}

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

// fn(r, i, left, sum) for rows r < `rows` and vectors of columns i of the first `cols`, of which
// there are `left` from i on.
template <class Fn>
HWY_INLINE void ForSums(const float* held, int64_t rows, int64_t cols, const Fn& fn) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < std::min(kTileCols, cols); i += kLanes) {
      fn(r, i, cols - i, hn::Load(D(), held + r * kTileCols + i));
    }
  }
}

// Pairs of rows [rows, cols] → to [rows / 2, cols], padded with zeros to `width`, whole vectors,
// and for a right side whole tiles.
template <class T, bool kRight, class Row>
HWY_INLINE void PairRows(int64_t rows, int64_t cols, int64_t width, const Row& row, float scale,
                         int64_t stride, float* to) {
  for (int64_t r = 0; r < rows; r += 2, to += stride) {
    const float* const first = row(r);
    const float* const second = r + 1 < rows ? row(r + 1) : nullptr;
    const auto pairs = [&](int64_t i) HWY_ATTR {
      const V low = LoadUpTo(first + i, cols - i);
      const V high = second != nullptr ? LoadUpTo(second + i, cols - i) : hn::Zero(D());
      return RoundPair<T>(Scaled<T>(low, scale), Scaled<T>(high, scale));
    };
    if constexpr (kRight) {
      for (int64_t i = 0; i < width; i += kTileCols) {
        StoreRight<T>(pairs(i), pairs(i + kLanes), to + i);
      }
    } else {
      for (int64_t i = 0; i < width; i += kLanes) hn::Store(pairs(i), D(), to + i);
    }
  }
}

// Bᵀ, and C Bᵀ.
template <class T>
void PairScores(const Task& task, int64_t begin, int64_t rows, PairScratch& s) {
  constexpr bool kF16 = std::is_same_v<T, F16Pair>;
  const int64_t first = task.group * s.N;
  const int64_t run_stride = PairScratch::OddLines(s.state_pairs);
  for (int64_t t0 = 0; t0 < rows; t0 += PairScratch::kRun) {
    const int64_t count = std::min(PairScratch::kRun, rows - t0);
    for (int64_t t = 0; t < count; ++t) {
      RoundPairs<T>(task.args.b.Row(begin + t0 + t) + first, s.N, s.b_scale,
                    s.run + t * run_stride);
    }
    for (int64_t n = 0; n < s.state_pairs; ++n) {
      for (int64_t t = 0; t < count; ++t) {
        const int64_t col = t0 + t;
        const int64_t place = kF16 ? col - col % kTileCols + F16Place(col % kTileCols) : col;
        s.bt[n * s.bt_stride + place] = s.run[t * run_stride + n];
      }
    }
  }
  const auto c = [&](int64_t t) { return task.args.c.Row(begin + t) + first; };
  s.c_scale = ScaleForF16(MostOf<T>(rows, s.N, c));
  ForDepth(s.state_pairs, [&](int64_t k0, int64_t depth) HWY_ATTR {
    for (int64_t t = 0; t < rows; ++t) {
      RoundPairs<T>(c(t) + 2 * k0, std::min(2 * depth, s.N - 2 * k0), s.c_scale, s.c.At(t, k0));
    }
  });
  for (int64_t col = 0; col < rows; col += kTileCols) {
    ForTiles(rows, [&](auto count, int64_t row) HWY_ATTR {
      if (row + count <= col) return;  // above the diagonal
      HWY_ALIGN float held[count * kTileCols];
      Multiply<T, count>([&](int64_t k0) { return LeftRows{s.c.At(row, k0)}; }, s.bt + col,
                         s.bt_stride, s.state_pairs, held);
      ForSums(held, count, kTileCols, [&](int64_t r, int64_t i, int64_t, V sum) HWY_ATTR {
        hn::Store(Unscaled<T>(sum, s.c_scale, s.b_scale), D(),
                  s.scores + (row + r) * s.Qp + col + i);
      });
    });
  }
  s.most_score = 0;
  for (int64_t t = 0; t < rows; ++t) {  // up to the diagonal: nobody reads what lies above it
    const auto row = [&](int64_t) { return s.scores + t * s.Qp; };
    s.most_score = std::max(s.most_score, MostOf<T>(1, t + 1, row));
  }
}

// mixed[t, s] = scores[t, s] · exp(log_t − log_s) · Δ_s for s ≤ t, else 0.
template <class T>
void MixScores(int64_t rows, PairScratch& s) {
  const D d;
  if constexpr (std::is_same_v<T, F16Pair>) {
    s.mixed_scale = ScaleForF16(Times(s.most_score, s.steps.dt, rows));
  }
  for (int64_t t = 0; t < rows; ++t) {
    const V high = hn::Set(d, s.steps.log_high[t]);
    const V low = hn::Set(d, s.steps.log_low[t]);
    const auto mixed = [&](int64_t i) HWY_ATTR {
      if (i > t) return hn::Zero(d);
      const V scores = hn::Mul(hn::Load(d, s.scores + t * s.Qp + i), hn::Load(d, s.steps.dt + i));
      const V all = hn::Mul(scores, Decay(s.steps, high, low, i));
      return hn::IfThenElseZero(IsPast(i, t), Scaled<T>(all, s.mixed_scale));
    };
    for (int64_t i = 0; i < s.Qp; i += kTileCols) {
      hn::Store(RoundNeighbours<T>(mixed(i), mixed(i + kLanes)), d, s.mixed.At(t, i / 2));
    }
  }
}

// y = C S, decayed from the chunk's start.
template <class T>
void ReadState(const Task& task, int64_t h, int64_t begin, int64_t rows, PairScratch& s) {
  for (int64_t col = 0; col < s.P; col += kTileCols) {
    ForTiles(rows, [&](auto count, int64_t row) HWY_ATTR {
      HWY_ALIGN float held[count * kTileCols];
      Multiply<T, count>([&](int64_t k0) { return LeftRows{s.c.At(row, k0)}; }, s.state + col,
                         s.x_stride, s.state_pairs, held);
      ForSums(held, count, s.P - col, [&](int64_t r, int64_t i, int64_t left, V sum) HWY_ATTR {
        const V decay = hn::Set(D(), s.steps.from_start[row + r]);
        const V y = hn::Mul(Unscaled<T>(sum, s.c_scale, s.state_scale), decay);
        StoreUpTo(y, task.args.y.Row(begin + row + r) + h * s.P + col + i, left);
      });
    });
  }
}

// To this y, the chunk's own rows and the skip.
template <class T>
void AddRowsOfChunk(const Task& task, int64_t h, int64_t begin, int64_t rows, PairScratch& s) {
  const SsdArgs& args = task.args;
  const V skip_of_head = hn::Set(D(), args.d.data[h]);
  for (int64_t col = 0; col < s.P; col += kTileCols) {
    ForTiles(rows, [&](auto count, int64_t row) HWY_ATTR {
      HWY_ALIGN float held[count * kTileCols];
      // row is even; a rounded division here makes the compiler keep the sums in memory.
      Multiply<T, count>([&](int64_t k0) { return LeftRows{s.mixed.At(row, k0)}; }, s.x + col,
                         s.x_stride, (row >> 1) + (count + 1) / 2, held);
      ForSums(held, count, s.P - col, [&](int64_t r, int64_t i, int64_t left, V sum) HWY_ATTR {
        const int64_t at = h * s.P + col + i;
        float* const y = args.y.Row(begin + row + r) + at;
        const V skip = args.d_has_hdim ? LoadUpTo(args.d.data + at, left) : skip_of_head;
        const V x = LoadUpTo(args.x.Row(begin + row + r) + at, left);
        const V all = hn::Add(LoadUpTo(y, left), Unscaled<T>(sum, s.mixed_scale, s.x_scale));
        StoreUpTo(hn::MulAdd(skip, x, all), y, left);
      });
    });
  }
}

// The state after the chunk: decayed over it, plus what its rows write.
template <class T>
void PairWrite(int64_t rows, float decay, const MatView<float>& state, PairScratch& s) {
  const D d;
  const int64_t depth = (rows + 1) >> 1;
  for (int64_t col = 0; col < s.P; col += kTileCols) {
    ForTiles(s.N, [&](auto count, int64_t row) HWY_ATTR {
      HWY_ALIGN float held[count * kTileCols];
      const auto left = [&](int64_t k0) {
        return LeftColumns{s.b + k0 * s.b_stride + row, s.b_stride};
      };
      Multiply<T, count>(left, s.x_out + col, s.x_stride, depth, held);
      ForSums(held, count, s.P - col, [&](int64_t r, int64_t i, int64_t left, V sum) HWY_ATTR {
        float* const at = state.Row(row + r) + col + i;
        const V written = Unscaled<T>(sum, s.b_scale, s.x_out_scale);
        StoreUpTo(hn::MulAdd(LoadUpTo(at, left), hn::Set(d, decay), written), at, left);
      });
    });
  }
}

// x as it is read, where outputs are wanted, and as it is written.
template <class T>
void PairX(const Task& task, int64_t h, int64_t begin, int64_t rows, bool wanted, PairScratch& s) {
  const D d;
  for (int64_t t = 0; t < rows; ++t) s.weight[t] = s.steps.dt[t] * s.steps.to_end[t];
  const auto row = [&](int64_t t) { return task.args.x.Row(begin + t) + h * s.P; };
  if constexpr (std::is_same_v<T, F16Pair>) {
    const uint32_t most = MostBits(rows, s.P, row);
    s.x_scale = ScaleForF16(most);
    s.x_out_scale = ScaleForF16(Times(most, s.weight, rows));
  }
  for (int64_t t = 0; t < rows; t += 2) {
    const bool two = t + 1 < rows;
    const float* const first = row(t);
    const float* const second = two ? row(t + 1) : nullptr;
    const V low_weight = Scaled<T>(hn::Set(d, s.weight[t]), s.x_out_scale);
    const V high_weight = Scaled<T>(two ? hn::Set(d, s.weight[t + 1]) : hn::Zero(d), s.x_out_scale);
    const int64_t at = t / 2 * s.x_stride;
    for (int64_t i = 0; i < s.Pp; i += kTileCols) {
      V read[2], written[2];
      for (int j = 0; j < 2; ++j) {
        const int64_t k = i + j * kLanes;
        const V low = LoadUpTo(first + k, s.P - k);
        const V high = two ? LoadUpTo(second + k, s.P - k) : hn::Zero(d);
        read[j] = RoundPair<T>(Scaled<T>(low, s.x_scale), Scaled<T>(high, s.x_scale));
        written[j] = RoundPair<T>(hn::Mul(low, low_weight), hn::Mul(high, high_weight));
      }
      if (wanted) StoreRight<T>(read[0], read[1], s.x + at + i);
      StoreRight<T>(written[0], written[1], s.x_out + at + i);
    }
  }
}

template <class T>
void PairHeadChunk(const Task& task, int64_t h, int64_t begin, int64_t rows, bool wanted,
                   PairScratch& s) {
  const MatView<float> state(task.states + h * s.N * s.P, s.N, s.P);
  StepSizes(task.args, h, begin, rows, s.steps);
  PairX<T>(task, h, begin, rows, wanted, s);
  if (wanted) {
    const auto row = [&](int64_t n) { return state.Row(n); };
    s.state_scale = ScaleForF16(MostOf<T>(1, s.N * s.P, row));
    PairRows<T, true>(s.N, s.P, s.Pp, row, s.state_scale, s.x_stride, s.state);
    ReadState<T>(task, h, begin, rows, s);
    MixScores<T>(rows, s);
    AddRowsOfChunk<T>(task, h, begin, rows, s);
  }
  PairWrite<T>(rows, s.steps.from_start[rows - 1], state, s);
}

template <class T>
void RunPairTask(const Task& task) {
  if (task.segment.count == 0) return;
  const SsdArgs& args = task.args;
  PairScratch s(std::min(args.chunk, task.segment.count), args.d_state, args.head_dim);
  ForChunks(task, [&](int64_t begin, int64_t rows, bool wanted) {
    const auto row = [&](int64_t t) { return args.b.Row(begin + t) + task.group * s.N; };
    s.b_scale = ScaleForF16(MostOf<T>(rows, s.N, row));
    PairRows<T, false>(rows, s.N, CeilDiv(s.N, kLanes) * kLanes, row, s.b_scale, s.b_stride, s.b);
    if (wanted) PairScores<T>(task, begin, rows, s);
    for (int64_t h = task.head; h < task.head + task.heads; ++h) {
      PairHeadChunk<T>(task, h, begin, rows, wanted, s);
    }
  });
}

void RunSsdPairs(const Exec& exec, const SsdArgs& args) {
  ForTasks(exec, args, HasF16Products() ? RunPairTask<F16Pair> : RunPairTask<BF16Pair>);
}

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
