#include <utility>

#include "eval/tasks/tasks.h"
#include "eval/text_task.h"

namespace pith {
namespace {

class Arc : public ChoiceTask {
 public:
  Arc(std::filesystem::path file, Headline headline)
      : ChoiceTask(headline), file_(std::move(file)) {}
  static std::unique_ptr<Task> Easy() {
    return std::make_unique<Arc>("eval/ARC-Easy-Test.jsonl.xz", Headline::kAcc);
  }
  static std::unique_ptr<Task> Challenge() {
    return std::make_unique<Arc>("eval/ARC-Challenge-Test.jsonl.xz", Headline::kAccNorm);
  }

 protected:
  std::filesystem::path file() const override { return file_; }

  TextDocument Parse(const JsonReader& row) const override {
    const JsonReader question(row.Field("question"), row.source(), "question.");
    if (!question.Field("choices").is_array()) question.Fail("choices", "a list");
    const std::string key = row.String("answerKey");
    std::vector<std::string> texts;
    int64_t gold = -1;
    for (const Json& entry : question.Field("choices")) {
      const JsonReader choice(entry, row.source(), "question.choices.");
      if (choice.String("label") == key) gold = static_cast<int64_t>(texts.size());
      texts.push_back(choice.String("text"));
      if (texts.back().empty()) choice.Fail("text", "a text that is not empty");
    }
    if (gold < 0) row.Fail("answerKey", "the label of a choice");
    return {.line = 0,
            .requests = ChoiceRequests("Question: " + question.String("stem") + "\nAnswer:", texts),
            .gold = gold};
  }

 private:
  std::filesystem::path file_;
};

}  // namespace

std::unique_ptr<Task> MakeArcEasy() { return Arc::Easy(); }
std::unique_ptr<Task> MakeArcChallenge() { return Arc::Challenge(); }

}  // namespace pith
