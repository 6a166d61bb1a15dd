#include "core/error.h"
#include "eval/tasks/tasks.h"
#include "eval/text_windows.h"

namespace pith {
namespace {

class Perplexity : public Task {
 public:
  std::vector<TaskItem> MakeItems(const Engine& engine, const TaskOptions& options) const override {
    const std::vector<std::vector<int32_t>> documents = ReadTokens(engine, options);
    std::vector<TaskItem> items;
    for (const TextWindow& window : StridedWindows(documents, options)) {
      items.push_back(WindowItem(engine, documents, window, options));
    }
    return items;
  }

  const std::vector<Metric>& metrics() const override {
    static const std::vector<Metric> metrics = {
        {.name = "nll",
         .meaning = "nats per token of the tails",
         .higher_is_better = false,
         .headline = true},
        {.name = "ppl", .meaning = "exp of it", .exponential = true, .higher_is_better = false}};
    return metrics;
  }

  std::vector<Share> Measure(const TaskItem&, std::span<const ScoreResult> results) const override {
    PITH_CHECK(results.size() == 1);
    const Share share{-results[0].logprob, static_cast<double>(results[0].tokens)};
    return {share, share};
  }

  bool always_bos() const override { return true; }
};

}  // namespace

std::unique_ptr<Task> MakePerplexity() { return std::make_unique<Perplexity>(); }

}  // namespace pith
