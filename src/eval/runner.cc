#include "eval/runner.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "eval/peak_memory.h"
#include "reduce/registry.h"
#include "reduce/spec.h"
#include "score/modes.h"

namespace pith {
namespace {

// Tokens that are scored between two writes to the journal: a second or two of a small model.
constexpr int64_t kGroupTokens = 8192;

template <class T>
void Add(Checksum& checksum, const std::vector<T>& values) {
  const uint64_t size = values.size();
  checksum.Add(std::as_bytes(std::span(&size, 1)));
  checksum.Add(std::as_bytes(std::span(values)));
}

// Of the files that a method reads (`thresholds=FILE`): their content decides its scores.
uint64_t ChecksumOfFiles(const std::string& method) {
  Checksum checksum;
  const ReductionSpec spec = ReductionSpec::Parse(method);
  for (const MethodKey& key : AllKeys(FindMethod(spec.method))) {
    const auto value = spec.params.find(std::string(key.name));
    if (!key.file || value == spec.params.end()) continue;
    checksum.Add(MappedFile(value->second).bytes());
  }
  return checksum.value();
}

// Of all that scores and metrics depend on, the method's files included.
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

// What the engine reads for it: contexts that requests share once.
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

// One task under one reduction.
struct Cell {
  const EvalTask* task = nullptr;
  std::string method;
  uint64_t files = 0;  // ChecksumOfFiles of the method
};

// Figures of the contexts that were read for the item.
void AddContexts(const TaskItem& item, std::span<const ScoreResult> results, ScoringMode mode,
                 JournalEntry& entry) {
  std::set<std::vector<int32_t>> seen;
  for (size_t i = 0; i < results.size(); ++i) {
    const bool read =
        results[i].context_tokens > 0 &&
        (mode != ScoringMode::kContext || seen.insert(item.requests[i].context).second);
    if (!read) continue;
    ++entry.contexts;
    entry.realised += results[i].realised;
    entry.context_tokens += results[i].context_tokens;
  }
}

class Runner {
 public:
  Runner(const Engine& engine, const EvalOptions& options, Journal& journal)
      : engine_(engine), options_(options), journal_(journal) {}

  // The task's items that the journal lacks. In mode `published-tail` items are padded together:
  // all of them where one is missing.
  std::vector<const TaskItem*> Missing(const Cell& cell) const {
    std::vector<const TaskItem*> missing;
    for (const TaskItem& item : cell.task->items) {
      if (Find(cell, item) == nullptr) missing.push_back(&item);
    }
    if (options_.mode != ScoringMode::kPublishedTail || missing.empty()) return missing;
    missing.clear();
    for (const TaskItem& item : cell.task->items) missing.push_back(&item);
    return missing;
  }

  void Run(std::span<const Cell> cells) {
    for (const Cell& cell : cells) {
      for (const TaskItem* item : Missing(cell)) left_ += TokensOf(*item);
    }
    for (const Cell& cell : cells) RunCell(cell, Missing(cell));
  }

  const JournalEntry* Find(const Cell& cell, const TaskItem& item) const {
    const JournalEntry* entry = journal_.Find(cell.task->name, cell.method, item.id);
    if (entry == nullptr) return nullptr;
    Require(entry->checksum == ChecksumOf(item, cell.files) &&
                entry->shares.size() == cell.task->task->metrics().size(),
            ErrorCode::kInvalidArgument, journal_.path().string(), ": ", cell.task->name, ", item ",
            item.id,
            ": the journal has another item of this name: the data has changed, or a file "
            "that ",
            cell.method, " reads");
    return entry;
  }

 private:
  void RunCell(const Cell& cell, std::span<const TaskItem* const> items) {
    const bool whole = options_.mode == ScoringMode::kPublishedTail;
    while (!items.empty()) {
      size_t count = 0;
      int64_t tokens = 0;
      do {
        tokens += TokensOf(*items[count++]);
      } while (count < items.size() && (whole || tokens < kGroupTokens));
      ScoreGroup(cell, items.first(count), tokens);
      items = items.subspan(count);
      done_ += tokens;
    }
  }

  ScoreOptions Scoring(const Cell& cell, int64_t tokens) const {
    ScoreOptions scoring{.mode = options_.mode, .logprobs = cell.task->task->needs_logprobs()};
    scoring.reduction.reduce = cell.method;
    scoring.control.cancel = options_.control.cancel;
    if (options_.control.progress) {
      scoring.control.progress = [this, tokens](double share) {
        options_.control.progress((static_cast<double>(done_) + share * tokens) /
                                  static_cast<double>(left_));
      };
    }
    return scoring;
  }

  void ScoreGroup(const Cell& cell, std::span<const TaskItem* const> items, int64_t tokens) {
    std::vector<ScoreItem> requests;
    for (const TaskItem* item : items) {
      requests.insert(requests.end(), item->requests.begin(), item->requests.end());
    }
    ResetPeakMemory();
    ScoreStats stats;
    const auto results = engine_.Score(requests, Scoring(cell, tokens), &stats);
    const std::optional<int64_t> peak = PeakMemory();

    std::vector<JournalEntry> entries;
    std::span<const ScoreResult> rest = results;
    int64_t read = 0;
    for (const TaskItem* item : items) {
      const auto own = rest.first(item->requests.size());
      rest = rest.subspan(own.size());
      JournalEntry entry{.task = cell.task->name,
                         .method = cell.method,
                         .item = item->id,
                         .checksum = ChecksumOf(*item, cell.files),
                         .shares = cell.task->task->Measure(*item, own),
                         .peak_memory = peak};
      AddContexts(*item, own, options_.mode, entry);
      read += entry.context_tokens;
      entries.push_back(std::move(entry));
    }
    for (JournalEntry& entry : entries) {
      if (read == 0) break;
      entry.seconds = stats.context_seconds * static_cast<double>(entry.context_tokens) /
                      static_cast<double>(read);
    }
    std::erase_if(entries, [&](const JournalEntry& entry) {
      return journal_.Find(entry.task, entry.method, entry.item) != nullptr;
    });
    journal_.Append(entries);
  }

  const Engine& engine_;
  const EvalOptions& options_;
  Journal& journal_;
  int64_t left_ = 0;  // tokens of all items that the journal lacked
  int64_t done_ = 0;
};

using ShareLists = std::vector<std::vector<Share>>;  // [metrics][items]

EvalRow MakeRow(const Runner& runner, const Cell& cell, ShareLists& shares) {
  EvalRow row{.task = cell.task->name, .method = cell.method};
  const std::vector<Metric>& metrics = cell.task->task->metrics();
  shares.assign(metrics.size(), {});
  for (const TaskItem& item : cell.task->items) {
    const JournalEntry* entry = runner.Find(cell, item);
    PITH_CHECK(entry != nullptr);
    for (size_t m = 0; m < metrics.size(); ++m) shares[m].push_back(entry->shares[m]);
    ++row.items;
    row.contexts += entry->contexts;
    row.realised += entry->realised;
    row.context_tokens += entry->context_tokens;
    row.context_seconds += entry->seconds;
    if (entry->peak_memory) {
      row.peak_memory = std::max(row.peak_memory.value_or(0), *entry->peak_memory);
    }
  }
  if (row.contexts > 0) row.realised /= static_cast<double>(row.contexts);
  for (size_t m = 0; m < metrics.size(); ++m) {
    row.figures.push_back(
        {.metric = metrics[m], .estimate = EstimateMetric(metrics[m], shares[m])});
  }
  return row;
}

// Tasks that read single tokens need every one of them scored.
void CheckModes(std::span<const EvalTask> tasks, ScoringMode mode) {
  for (const EvalTask& task : tasks) {
    Require(mode == ScoringMode::kContext || !task.task->needs_logprobs(),
            ErrorCode::kInvalidArgument, task.name, ": got scoring mode ", ScoringModeName(mode),
            ", expected context");
  }
}

// Canonical spellings, each once.
std::vector<std::string> Canonical(const Engine& engine, const std::vector<std::string>& methods) {
  std::vector<std::string> out;
  for (const std::string& method : methods) {
    std::string name = engine.Plan(1, {.reduce = method}).reduce;
    if (std::ranges::find(out, name) == out.end()) out.push_back(std::move(name));
  }
  return out;
}

}  // namespace

std::vector<EvalTask> LoadTasks(const Engine& engine, const std::vector<std::string>& names,
                                const TaskOptions& options) {
  std::vector<EvalTask> tasks;
  for (const std::string& name : names) {
    if (std::ranges::find(tasks, name, &EvalTask::name) != tasks.end()) continue;
    tasks.push_back({.name = name, .task = MakeTask(name), .items = {}});
  }
  for (EvalTask& task : tasks) task.items = task.task->MakeItems(engine, options);
  return tasks;
}

std::vector<EvalRow> Evaluate(const Engine& engine, std::span<const EvalTask> tasks,
                              const EvalOptions& options, Journal& journal) {
  const std::vector<std::string> methods = Canonical(engine, options.methods);
  CheckModes(tasks, options.mode);
  std::vector<Cell> cells;
  for (const EvalTask& task : tasks) {
    for (const std::string& method : methods) {
      cells.push_back({&task, method, ChecksumOfFiles(method)});
    }
  }
  Runner runner(engine, options, journal);
  runner.Run(cells);

  std::vector<EvalRow> rows;
  std::map<std::string, ShareLists> dense;
  std::vector<ShareLists> shares(cells.size());
  for (size_t c = 0; c < cells.size(); ++c) {
    rows.push_back(MakeRow(runner, cells[c], shares[c]));
    if (cells[c].method == "none") dense[rows[c].task] = shares[c];
  }
  for (size_t c = 0; c < rows.size(); ++c) {
    const auto base = dense.find(rows[c].task);
    if (base == dense.end()) continue;
    for (size_t m = 0; m < rows[c].figures.size(); ++m) {
      EvalFigure& figure = rows[c].figures[m];
      figure.difference = EstimateDifference(figure.metric, shares[c][m], base->second[m]);
    }
  }
  return rows;
}

}  // namespace pith
