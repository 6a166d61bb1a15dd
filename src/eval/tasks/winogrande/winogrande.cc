#include <string>
#include <string_view>

#include "eval/tasks/tasks.h"
#include "eval/text_task.h"

namespace pith {
namespace {

// The option stands in the context and the rest of the sentence is scored, the same after both.
class WinoGrande : public ChoiceTask {
 public:
  WinoGrande() : ChoiceTask(Headline::kAccOnly) {}

 protected:
  std::filesystem::path file() const override { return "eval/winogrande_xl_dev.jsonl.xz"; }

  TextDocument Parse(const JsonReader& row) const override {
    const std::string sentence = row.String("sentence");
    const size_t gap = sentence.find('_');
    if (gap == sentence.npos) row.Fail("sentence", "a gap, written _");
    const std::string_view rest = Strip(std::string_view(sentence).substr(gap + 1));
    if (rest.empty()) row.Fail("sentence", "words after the gap");
    const std::string answer = row.String("answer");
    if (answer != "1" && answer != "2") row.Fail("answer", "\"1\" or \"2\"");
    TextDocument document{.line = 0, .requests = {}, .gold = answer == "1" ? 0 : 1};
    for (const char* option : {"option1", "option2"}) {
      document.requests.push_back(
          {sentence.substr(0, gap) + row.String(option), " " + std::string(rest), {}});
    }
    return document;
  }
};

}  // namespace

std::unique_ptr<Task> MakeWinoGrande() { return std::make_unique<WinoGrande>(); }

}  // namespace pith
