#include "eval/reproduce/workload.h"

#include <algorithm>
#include <set>

#include "eval/data.h"
#include "eval/text_task.h"
#include "eval/text_windows.h"

namespace pith {
namespace {

// GPT-NeoX's tokenizer on English text.
constexpr double kBytesPerToken = 4.4;

TaskWork TextWork(const TextTask& task, const TaskOptions& options) {
  TaskWork work;
  for (const TextDocument& document : task.Load(options.data, options.limit)) {
    std::set<std::string> contexts;
    ++work.items;
    for (const TextRequest& request : document.requests) {
      const auto context = static_cast<double>(request.context.size());
      const auto continuation = static_cast<double>(request.continuation.size());
      work.pair_tokens += (context + continuation) / kBytesPerToken;
      work.context_tokens += continuation / kBytesPerToken;
      if (contexts.insert(request.context).second) {
        work.context_tokens += context / kBytesPerToken;
      }
    }
  }
  return work;
}

// Windows stand at steps of the tail (text_windows.h).
TaskWork WindowWork(const TaskOptions& options) {
  int64_t windows = 0;
  for (const std::string& document : ReadDocuments(TextPath(options))) {
    const auto tokens = static_cast<int64_t>(static_cast<double>(document.size()) / kBytesPerToken);
    windows += std::max<int64_t>(0, (tokens - options.context) / options.tail);
  }
  if (options.limit > 0) windows = std::min(windows, options.limit);
  const auto tokens = static_cast<double>(windows * (options.context + options.tail));
  return {windows, tokens, tokens};
}

TaskWork RecallWork(const TaskOptions& options) {
  TaskWork work;
  for (const RecallItem& item : ReadRecall(options.data / "recall/recall-1.8k.jsonl.xz")) {
    if (options.limit > 0 && work.items == options.limit) break;
    ++work.items;
    size_t bytes = item.context.size();
    for (const auto& question : item.questions) {
      bytes += question.prompt.size() + question.answer.size();
    }
    work.context_tokens += static_cast<double>(bytes) / kBytesPerToken;
  }
  work.pair_tokens = work.context_tokens;
  return work;
}

TaskWork WorkOf(const std::string& name, const TaskOptions& options) {
  const auto task = MakeTask(name);
  if (const auto* text = dynamic_cast<const TextTask*>(task.get())) return TextWork(*text, options);
  return name == "recall" ? RecallWork(options) : WindowWork(options);
}

}  // namespace

TaskWork EstimateWork(const std::vector<std::string>& tasks, const TaskOptions& options) {
  TaskWork sum;
  for (const std::string& name : tasks) {
    const TaskWork work = WorkOf(name, options);
    sum.items += work.items;
    sum.context_tokens += work.context_tokens;
    sum.pair_tokens += work.pair_tokens;
  }
  return sum;
}

}  // namespace pith
