#include <utility>

#include "core/error.h"
#include "eval/data.h"
#include "eval/tasks/recall/generate.h"
#include "eval/tasks/tasks.h"
#include "eval/text_windows.h"

namespace pith {
namespace {

constexpr int64_t kGenerated = 64;  // contexts where no limit is given
constexpr int64_t kMaxTokens = 32768;

std::vector<RecallItem> Generate(const Engine& engine, const TaskOptions& options) {
  Require(options.recall_tokens <= kMaxTokens, ErrorCode::kInvalidArgument,
          "recall: got contexts of ", options.recall_tokens, " tokens, expected at most ",
          kMaxTokens);
  const std::vector<std::string> documents = ReadDocuments(TextPath(options));
  const RecallRecipe recipe{.tokens = options.recall_tokens, .seed = options.seed};
  const int64_t contexts = options.limit == 0 ? kGenerated : options.limit;
  std::vector<RecallItem> items;
  for (int64_t i = 0; i < contexts; ++i) {
    items.push_back(GenerateRecall(documents, recipe, i, [&](std::string_view text) {
      return static_cast<int64_t>(engine.Tokenize(text).size());
    }));
  }
  return items;
}

std::vector<RecallItem> ReadShipped(const TaskOptions& options) {
  std::vector<RecallItem> items = ReadRecall(
      options.recall.empty() ? options.data / "recall/recall-1.8k.jsonl.xz" : options.recall);
  if (options.limit > 0 && options.limit < static_cast<int64_t>(items.size())) {
    items.resize(options.limit);
  }
  return items;
}

class Recall : public Task {
 public:
  std::vector<TaskItem> MakeItems(const Engine& engine, const TaskOptions& options) const override {
    const bool shipped = options.recall_tokens == 0;
    std::vector<TaskItem> items;
    for (const RecallItem& context : shipped ? ReadShipped(options) : Generate(engine, options)) {
      RecallSet set = MakeRecall(engine, {context});
      TaskItem item{.id = std::to_string(items.size()), .requests = std::move(set.items)};
      for (size_t q = 0; q < item.requests.size(); ++q) {
        const auto tokens = static_cast<int64_t>(item.requests[q].continuation.size());
        std::vector<int64_t> answer;
        for (int64_t i = tokens - set.answer_tokens[q]; i < tokens; ++i) answer.push_back(i);
        item.targets.push_back(std::move(answer));
      }
      item.depths = std::move(set.depths);
      items.push_back(std::move(item));
    }
    return items;
  }

  const std::vector<Metric>& metrics() const override {
    static const std::vector<Metric> metrics = {
        {.name = "answers",
         .meaning = "share of answers right: every token the likeliest",
         .headline = true},
        {.name = "answer_tokens", .meaning = "share of answer tokens that are the likeliest"},
        {.name = "answers_early", .meaning = "answers right, facts in the first third"},
        {.name = "answers_middle", .meaning = "answers right, facts in the middle third"},
        {.name = "answers_late", .meaning = "answers right, facts in the last third"}};
    return metrics;
  }

  std::vector<Share> Measure(const TaskItem& item,
                             std::span<const ScoreResult> results) const override {
    PITH_CHECK(results.size() == item.requests.size());
    std::vector<Share> shares(metrics().size(), Share{0, 0});
    for (size_t q = 0; q < results.size(); ++q) {
      PITH_CHECK(results[q].token_logprobs.size() == item.requests[q].continuation.size());
      int64_t right = 0;
      for (const int64_t target : item.targets[q]) {
        const TokenLogprob& token = results[q].token_logprobs[target];
        right += token.id == token.top_id ? 1 : 0;
      }
      const auto tokens = static_cast<int64_t>(item.targets[q].size());
      const Share answer{right == tokens ? 1. : 0., 1};
      const size_t third = item.depths[q] < 1. / 3 ? 0 : item.depths[q] < 2. / 3 ? 1 : 2;
      Add(shares[0], answer);
      Add(shares[1], {static_cast<double>(right), static_cast<double>(tokens)});
      Add(shares[2 + third], answer);
    }
    return shares;
  }

  bool needs_logprobs() const override { return true; }
  bool always_bos() const override { return true; }

 private:
  static void Add(Share& to, const Share& share) {
    to.sum += share.sum;
    to.count += share.count;
  }
};

}  // namespace

std::unique_ptr<Task> MakeRecallTask() { return std::make_unique<Recall>(); }

}  // namespace pith
