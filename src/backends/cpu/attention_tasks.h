// How Attention's work is cut on the CPU.
#ifndef PITH_BACKENDS_CPU_ATTENTION_TASKS_H_
#define PITH_BACKENDS_CPU_ATTENTION_TASKS_H_

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/attention.h"

namespace pith::cpu {

// Pages that are summed by themselves before their sums are added to those of the pages before. A
// fixed number, as it decides the order of sums: large enough that the addition costs little, small
// enough that a long context gives several threads work for one query.
inline constexpr int64_t kRun = 16;

struct AttentionQuery {
  int64_t row;  // of q
  int64_t out;  // row of out
  int32_t position;
};

struct AttentionPage {
  const int32_t* positions;
  int64_t rows;  // that are written
  int32_t least, most;
};

// Some queries of one sequence against one head of its keys.
struct AttentionTask {
  const AttentionArgs* args;
  const KvPages* kv;
  std::span<const AttentionQuery> queries;
  int32_t least, most;  // positions of the queries
  int64_t head;         // of the keys

  int64_t heads() const { return args->n_heads / args->layout.n_kv_heads; }
  int64_t rows() const { return static_cast<int64_t>(queries.size()) * heads(); }
  int64_t pages() const { return (kv->rows + kKvPageRows - 1) / kKvPageRows; }
  int64_t runs() const { return (pages() + kRun - 1) / kRun; }

  AttentionPage Page(int64_t page) const {
    const auto* const positions = reinterpret_cast<const int32_t*>(kv->pages[page]);
    const int64_t rows = std::min(kKvPageRows, kv->rows - page * kKvPageRows);
    const auto [least, most] = std::minmax_element(positions, positions + rows);
    return {positions, rows, *least, *most};
  }
  // The least position that a query at `position` sees.
  int32_t FirstSeen(int32_t position) const {
    return args->window == 0
               ? 0
               : static_cast<int32_t>(std::max<int64_t>(0, position - args->window + 1));
  }
  // False only where no query of the task sees a row of the page.
  bool SeesAny(const AttentionPage& page) const {
    return page.least <= most && page.most >= FirstSeen(least);
  }
  // Whether a query at `position` sees a whole page.
  bool SeesAll(int32_t position, const AttentionPage& page) const {
    return page.rows == kKvPageRows && page.most <= position && page.least >= FirstSeen(position);
  }
};

// The tasks of one call, the longest first. Keeps its room.
class AttentionTasks {
 public:
  void Cut(const AttentionArgs& args);
  std::span<const AttentionTask> all() const { return tasks_; }
  // Multiplications and additions, roughly.
  int64_t operations() const { return operations_; }

 private:
  std::vector<AttentionQuery> queries_;
  std::vector<AttentionTask> tasks_;
  int64_t operations_ = 0;
};

}  // namespace pith::cpu

#endif  // PITH_BACKENDS_CPU_ATTENTION_TASKS_H_
