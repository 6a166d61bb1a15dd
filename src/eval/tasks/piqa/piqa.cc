#include "eval/tasks/tasks.h"
#include "eval/text_task.h"

namespace pith {
namespace {

class Piqa : public ChoiceTask {
 public:
  Piqa() : ChoiceTask(Headline::kAcc) {}

 protected:
  std::filesystem::path file() const override { return "eval/piqa_val.jsonl.xz"; }

  TextDocument Parse(const JsonReader& row) const override {
    const std::vector<std::string> choices = {row.String("sol1"), row.String("sol2")};
    if (choices[0].empty()) row.Fail("sol1", "a text that is not empty");
    if (choices[1].empty()) row.Fail("sol2", "a text that is not empty");
    return {.line = 0,
            .requests = ChoiceRequests("Question: " + row.String("goal") + "\nAnswer:", choices),
            .gold = row.Int("label", 0, 1)};
  }
};

}  // namespace

std::unique_ptr<Task> MakePiqa() { return std::make_unique<Piqa>(); }

}  // namespace pith
