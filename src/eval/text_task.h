// The six zero-shot tasks of lm-evaluation-harness: rows of a file become pairs of texts.
#ifndef PITH_EVAL_TEXT_TASK_H_
#define PITH_EVAL_TEXT_TASK_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "eval/task.h"

namespace pith {

struct TextRequest {
  std::string context;
  std::string continuation;  // with its leading delimiter
  std::string choice;        // what acc_norm measures the length of; unused by other tasks
};

// A row of the data file as texts.
struct TextDocument {
  int64_t line = 0;  // 1-based
  std::vector<TextRequest> requests;
  int64_t gold = 0;
};

class TextTask : public Task {
 public:
  // The first `limit` rows (0: all) of the task's file under `data`.
  std::vector<TextDocument> Load(const std::filesystem::path& data, int64_t limit = 0) const;
  std::vector<TaskItem> MakeItems(const Engine& engine, const TaskOptions& options) const override;

 protected:
  virtual std::filesystem::path file() const = 0;  // under the data directory
  virtual TextDocument Parse(const JsonReader& row) const = 0;
};

// Argmax over an item's requests, the first of equals: acc by log-likelihood, acc_norm by
// log-likelihood per code point of the choice.
class ChoiceTask : public TextTask {
 public:
  const std::vector<Metric>& metrics() const override { return metrics_; }
  std::vector<Share> Measure(const TaskItem& item,
                             std::span<const ScoreResult> results) const override;

 protected:
  enum class Headline : uint8_t { kAcc, kAccNorm, kAccOnly };
  explicit ChoiceTask(Headline headline);

 private:
  std::vector<Metric> metrics_;
};

// The same context before each choice, a blank between.
std::vector<TextRequest> ChoiceRequests(const std::string& context,
                                        const std::vector<std::string>& choices);

// A list of at least two strings. Throws kCorruptData naming the field.
std::vector<std::string> ReadStrings(const JsonReader& row, const char* field);

// Without ASCII blanks at both ends; the data files hold no others there.
std::string_view Strip(std::string_view text);

int64_t CountCodePoints(std::string_view utf8);

}  // namespace pith

#endif  // PITH_EVAL_TEXT_TASK_H_
