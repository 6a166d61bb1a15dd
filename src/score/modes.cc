#include "score/modes.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <numeric>
#include <string>
#include <utility>

#include "core/error.h"
#include "ops/rows.h"
#include "score/label_scorer.h"

namespace pith {
namespace {

constexpr std::array<std::string_view, 4> kModeNames = {"context", "survivors", "published-tail",
                                                        "paper-first"};
constexpr int32_t kPadding = 0;

// A pair as the model reads it.
struct Whole {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;  // the last ones that `ids` predicts
};

Whole Join(const ScoreItem& item) {
  Whole whole{.ids = item.context, .labels = item.continuation};
  // Without a context nothing predicts the first token.
  if (item.context.empty()) whole.labels.erase(whole.labels.begin());
  whole.ids.insert(whole.ids.end(), item.continuation.begin(), item.continuation.end() - 1);
  return whole;
}

// What reached the end of the model, of one sequence.
struct Left {
  std::vector<int32_t> positions;
  DeviceMat<float> rows;  // [tokens, d_model], the first positions.size() filled, normalised

  int64_t count() const { return static_cast<int64_t>(positions.size()); }
};

class WholeScorer {
 public:
  WholeScorer(const Model& model, const Exec& exec, std::span<const ScoreItem> items,
              const ScoreOptions& options, const PrefillOptions& prefill)
      : model_(model),
        exec_(exec),
        options_(options),
        prefill_(prefill),
        labels_(model, exec),
        results_(items.size()) {
    for (const ScoreItem& item : items) wholes_.push_back(Join(item));
  }

  // Scores the items of one batch, each padded to the first where the mode pads.
  void Score(std::span<const size_t> batch) {
    std::vector<Left> left(batch.size());
    std::vector<std::vector<int32_t>> ids;
    StatePool pool(model_, exec_, std::ssize(batch));
    std::vector<Sequence> sequences(batch.size());
    std::vector<SequenceInput> inputs;
    for (const size_t item : batch) ids.push_back(wholes_[item].ids);
    for (size_t b = 0; b < batch.size(); ++b) {
      if (Pads()) ids[b].resize(ids[0].size(), kPadding);
      sequences[b].slot = pool.Take();
      left[b].rows.Resize(exec_, std::ssize(ids[b]), model_.config().d_model);
      inputs.push_back({ids[b], &sequences[b], WantRows::kAll});
    }
    const auto start = std::chrono::steady_clock::now();
    const PrefillResult result =
        Prefill(model_, exec_, pool, inputs, prefill_, workspace_,
                [&](std::span<const OutputRow> rows, MatView<const float> normed) {
                  for (size_t r = 0; r < rows.size();)
                    r = Keep(rows, r, normed, left[rows[r].sequence]);
                });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    stats_.context_seconds += elapsed.count();
    for (size_t b = 0; b < batch.size(); ++b) {
      const auto read = static_cast<int64_t>(ids[b].size());
      ScoreResult& to = results_[batch[b]];
      to.context_tokens = read;
      to.context_rows = left[b].count();
      to.realised = result.schedules.empty() ? 0 : result.schedules[b].realised;
      stats_.context_tokens += read;
      ScoreOne(wholes_[batch[b]], left[b], read, to);
    }
  }

  bool Pads() const { return options_.mode == ScoringMode::kPublishedTail; }
  int64_t tokens(size_t item) const { return static_cast<int64_t>(wholes_[item].ids.size()); }
  const ScoreStats& stats() const { return stats_; }
  std::vector<ScoreResult> TakeResults() { return std::move(results_); }

 private:
  // Copies the rows from r on that are of one sequence; returns the first that is of another.
  size_t Keep(std::span<const OutputRow> rows, size_t r, MatView<const float> normed,
              Left& to) const {
    const auto first = static_cast<int64_t>(r), kept = to.count();
    const auto sequence = rows[r].sequence;
    for (; r < rows.size() && rows[r].sequence == sequence; ++r) {
      to.positions.push_back(rows[r].position);
    }
    const int64_t count = to.count() - kept;
    CopyRows(exec_, normed.Rows(first, count), to.rows.Rows(kept, count));
    return r;
  }

  std::vector<RowLabel> Pair(const Whole& whole, const Left& left, int64_t read) const {
    const auto tokens = static_cast<int64_t>(whole.ids.size());
    const auto labels = static_cast<int64_t>(whole.labels.size());
    switch (options_.mode) {
      case ScoringMode::kPublishedTail:
        return PairPublishedTail(left.count(), read - left.count(), tokens, labels);
      case ScoringMode::kPaperFirst:
        return PairPaperFirst(left.count(), tokens, labels);
      default:
        return PairSurvivors(left.positions, tokens, labels);
    }
  }

  void ScoreOne(const Whole& whole, const Left& left, int64_t read, ScoreResult& to) {
    const std::vector<RowLabel> pairs = Pair(whole, left, read);
    std::vector<int64_t> rows;
    std::vector<int32_t> labels;
    for (const RowLabel& pair : pairs) {
      rows.push_back(pair.row);
      labels.push_back(whole.labels[pair.label]);
    }
    const auto count = static_cast<int64_t>(pairs.size());
    scored_.Resize(exec_, count, model_.config().d_model);
    GatherRows(
        exec_,
        {.a = left.rows.view(), .a_rows = rows, .b = {}, .b_rows = {}, .out = scored_.view()});
    const std::vector<LabelScore> scores = labels_.Score(scored_.view(), labels);
    for (int64_t i = 0; i < count; ++i) {
      to.logprob += scores[i].logprob;
      to.greedy_tokens += scores[i].top == labels[i] ? 1 : 0;
      if (options_.logprobs) {
        to.token_logprobs.push_back(
            {labels[i], scores[i].logprob, scores[i].top, scores[i].top_logprob});
      }
    }
    to.tokens = count;
    to.greedy = to.greedy_tokens == count && (count > 0 || Pads());
  }

  const Model& model_;
  Exec exec_;
  const ScoreOptions& options_;
  const PrefillOptions& prefill_;
  LabelScorer labels_;
  Workspace workspace_;
  DeviceMat<float> scored_;  // the rows that are scored, together
  std::vector<Whole> wholes_;
  std::vector<ScoreResult> results_;
  ScoreStats stats_;
};

// A bound of a Python slice over `size` rows, as an index.
int64_t SliceBound(int64_t bound, int64_t size) {
  return std::clamp<int64_t>(bound < 0 ? bound + size : bound, 0, size);
}

}  // namespace

ScoringMode ParseScoringMode(std::string_view name) {
  const auto it = std::ranges::find(kModeNames, name);
  Require(it != kModeNames.end(), ErrorCode::kInvalidArgument, "scoring mode: got '", name,
          "', expected context, survivors, published-tail or paper-first");
  return static_cast<ScoringMode>(it - kModeNames.begin());
}

std::string_view ScoringModeName(ScoringMode mode) { return kModeNames[static_cast<size_t>(mode)]; }

std::vector<RowLabel> PairSurvivors(std::span<const int32_t> positions, int64_t tokens,
                                    int64_t labels) {
  std::vector<RowLabel> pairs;
  for (size_t r = 0; r < positions.size(); ++r) {
    const int64_t label = positions[r] - (tokens - labels);
    if (label >= 0) pairs.push_back({static_cast<int64_t>(r), label});
  }
  return pairs;
}

std::vector<RowLabel> PairPublishedTail(int64_t rows, int64_t removed, int64_t tokens,
                                        int64_t labels) {
  const int64_t end = tokens - removed;
  std::vector<RowLabel> pairs;
  const int64_t last = SliceBound(end, rows);
  for (int64_t row = SliceBound(end - labels, rows); row < last; ++row) {
    const auto label = static_cast<int64_t>(pairs.size());
    if (label < labels) pairs.push_back({row, label});
  }
  return pairs;
}

std::vector<RowLabel> PairPaperFirst(int64_t rows, int64_t tokens, int64_t labels) {
  const int64_t kept = std::clamp<int64_t>(rows * labels / tokens, 1, labels);
  std::vector<RowLabel> pairs;
  for (int64_t label = 0; label < kept; ++label) pairs.push_back({rows - kept + label, label});
  return pairs;
}

std::vector<ScoreResult> ScoreWholeItems(const Model& model, const Exec& exec,
                                         std::span<const ScoreItem> items,
                                         const ScoreOptions& options, const PrefillOptions& prefill,
                                         ScoreStats* stats) {
  Require(options.padded_batch >= 1, ErrorCode::kInvalidArgument, "padded_batch: got ",
          options.padded_batch, ", expected at least 1");
  WholeScorer scorer(model, exec, items, options, prefill);
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (scorer.Pads()) {
    std::ranges::stable_sort(order, std::greater{}, [&](size_t i) { return scorer.tokens(i); });
  }
  // The padded batch is the published code's; others are bounded by tokens and states alone.
  const auto full = [&](size_t count, int64_t tokens, int64_t state_bytes) {
    if (scorer.Pads()) return static_cast<int64_t>(count) >= options.padded_batch;
    return tokens >= options.max_batch_tokens || state_bytes > options.max_state_bytes;
  };
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    int64_t tokens = 0;
    int64_t state_bytes = 0;  // with those of the next one
    while (end < order.size()) {
      const int64_t more = scorer.tokens(order[end]);
      state_bytes += model.state_layout().BytesFor(more);
      if (end > begin && full(end - begin, tokens, state_bytes)) break;
      tokens += more;
      ++end;
    }
    scorer.Score(std::span(order).subspan(begin, end - begin));
    begin = end;
    if (options.control.progress) {
      options.control.progress(static_cast<double>(begin) / static_cast<double>(order.size()));
    }
  }
  if (stats != nullptr) *stats = scorer.stats();
  return scorer.TakeResults();
}

}  // namespace pith
