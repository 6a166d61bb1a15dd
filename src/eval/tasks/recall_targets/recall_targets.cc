#include <map>
#include <utility>

#include "core/error.h"
#include "eval/tasks/tasks.h"
#include "eval/text_windows.h"

namespace pith {
namespace {

constexpr double kRareShare = 5e-5;  // of the tokens of all other documents
constexpr int64_t kFar = 512;        // tokens since the last occurrence, at least

using TokenCounts = std::map<int32_t, int64_t>;

TokenCounts Count(const std::vector<int32_t>& ids) {
  TokenCounts counts;
  for (const int32_t id : ids) ++counts[id];
  return counts;
}

// Which tokens of one document are rare elsewhere.
class Rarity {
 public:
  explicit Rarity(const std::vector<std::vector<int32_t>>& documents) {
    for (const std::vector<int32_t>& ids : documents) {
      of_document_.push_back(Count(ids));
      for (const int32_t id : ids) ++all_[id];
      tokens_ += static_cast<int64_t>(ids.size());
      sizes_.push_back(static_cast<int64_t>(ids.size()));
    }
  }

  bool IsRare(size_t document, int32_t id) const {
    const auto own = of_document_[document].find(id);
    const int64_t inside = own == of_document_[document].end() ? 0 : own->second;
    const auto others = static_cast<double>(tokens_ - sizes_[document]);
    return static_cast<double>(all_.at(id) - inside) <= kRareShare * others;
  }

 private:
  std::vector<TokenCounts> of_document_;
  std::vector<int64_t> sizes_;
  TokenCounts all_;
  int64_t tokens_ = 0;
};

// Indices into the continuation of rare tokens that the window last held `kFar` tokens ago or
// earlier, in its context.
std::vector<int64_t> FindTargets(const ScoreItem& window, const Rarity& rarity, size_t document) {
  std::map<int32_t, int64_t> last;
  const auto context = static_cast<int64_t>(window.context.size());
  for (int64_t p = 1; p < context; ++p) last[window.context[p]] = p;  // after the end-of-text token
  std::vector<int64_t> targets;
  for (int64_t i = 0; i < static_cast<int64_t>(window.continuation.size()); ++i) {
    const int32_t id = window.continuation[i];
    const auto seen = last.find(id);
    if (seen != last.end() && context + i - seen->second >= kFar && rarity.IsRare(document, id)) {
      targets.push_back(i);
    }
    last[id] = context + i;
  }
  return targets;
}

class RecallTargets : public Task {
 public:
  std::vector<TaskItem> MakeItems(const Engine& engine, const TaskOptions& options) const override {
    Require(options.context > kFar && options.tail <= kFar, ErrorCode::kInvalidArgument,
            "recall_targets: got a context of ", options.context, " and a tail of ", options.tail,
            " tokens, expected more than ", kFar, " and at most ", kFar);
    const std::vector<std::vector<int32_t>> documents = ReadTokens(engine, options);
    Require(documents.size() >= 2, ErrorCode::kInvalidArgument, TextPath(options).string(),
            ": got one document, expected at least two: a token is rare by the others");
    const Rarity rarity(documents);
    std::vector<TaskItem> items;
    for (const TextWindow& window : StridedWindows(documents, options)) {
      TaskItem item = WindowItem(engine, documents, window, options);
      item.targets = {FindTargets(item.requests[0], rarity, window.document)};
      if (!item.targets[0].empty()) items.push_back(std::move(item));
    }
    return items;
  }

  const std::vector<Metric>& metrics() const override {
    static const std::vector<Metric> metrics = {
        {.name = "target_nll",
         .meaning = "nats per target token",
         .higher_is_better = false,
         .headline = true},
        {.name = "targets_right", .meaning = "share of target tokens that are the likeliest"}};
    return metrics;
  }

  std::vector<Share> Measure(const TaskItem& item,
                             std::span<const ScoreResult> results) const override {
    PITH_CHECK(results.size() == 1 &&
               results[0].token_logprobs.size() == item.requests[0].continuation.size());
    const auto count = static_cast<double>(item.targets[0].size());
    Share nll{0, count};
    Share right{0, count};
    for (const int64_t target : item.targets[0]) {
      const TokenLogprob& token = results[0].token_logprobs[target];
      nll.sum -= token.logprob;
      right.sum += token.id == token.top_id ? 1 : 0;
    }
    return {nll, right};
  }

  bool needs_logprobs() const override { return true; }
  bool always_bos() const override { return true; }
};

}  // namespace

std::unique_ptr<Task> MakeRecallTargets() { return std::make_unique<RecallTargets>(); }

}  // namespace pith
