#include <utility>

#include "core/error.h"
#include "eval/tasks/tasks.h"
#include "eval/text_task.h"

namespace pith {
namespace {

class Lambada : public TextTask {
 public:
  const std::vector<Metric>& metrics() const override {
    static const std::vector<Metric> metrics = {
        {.name = "ppl",
         .meaning = "exp of the mean over passages of the last word's nats",
         .exponential = true,
         .higher_is_better = false},
        {.name = "acc",
         .meaning = "share of passages whose last word is the likeliest at every token",
         .headline = true}};
    return metrics;
  }

  std::vector<Share> Measure(const TaskItem&, std::span<const ScoreResult> results) const override {
    PITH_CHECK(results.size() == 1);
    return {{-results[0].logprob}, {results[0].greedy ? 1. : 0.}};
  }

 protected:
  std::filesystem::path file() const override { return "eval/lambada_test.jsonl.xz"; }

  TextDocument Parse(const JsonReader& row) const override {
    const std::string text = row.String("text");
    const size_t blank = text.rfind(' ');
    if (blank == 0 || blank == text.npos) row.Fail("text", "at least two words");
    TextDocument document;
    document.requests.push_back({text.substr(0, blank), text.substr(blank), {}});
    return document;
  }
};

}  // namespace

std::unique_ptr<Task> MakeLambada() { return std::make_unique<Lambada>(); }

}  // namespace pith
