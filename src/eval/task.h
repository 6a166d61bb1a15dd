// What a model is measured on: named tasks, each a list of items to score and metrics from their
// log-likelihoods.
#ifndef PITH_EVAL_TASK_H_
#define PITH_EVAL_TASK_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/metric.h"
#include "pith/engine.h"

namespace pith {

struct TaskOptions {
  std::filesystem::path data = "data";  // holds eval/, recall/ and text/
  int64_t limit = 0;                    // first items only; 0: all
  // The end-of-text token before every context. lm-evaluation-harness does without; the shipped
  // models were trained with it. Tasks whose `always_bos` is set use it in any case.
  bool bos = false;
  // Longer pairs lose their first tokens, as the harness does with the models' 2048; the six
  // zero-shot tasks alone.
  int64_t max_tokens = 2048;

  // perplexity and recall_targets: windows of `context` + `tail` tokens of a text.
  std::filesystem::path text;  // empty: text/heldout-1mb.txt.xz of the data
  int64_t context = 1792;
  int64_t tail = 256;

  // recall: contexts of this many tokens are made from `text`; 0: those of the file `recall`, or
  // recall/recall-1.8k.jsonl.xz of the data where that is empty.
  int64_t recall_tokens = 0;
  std::filesystem::path recall;
  uint64_t seed = 0;
};

// What one item asks the engine to score: a question with its choices, a window of text, or a
// context with its questions. Requests with equal contexts share their prefill.
struct TaskItem {
  std::string id;  // unique in its task, the same in every run: "LINE" of the data file, or a place
  std::vector<ScoreItem> requests;            // one or more
  int64_t gold = 0;                           // choices: index of the right request
  std::vector<int64_t> choice_lengths;        // choices: Unicode code points, for acc_norm
  std::vector<std::vector<int64_t>> targets;  // indices into each continuation that count
  std::vector<double> depths;                 // recall: where each fact stands, 0 … 1
};

// Stateless and const; items are made once and scored under every reduction.
class Task {
 public:
  virtual ~Task() = default;

  // Reads the data and encodes it with the engine's tokenizer. Throws as ReadDataFile does, and
  // kCorruptData naming file, line and field.
  virtual std::vector<TaskItem> MakeItems(const Engine& engine,
                                          const TaskOptions& options) const = 0;

  virtual const std::vector<Metric>& metrics() const = 0;

  // One share per metric from the results of the item's requests, in their order.
  virtual std::vector<Share> Measure(const TaskItem& item,
                                     std::span<const ScoreResult> results) const = 0;

  // Measure reads ScoreResult::token_logprobs: score with ScoreOptions::logprobs.
  virtual bool needs_logprobs() const { return false; }
  virtual bool always_bos() const { return false; }
};

struct TaskInfo {
  std::string name;
  std::string description;
};
std::vector<TaskInfo> ListTasks();

// Throws kInvalidArgument for an unknown name, listing the known ones.
std::unique_ptr<Task> MakeTask(std::string_view name);

}  // namespace pith

#endif  // PITH_EVAL_TASK_H_
