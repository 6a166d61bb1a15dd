#include "eval/cell.h"

#include <algorithm>
#include <set>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"

namespace pith {
namespace {

template <class T>
void Add(Checksum& checksum, const std::vector<T>& values) {
  const uint64_t size = values.size();
  checksum.Add(std::as_bytes(std::span(&size, 1)));
  checksum.Add(std::as_bytes(std::span(values)));
}

}  // namespace

uint64_t ChecksumOfFiles(const Reduction& reduction) {
  Checksum checksum;
  for (const std::string& file : reduction.files()) checksum.Add(MappedFile(file).bytes());
  return checksum.value();
}

uint64_t ChecksumOf(const TaskItem& item, uint64_t files) {
  Checksum checksum;
  checksum.Add(std::as_bytes(std::span(&files, files == 0 ? 0 : 1)));
  for (const ScoreItem& request : item.requests) {
    Add(checksum, request.context);
    Add(checksum, request.continuation);
  }
  Add(checksum, std::vector<int64_t>{item.gold});
  Add(checksum, item.choice_lengths);
  for (const auto& targets : item.targets) Add(checksum, targets);
  Add(checksum, item.depths);
  return checksum.value();
}

int64_t TokensOf(const TaskItem& item) {
  std::set<std::vector<int32_t>> contexts;
  int64_t tokens = 0;
  for (const ScoreItem& request : item.requests) {
    tokens += static_cast<int64_t>(request.continuation.size());
    if (contexts.insert(request.context).second) {
      tokens += static_cast<int64_t>(request.context.size());
    }
  }
  return tokens;
}

int64_t LabelsOf(const TaskItem& item) {
  int64_t labels = 0;
  for (const ScoreItem& request : item.requests) {
    labels += static_cast<int64_t>(request.continuation.size()) - (request.context.empty() ? 1 : 0);
  }
  return labels;
}

std::vector<Share> MeasureItem(const Task& task, const TaskItem& item,
                               std::span<const ScoreResult> results, ScoringMode mode) {
  const bool unscored = std::ranges::any_of(
      results, [](int64_t n) { return n == 0; }, &ScoreResult::tokens);
  if (!unscored || mode == ScoringMode::kPublishedTail) return task.Measure(item, results);
  return std::vector<Share>(task.metrics().size(), Share{0, 0});
}

const JournalEntry* FindEntry(const Journal& journal, const EvalCell& cell, const TaskItem& item) {
  const JournalEntry* entry = journal.Find(cell.task->name, cell.method, item.id);
  if (entry == nullptr) return nullptr;
  Require(entry->checksum == ChecksumOf(item, cell.files) &&
              entry->shares.size() == cell.task->task->metrics().size(),
          ErrorCode::kInvalidArgument, journal.path().string(), ": ", cell.task->name, ", item ",
          item.id, ": the journal has another item of this name: the data has changed, or a file ",
          "that ", cell.method, " reads");
  return entry;
}

}  // namespace pith
