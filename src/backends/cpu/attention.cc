// Attention page by page, with a running maximum and sum (Milakov and Gimelshein 2018; Dao et al.
// 2022, "FlashAttention").
//
// A task is one head of keys and some queries of one sequence; the query's heads that read it stand
// below each other as rows of the products. Scores and weighted values of a page are the one
// product of gemm-inl.h, in which every number is a single chain, and a key that a query does not
// see weighs exactly 0: it adds nothing to a chain, a sum or a maximum. So a row's bits depend
// neither on the queries beside it nor on what they see. Pages are summed in runs of kRun, and the
// runs in order, by whichever task has them: where there are few queries, several tasks share a
// sequence.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/attention.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cstring>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "backends/cpu/attention_tasks.h"
#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

constexpr float kNoScore = -std::numeric_limits<float>::max();

// Σ 2^(score − largest) v over some keys, for each row.
struct Sums {
  float* values;   // [rows, stride]
  float* weights;  // [rows, kLanes]: Σ 2^(score − largest), lane by lane
  float* largest;  // [rows]

  static int64_t Size(int64_t rows, int64_t stride) { return rows * (stride + kLanes + 1); }
};

Sums TakeSums(float* at, int64_t rows, int64_t stride) {
  return {.values = at, .weights = at + rows * stride, .largest = at + rows * (stride + kLanes)};
}

void Clear(int64_t rows, int64_t stride, const Sums& sums) {
  std::fill_n(sums.values, rows * (stride + kLanes), 0.0f);
  std::fill_n(sums.largest, rows, kNoScore);
}

int64_t Padded(int64_t head_dim) { return CeilDiv(head_dim, kTileCols) * kTileCols; }

struct Scratch {
  Scratch(int64_t rows, int64_t head_dim) : rows(rows), stride(Padded(head_dim)) {
    static thread_local BufferOwner<float> memory;
    const int64_t left = CeilDiv(head_dim, kDepth) * rows * kLeftStride;
    memory.Resize(left + rows * (kLeftStride + 1) + 2 * Sums::Size(rows, stride));
    float* at = memory.data();
    const auto take = [&at](int64_t size) { return std::exchange(at, at + size); };
    q = {take(left), rows};
    scores = {take(rows * kLeftStride), rows};
    run = TakeSums(take(Sums::Size(rows, stride)), rows, stride);
    total = TakeSums(take(Sums::Size(rows, stride)), rows, stride);
    decay = take(rows);
  }

  int64_t rows, stride;
  Blocked q;       // [rows, head_dim] queries, times scale · log₂ e
  Blocked scores;  // [rows, kKvPageRows], then the weights
  Sums run, total;
  float* decay;  // [rows] what the sums so far are multiplied by
};

// The queries of a task, those of one head of keys: heads of a query stand together.
void TakeQueries(const AttentionTask& task, Scratch& s) {
  const AttentionArgs& args = *task.args;
  const int64_t head_dim = args.layout.head_dim, heads = task.heads();
  const auto scale = static_cast<float>(args.scale * std::numbers::log2e);
  for (int64_t r = 0; r < s.rows; ++r) {
    const float* const q =
        args.q.Row(task.queries[r / heads].row) + (task.head * heads + r % heads) * head_dim;
    for (int64_t k0 = 0; k0 < head_dim; k0 += kDepth) {
      float* const to = s.q.At(r, k0);
      ForVectors(std::min(kDepth, head_dim - k0), [&](auto d, int64_t i) HWY_ATTR {
        hn::StoreU(hn::Mul(hn::LoadU(d, q + k0 + i), hn::Set(d, scale)), d, to + i);
      });
    }
  }
}

void Multiply(const AttentionTask& task, const float* keys, Scratch& s) {
  for (int64_t col = 0; col < kKvPageRows; col += kTileCols) {
    ForTiles(s.rows, [&](auto count, int64_t row) HWY_ATTR {
      V sums[count][2];
      ClearSums(sums);
      ForDepth(task.args->layout.head_dim, [&](int64_t k0, int64_t depth) HWY_ATTR {
        AddProducts(s.q.At(row, k0), keys + k0 * kKvPageRows + col, kKvPageRows, depth, sums);
      });
      StoreSums(sums, [&](int64_t r, int j, V sum) HWY_ATTR {
        hn::StoreU(sum, D(), s.scores.At(row + r, col + j * kLanes));
      });
    });
  }
}

// Scores of keys that the query does not see → −∞.
void MaskRow(const AttentionTask& task, int32_t position, const AttentionPage& page,
             float* scores) {
  const D d;
  const hn::RebindToSigned<D> di;
  const auto last = hn::Set(di, position);
  const auto before = hn::Set(di, task.FirstSeen(position) - 1);
  const auto rows = hn::Set(di, static_cast<int32_t>(page.rows));
  const V none = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < kKvPageRows; i += kLanes) {
    const auto at = hn::LoadU(di, page.positions + i);
    const auto seen = hn::AndNot(hn::Gt(at, last), hn::Gt(at, before));
    const auto written = hn::Lt(hn::Iota(di, static_cast<int32_t>(i)), rows);
    const auto kept = hn::RebindMask(d, hn::And(seen, written));
    hn::StoreU(hn::IfThenElse(kept, hn::LoadU(d, scores + i), none), d, scores + i);
  }
}

// Scores → weights, the row's largest and Σ weights brought up to date.
void WeighRow(int64_t row, Scratch& s) {
  const D d;
  float* const scores = s.scores.At(row, 0);
  const float before = s.run.largest[row];
  V most = hn::Set(d, before);
  for (int64_t i = 0; i < kKvPageRows; i += kLanes) most = hn::Max(most, hn::LoadU(d, scores + i));
  most = hn::MaxOfLanes(d, most);
  V sum = hn::Zero(d);
  for (int64_t i = 0; i < kKvPageRows; i += kLanes) {
    const V weight = FastExp2OfNegative(d, hn::Sub(hn::LoadU(d, scores + i), most));
    hn::StoreU(weight, d, scores + i);
    sum = hn::Add(sum, weight);
  }
  const V decay = FastExp2OfNegative(d, hn::Sub(hn::Set(d, before), most));
  float* const weights = s.run.weights + row * kLanes;
  hn::StoreU(hn::MulAdd(hn::LoadU(d, weights), decay, sum), d, weights);
  s.decay[row] = hn::GetLane(decay);
  s.run.largest[row] = hn::GetLane(most);
}

void AddValues(const AttentionTask& task, const float* values, int64_t rows, Scratch& s) {
  const int64_t head_dim = task.args->layout.head_dim;
  for (int64_t col = 0; col < head_dim; col += kTileCols) {
    ForTiles(s.rows, [&](auto count, int64_t row) HWY_ATTR {
      const D d;
      V sums[count][2];
      ClearSums(sums);
      AddProducts(s.scores.At(row, 0), values + col, head_dim, rows, sums);
      StoreSums(sums, [&](int64_t r, int j, V sum) HWY_ATTR {
        float* const at = s.run.values + (row + r) * s.stride + col + j * kLanes;
        hn::StoreU(hn::MulAdd(hn::LoadU(d, at), hn::Set(d, s.decay[row + r]), sum), d, at);
      });
    });
  }
}

// The pages of one run → s.run; false where no query sees any of them.
bool SumRun(const AttentionTask& task, int64_t run, Scratch& s) {
  const KvPageLayout& layout = task.args->layout;
  bool any = false;
  const int64_t end = std::min(task.pages(), (run + 1) * kRun);
  for (int64_t p = run * kRun; p < end; ++p) {
    const AttentionPage page = task.Page(p);
    if (!task.SeesAny(page)) continue;
    if (!std::exchange(any, true)) Clear(s.rows, s.stride, s.run);
    Multiply(task, task.kv->pages[p] + layout.keys(task.head), s);
    for (int64_t r = 0; r < s.rows; ++r) {
      const int32_t position = task.queries[r / task.heads()].position;
      if (!task.SeesAll(position, page)) MaskRow(task, position, page, s.scores.At(r, 0));
      WeighRow(r, s);
    }
    AddValues(task, task.kv->pages[p] + layout.values(task.head), page.rows, s);
  }
  return any;
}

// total += run, both brought to the larger of their largest scores.
void AddRun(int64_t rows, int64_t stride, const Sums& run, const Sums& total) {
  const hn::CappedTag<float, 1> one;
  for (int64_t r = 0; r < rows; ++r) {
    const float most = std::max(total.largest[r], run.largest[r]);
    const auto share = [&](float largest) HWY_ATTR {
      return hn::GetLane(FastExp2OfNegative(one, hn::Set(one, largest - most)));
    };
    const float old = share(total.largest[r]), added = share(run.largest[r]);
    const auto add = [&](int64_t n, const float* from, float* to) HWY_ATTR {
      ForVectors(n, [&](auto d, int64_t i) HWY_ATTR {
        const auto before = hn::Mul(hn::LoadU(d, to + i), hn::Set(d, old));
        hn::StoreU(hn::MulAdd(hn::LoadU(d, from + i), hn::Set(d, added), before), d, to + i);
      });
    };
    add(stride, run.values + r * stride, total.values + r * stride);
    add(kLanes, run.weights + r * kLanes, total.weights + r * kLanes);
    total.largest[r] = most;
  }
}

void Finish(const AttentionTask& task, int64_t rows, int64_t stride, const Sums& total) {
  const D d;
  const int64_t head_dim = task.args->layout.head_dim, heads = task.heads();
  for (int64_t r = 0; r < rows; ++r) {
    float* const out = task.args->out.Row(task.queries[r / heads].out) +
                       (task.head * heads + r % heads) * head_dim;
    const float sum = hn::GetLane(hn::SumOfLanes(d, hn::LoadU(d, total.weights + r * kLanes)));
    // A key that was the largest weighs 1. Adding 0 makes −0 the 0 that other cuts may give.
    const float scale = sum == 0 ? 0.0f : 1 / sum;
    ForVectors(head_dim, [&](auto d1, int64_t i) HWY_ATTR {
      const auto v = hn::LoadU(d1, total.values + r * stride + i);
      hn::StoreU(hn::MulAdd(v, hn::Set(d1, scale), hn::Zero(d1)), d1, out + i);
    });
  }
}

void RunTask(const AttentionTask& task) {
  Scratch s(task.rows(), task.args->layout.head_dim);
  TakeQueries(task, s);
  Clear(s.rows, s.stride, s.total);
  for (int64_t run = 0; run < task.runs(); ++run) {
    if (SumRun(task, run, s)) AddRun(s.rows, s.stride, s.run, s.total);
  }
  Finish(task, s.rows, s.stride, s.total);
}

// Where there are fewer tasks than threads, runs are summed side by side, and added up then: the
// sums of each lie behind each other.
void RunApart(int threads, std::span<const AttentionTask> tasks) {
  static thread_local std::vector<std::pair<const AttentionTask*, int64_t>> pieces;
  static thread_local BufferOwner<float> memory;
  pieces.clear();
  const int64_t stride = Padded(tasks[0].args->layout.head_dim);
  int64_t rows = 0;
  for (const AttentionTask& task : tasks) {
    for (int64_t run = 0; run < task.runs(); ++run) pieces.emplace_back(&task, run);
    rows = std::max(rows, task.rows());
  }
  const int64_t size = Sums::Size(rows, stride);
  memory.Resize(static_cast<int64_t>(pieces.size()) * size);
  float* const sums = memory.data();
  const std::span<const std::pair<const AttentionTask*, int64_t>> all = pieces;
  ParallelFor(threads, static_cast<int64_t>(all.size()), [&](int64_t i) {
    const auto& [task, run] = all[i];
    Scratch s(task->rows(), task->args->layout.head_dim);
    TakeQueries(*task, s);
    const Sums to = TakeSums(sums + i * size, s.rows, stride);
    Clear(s.rows, stride, to);
    if (SumRun(*task, run, s)) AddRun(s.rows, stride, s.run, to);
  });
  int64_t piece = 0;
  for (const AttentionTask& task : tasks) {
    const Sums total = TakeSums(sums + piece * size, task.rows(), stride);
    for (int64_t run = 1; run < task.runs(); ++run) {
      AddRun(task.rows(), stride, TakeSums(sums + (piece + run) * size, task.rows(), stride),
             total);
    }
    Finish(task, task.rows(), stride, total);
    piece += task.runs();
  }
}

void RunAttention(const Exec& exec, const AttentionArgs& args) {
  static thread_local AttentionTasks cut;
  cut.Cut(args);
  const std::span<const AttentionTask> tasks = cut.all();
  const int threads = ThreadsFor(exec, cut.operations() / 8);
  if (threads > static_cast<int64_t>(tasks.size()) && !tasks.empty()) {
    RunApart(threads, tasks);
  } else {
    ParallelFor(threads, static_cast<int64_t>(tasks.size()), [&](int64_t i) { RunTask(tasks[i]); });
  }
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunAttention);

void Attention(const Exec& exec, const AttentionArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunAttention)(exec, args);
}

}  // namespace pith::cpu
#endif
