#include "score/score.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include "core/error.h"
#include "ops/rows.h"
#include "score/label_scorer.h"
#include "score/modes.h"

namespace pith {
namespace {

// A context and the items that share it.
struct ContextGroup {
  const std::vector<int32_t>* context = nullptr;
  std::vector<size_t> items;
};

std::vector<ContextGroup> GroupByContext(std::span<const ScoreItem> items) {
  std::vector<ContextGroup> groups;
  std::map<std::vector<int32_t>, size_t> index;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto [it, added] = index.try_emplace(items[i].context, groups.size());
    if (added) groups.push_back({&items[i].context, {}});
    groups[it->second].items.push_back(i);
  }
  return groups;
}

// The first token of every continuation is read off its context's last row.
struct FirstTokens {
  DeviceMat<float> rows;  // [room, d_model], the first items.size() filled
  std::vector<size_t> items;
  std::vector<int32_t> labels;

  void Add(const Exec& exec, const ContextGroup& group, std::span<const ScoreItem> all,
           MatView<const float> row) {
    for (const size_t item : group.items) {
      CopyRows(exec, row, rows.Rows(static_cast<int64_t>(items.size()), 1));
      items.push_back(item);
      labels.push_back(all[item].continuation[0]);
    }
  }
};

// Scores the groups of one batch: contexts together, then their continuations together.
class BatchScorer {
 public:
  BatchScorer(const Model& model, const Exec& exec, std::span<const ScoreItem> items,
              const ScoreOptions& options, const PrefillOptions& prefill)
      : model_(model),
        exec_(exec),
        items_(items),
        options_(options),
        prefill_(prefill),
        labels_(model, exec),
        results_(items.size()) {}

  void Score(std::span<const ContextGroup> groups) {
    StatePool pool(model_, exec_, std::ssize(groups));
    std::vector<Sequence> sequences(groups.size());
    for (Sequence& sequence : sequences) sequence.slot = pool.Take();
    ReadContexts(groups, pool, sequences);
    ReadContinuations(groups, pool, sequences);
  }

  const ScoreStats& stats() const { return stats_; }
  std::vector<ScoreResult> TakeResults() { return std::move(results_); }

 private:
  void ReadContexts(std::span<const ContextGroup> groups, StatePool& pool,
                    std::span<Sequence> sequences) {
    std::vector<SequenceInput> batch;
    std::vector<size_t> group_of;
    int64_t items = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      if (groups[g].context->empty()) continue;
      batch.push_back({*groups[g].context, &sequences[g], WantRows::kLast});
      group_of.push_back(g);
      items += std::ssize(groups[g].items);
    }
    if (batch.empty()) return;
    FirstTokens first;
    first.rows.Resize(exec_, items, model_.config().d_model);
    const auto start = std::chrono::steady_clock::now();
    const auto result = Prefill(model_, exec_, pool, batch, prefill_, workspace_,
                                [&](std::span<const OutputRow> rows, MatView<const float> normed) {
                                  for (size_t r = 0; r < rows.size(); ++r) {
                                    first.Add(exec_, groups[group_of[rows[r].sequence]], items_,
                                              normed.Rows(static_cast<int64_t>(r), 1));
                                  }
                                });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    stats_.context_seconds += elapsed.count();
    ScoreFirst(first);
    for (size_t b = 0; b < batch.size(); ++b) {
      const auto tokens = static_cast<int64_t>(batch[b].ids.size());
      stats_.context_tokens += tokens;
      for (const size_t item : groups[group_of[b]].items) {
        results_[item].context_tokens = tokens;
        results_[item].context_rows = result.RowsLeft(b, tokens);
        results_[item].realised = result.schedules.empty() ? 0 : result.schedules[b].realised;
      }
    }
  }

  void ScoreFirst(FirstTokens& first) {
    const auto count = static_cast<int64_t>(first.items.size());
    const std::vector<LabelScore> scores = labels_.Score(first.rows.Rows(0, count), first.labels);
    for (int64_t i = 0; i < count; ++i) Add(first.items[i], first.labels[i], scores[i]);
  }

  void ReadContinuations(std::span<const ContextGroup> groups, const StatePool& pool,
                         std::span<const Sequence> sequences) {
    std::vector<std::pair<size_t, int32_t>> pending;  // items, and the slots of their contexts
    int64_t bytes = 0;                                // of their states
    for (size_t g = 0; g < groups.size(); ++g) {
      for (const size_t item : groups[g].items) {
        const ScoreItem& read = items_[item];
        if (read.continuation.size() < 2) continue;
        const int64_t more = model_.state_layout().BytesFor(
            static_cast<int64_t>(read.context.size() + read.continuation.size()));
        if (!pending.empty() && bytes + more > options_.max_state_bytes) {
          ReadSome(pending, pool);
          pending.clear();
          bytes = 0;
        }
        pending.emplace_back(item, sequences[g].slot);
        bytes += more;
      }
    }
    if (!pending.empty()) ReadSome(pending, pool);
  }

  // Every token after the first, whole, from copies of the contexts' states.
  void ReadSome(std::span<const std::pair<size_t, int32_t>> pending, const StatePool& contexts) {
    StatePool pool(model_, exec_, std::ssize(pending));
    std::vector<Sequence> sequences(pending.size());
    std::vector<SequenceInput> batch;
    for (size_t i = 0; i < pending.size(); ++i) {
      sequences[i].slot = pool.Take();
      pool.CopyFrom(contexts, pending[i].second, sequences[i].slot);
      const std::span<const int32_t> ids = items_[pending[i].first].continuation;
      batch.push_back({ids.first(ids.size() - 1), &sequences[i], WantRows::kAll});
    }
    PrefillOptions dense = prefill_;
    dense.reduction = nullptr;
    dense.progress = nullptr;
    Prefill(
        model_, exec_, pool, batch, dense, workspace_,
        [&](std::span<const OutputRow> rows, MatView<const float> normed) {
          std::vector<int32_t> labels;
          for (const OutputRow& row : rows) {
            labels.push_back(items_[pending[row.sequence].first].continuation[row.position + 1]);
          }
          const std::vector<LabelScore> scores = labels_.Score(normed, labels);
          for (size_t r = 0; r < rows.size(); ++r) {
            Add(pending[rows[r].sequence].first, labels[r], scores[r]);
          }
        });
  }

  void Add(size_t item, int32_t label, const LabelScore& score) {
    ScoreResult& result = results_[item];
    result.logprob += score.logprob;
    result.tokens += 1;
    result.greedy_tokens += score.top == label ? 1 : 0;
    result.greedy = result.greedy_tokens == result.tokens;
    if (options_.logprobs) {
      result.token_logprobs.push_back({label, score.logprob, score.top, score.top_logprob});
    }
  }

  const Model& model_;
  Exec exec_;
  std::span<const ScoreItem> items_;
  const ScoreOptions& options_;
  const PrefillOptions& prefill_;
  LabelScorer labels_;
  Workspace workspace_;
  std::vector<ScoreResult> results_;
  ScoreStats stats_;
};

}  // namespace

void CheckScoreItems(const ModelConfig& config, std::span<const ScoreItem> items) {
  for (size_t i = 0; i < items.size(); ++i) {
    CheckTokenIds(config, items[i].context);
    CheckTokenIds(config, items[i].continuation);
    const size_t needed = items[i].context.empty() ? 2 : 1;
    Require(items[i].continuation.size() >= needed, ErrorCode::kInvalidArgument, "item ", i,
            ": got a continuation of ", items[i].continuation.size(), " tokens, expected at least ",
            needed, needed == 2 ? " (without a context the first token is not predicted)" : "");
  }
}

std::vector<ScoreResult> ScoreItems(const Model& model, const Exec& exec,
                                    std::span<const ScoreItem> items, const ScoreOptions& options,
                                    const PrefillOptions& prefill, ScoreStats* stats) {
  CheckScoreItems(model.config(), items);
  const std::vector<ContextGroup> groups = GroupByContext(items);
  if (options.mode != ScoringMode::kContext) {
    return ScoreWholeItems(model, exec, items, options, prefill, stats);
  }
  BatchScorer scorer(model, exec, items, options, prefill);
  for (size_t begin = 0; begin < groups.size();) {
    size_t end = begin;
    int64_t tokens = 0;
    int64_t bytes = 0;  // of states
    while (end < groups.size()) {
      const auto more = static_cast<int64_t>(groups[end].context->size());
      bytes += model.state_layout().BytesFor(more);
      const bool room = tokens < options.max_batch_tokens && bytes <= options.max_state_bytes;
      if (end > begin && !room) break;
      tokens += more;
      ++end;
    }
    scorer.Score(std::span(groups).subspan(begin, end - begin));
    begin = end;
    if (options.control.progress) {
      options.control.progress(static_cast<double>(begin) / static_cast<double>(groups.size()));
    }
  }
  if (stats != nullptr) *stats = scorer.stats();
  return scorer.TakeResults();
}

PerplexityResult ScoreDocument(const Model& model, const Exec& exec, std::span<const int32_t> ids,
                               const PrefillOptions& prefill) {
  Require(ids.size() >= 2, ErrorCode::kInvalidArgument, "text: got ", ids.size(),
          " tokens, expected at least 2, since the first one is not predicted");
  CheckTokenIds(model.config(), ids);
  LabelScorer scorer(model, exec);
  StatePool pool(model, exec, 1);
  Sequence sequence{.slot = pool.Take()};
  Workspace workspace;
  double sum = 0;
  int64_t tokens = 0;
  // The last token is a label only.
  const SequenceInput input{ids.first(ids.size() - 1), &sequence, WantRows::kAll};
  Prefill(model, exec, pool, {&input, 1}, prefill, workspace,
          [&](std::span<const OutputRow> rows, MatView<const float> normed) {
            std::vector<int32_t> labels;
            for (const OutputRow& row : rows) labels.push_back(ids[row.position + 1]);
            for (const LabelScore& score : scorer.Score(normed, labels)) sum -= score.logprob;
            tokens += static_cast<int64_t>(labels.size());
          });
  const double nll = sum / static_cast<double>(tokens);
  return {.nll = nll, .ppl = std::exp(nll), .tokens = tokens};
}

}  // namespace pith
