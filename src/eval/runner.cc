#include "eval/runner.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <utility>

#include "core/error.h"
#include "eval/cell.h"
#include "eval/peak_memory.h"

namespace pith {
namespace {

// Tokens that are scored between two writes to the journal: a second or two of a small model.
constexpr int64_t kGroupTokens = 8192;

// Figures of the contexts that were read for the item, and of what was scored.
void AddContexts(const TaskItem& item, std::span<const ScoreResult> results, ScoringMode mode,
                 JournalEntry& entry) {
  std::set<std::vector<int32_t>> seen;
  for (size_t i = 0; i < results.size(); ++i) {
    entry.scored_labels += results[i].tokens;
    const bool read =
        results[i].context_tokens > 0 &&
        (mode != ScoringMode::kContext || seen.insert(item.requests[i].context).second);
    if (!read) continue;
    ++entry.contexts;
    entry.realised += results[i].realised;
    entry.saved_tokens += results[i].realised * static_cast<double>(results[i].context_tokens);
    entry.context_tokens += results[i].context_tokens;
  }
}

class Runner {
 public:
  Runner(const Engine& engine, const EvalOptions& options, Journal& journal)
      : options_(options), journal_(journal), engines_{&engine} {
    for (const Engine& other : options.others) {
      Require(other.info().description == engine.info().description, ErrorCode::kInvalidArgument,
              "engines on several devices: got different models, expected the same");
      engines_.push_back(&other);
    }
    shares_.resize(engines_.size());
  }

  // The share's part of what the journal lacks: items in turn over all cells. In mode
  // `published-tail` items are padded together: all of a cell where one is missing, to one process.
  void Run(std::span<const EvalCell> cells, const EvalShare& share) {
    std::vector<std::vector<const TaskItem*>> parts;
    int64_t place = 0;
    for (const EvalCell& cell : cells) parts.push_back(Part(cell, share, place));
    for (size_t c = 0; c < cells.size(); ++c) AddGroups(cells[c], parts[c]);
    for (const Group& group : groups_) left_ += group.tokens;
    RunGroups();
  }

 private:
  // Items of one cell that are scored in one call.
  struct Group {
    const EvalCell* cell = nullptr;
    std::span<const TaskItem* const> items;
    int64_t tokens = 0;
  };

  std::vector<const TaskItem*> Part(const EvalCell& cell, const EvalShare& share,
                                    int64_t& place) const {
    const bool whole = options_.mode == ScoringMode::kPublishedTail;
    std::vector<const TaskItem*> part;
    bool missing = false;
    for (const TaskItem& item : cell.task->items) {
      if (FindEntry(journal_, cell, item) != nullptr) continue;
      missing = true;
      if (!whole && place++ % share.size == share.rank) part.push_back(&item);
    }
    if (!whole || !missing || place++ % share.size != share.rank) return part;
    for (const TaskItem& item : cell.task->items) part.push_back(&item);
    return part;
  }

  void AddGroups(const EvalCell& cell, std::span<const TaskItem* const> items) {
    const bool whole = options_.mode == ScoringMode::kPublishedTail;
    while (!items.empty()) {
      Group group{.cell = &cell};
      size_t count = 0;
      do {
        group.tokens += TokensOf(*items[count++]);
      } while (count < items.size() && (whole || group.tokens < kGroupTokens));
      group.items = items.first(count);
      groups_.push_back(group);
      items = items.subspan(count);
    }
  }

  // Each engine takes the next group until none is left or one has failed; the calling thread is
  // the first engine's.
  void RunGroups() {
    std::exception_ptr error;
    size_t next = 0;
    const auto work = [&](size_t e) {
      for (;;) {
        const Group* group = nullptr;
        {
          const std::lock_guard lock(mutex_);
          if (error || next == groups_.size()) return;
          group = &groups_[next++];
        }
        try {
          ScoreGroup(e, *group);
        } catch (...) {
          const std::lock_guard lock(mutex_);
          if (!error) error = std::current_exception();
        }
      }
    };
    {
      std::vector<std::jthread> threads;
      const size_t engines = std::min(engines_.size(), groups_.size());
      for (size_t e = 1; e < engines; ++e) threads.emplace_back(work, e);
      work(0);
    }
    if (error) std::rethrow_exception(error);
  }

  ScoreOptions Scoring(size_t e, const Group& group) {
    const EvalCell& cell = *group.cell;
    ScoreOptions scoring{.mode = options_.mode, .logprobs = cell.task->task->needs_logprobs()};
    scoring.reduction = cell.reduction;
    scoring.control.cancel = options_.control.cancel;
    if (options_.control.progress) {
      scoring.control.progress = [this, e, &group](double share) {
        const std::lock_guard lock(mutex_);
        shares_[e] = share * static_cast<double>(group.tokens);
        const double done = std::accumulate(shares_.begin(), shares_.end(), done_);
        options_.control.progress(done / static_cast<double>(left_));
      };
    }
    return scoring;
  }

  void ScoreGroup(size_t e, const Group& group) {
    std::vector<ScoreItem> requests;
    for (const TaskItem* item : group.items) {
      requests.insert(requests.end(), item->requests.begin(), item->requests.end());
    }
    if (engines_.size() == 1) ResetPeakMemory();  // else it would be the others' peak too
    ScoreStats stats;
    const auto results = engines_[e]->Score(requests, Scoring(e, group), &stats);
    Record(group, results, stats.context_seconds);
    const std::lock_guard lock(mutex_);
    shares_[e] = 0;
    done_ += static_cast<double>(group.tokens);
  }

  void Record(const Group& group, std::span<const ScoreResult> results, double seconds) {
    const EvalCell& cell = *group.cell;
    const std::optional<int64_t> peak = PeakMemory();
    std::vector<JournalEntry> entries;
    int64_t read = 0;
    for (const TaskItem* item : group.items) {
      const auto own = results.first(item->requests.size());
      results = results.subspan(own.size());
      JournalEntry entry{.task = cell.task->name,
                         .method = cell.method,
                         .item = item->id,
                         .checksum = ChecksumOf(*item, cell.files),
                         .shares = MeasureItem(*cell.task->task, *item, own, options_.mode),
                         .peak_memory = peak};
      AddContexts(*item, own, options_.mode, entry);
      read += entry.context_tokens;
      entries.push_back(std::move(entry));
    }
    for (JournalEntry& entry : entries) {
      if (read == 0) break;
      entry.seconds =
          seconds * static_cast<double>(entry.context_tokens) / static_cast<double>(read);
    }
    const std::lock_guard lock(mutex_);
    std::erase_if(entries, [&](const JournalEntry& entry) {
      return journal_.Find(entry.task, entry.method, entry.item) != nullptr;
    });
    journal_.Append(entries);
  }

  const EvalOptions& options_;
  Journal& journal_;
  std::vector<const Engine*> engines_;
  std::vector<Group> groups_;
  int64_t left_ = 0;            // tokens of the items to score
  std::mutex mutex_;            // of all below, of the journal, and of which group is next
  double done_ = 0;             // tokens of the groups that are scored
  std::vector<double> shares_;  // by engine: tokens of the group that it is scoring
};

// Tasks that read single tokens need every one of them scored; `auto` is for contexts alone.
void CheckModes(std::span<const EvalTask> tasks, std::span<const Reduction> reductions,
                ScoringMode mode) {
  if (mode == ScoringMode::kContext) return;
  const auto refuse = [&](const auto&... what) {
    Throw(ErrorCode::kInvalidArgument, what..., ": got scoring mode ", ScoringModeName(mode),
          ", expected context");
  };
  for (const Reduction& reduction : reductions) {
    if (reduction.by_length()) refuse("reduction '", reduction.text(), "'");
  }
  for (const EvalTask& task : tasks) {
    if (task.task->needs_logprobs()) refuse(task.name);
  }
}

// Each once.
std::vector<Reduction> CompileAll(const Engine& engine, const std::vector<std::string>& methods) {
  std::vector<Reduction> out;
  for (const std::string& method : methods) {
    Reduction reduction = engine.Compile(method);
    if (std::ranges::find(out, reduction.text(), &Reduction::text) == out.end()) {
      out.push_back(std::move(reduction));
    }
  }
  return out;
}

std::vector<EvalCell> MakeCells(const Engine& engine, std::span<const EvalTask> tasks,
                                const EvalOptions& options) {
  const std::vector<Reduction> reductions = CompileAll(engine, options.methods);
  CheckModes(tasks, reductions, options.mode);
  std::vector<EvalCell> cells;
  for (const EvalTask& task : tasks) {
    for (const Reduction& reduction : reductions) {
      cells.push_back({&task, reduction, reduction.text(), ChecksumOfFiles(reduction)});
    }
  }
  return cells;
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

void CheckEvaluation(const Engine& engine, std::span<const EvalTask> tasks,
                     const EvalOptions& options) {
  MakeCells(engine, tasks, options);
}

void ScoreMissing(const Engine& engine, std::span<const EvalTask> tasks, const EvalOptions& options,
                  const EvalShare& share, Journal& journal) {
  Require(0 <= share.rank && share.rank < share.size, ErrorCode::kInvalidArgument,
          "share of the items: got ", share.rank, " of ", share.size, ", expected 0 to size − 1");
  Runner(engine, options, journal).Run(MakeCells(engine, tasks, options), share);
}

std::vector<EvalRow> Evaluate(const Engine& engine, std::span<const EvalTask> tasks,
                              const EvalOptions& options, Journal& journal) {
  const std::vector<EvalCell> cells = MakeCells(engine, tasks, options);
  Runner(engine, options, journal).Run(cells, {});
  return MakeRows(engine, cells, options.mode, journal);
}

}  // namespace pith
