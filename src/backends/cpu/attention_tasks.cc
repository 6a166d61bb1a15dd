#include "backends/cpu/attention_tasks.h"

namespace pith::cpu {
namespace {

// Rows of a task's products: many tiles of any instruction set, while what belongs to them stays in
// the second level of cache.
constexpr int64_t kRows = 96;

}  // namespace

void AttentionTasks::Cut(const AttentionArgs& args) {
  queries_.clear();
  tasks_.clear();
  operations_ = 0;
  queries_.reserve(args.out.rows);  // so that tasks may point into it
  const bool all = args.out.rows == args.q.rows;
  const int64_t kv_heads = args.layout.n_kv_heads;
  const auto most = static_cast<size_t>(std::max<int64_t>(1, kRows / (args.n_heads / kv_heads)));
  int64_t next = 0;  // of the wanted rows
  for (size_t s = 0; s < args.segments.size(); ++s) {
    const Segment segment = args.segments[s];
    const size_t first = queries_.size();
    const auto row = [&](int64_t out) { return all ? out : args.wanted[out]; };
    while (next < args.out.rows && row(next) < segment.begin) ++next;
    for (; next < args.out.rows && row(next) < segment.begin + segment.count; ++next) {
      queries_.push_back({row(next), next, args.positions[row(next)]});
    }
    const std::span<const AttentionQuery> queries = std::span(queries_).subspan(first);
    operations_ += static_cast<int64_t>(queries.size()) * args.q.cols * args.kv[s].rows;
    for (size_t begin = 0; begin < queries.size(); begin += most) {
      const auto some = queries.subspan(begin, std::min(most, queries.size() - begin));
      AttentionTask task = {.args = &args, .kv = &args.kv[s], .queries = some};
      const auto by_position = [](const AttentionQuery& a, const AttentionQuery& b) {
        return a.position < b.position;
      };
      const auto [low, high] = std::minmax_element(some.begin(), some.end(), by_position);
      task.least = low->position;
      task.most = high->position;
      for (task.head = 0; task.head < kv_heads; ++task.head) tasks_.push_back(task);
    }
  }
  // Not stable_sort, which allocates.
  std::sort(tasks_.begin(), tasks_.end(),
            [](const AttentionTask& a, const AttentionTask& b) { return a.most > b.most; });
}

}  // namespace pith::cpu
