// How much work a table is, told without a model.
#ifndef PITH_EVAL_REPRODUCE_WORKLOAD_H_
#define PITH_EVAL_REPRODUCE_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "eval/task.h"
#include "pith/options.h"

namespace pith {

// One pass over a task's items; the tokens are estimated at 4.4 bytes each.
struct TaskWork {
  int64_t items = 0;
  double context_tokens = 0;  // mode `context`: each distinct context and every continuation
  double pair_tokens = 0;     // the other modes: every pair
};

// Of PaperTasks() or LongTasks() together. Throws as Task::MakeItems does.
TaskWork EstimateWork(const std::vector<std::string>& tasks, const TaskOptions& options);

}  // namespace pith

#endif  // PITH_EVAL_REPRODUCE_WORKLOAD_H_
