#include <cctype>
#include <string>
#include <string_view>

#include "eval/tasks/tasks.h"
#include "eval/text_task.h"

namespace pith {
namespace {

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// Drops every "[…]" that closes on its line, the shortest first, as the pattern \[.*?\] does.
void DropBrackets(std::string& text) {
  for (size_t open = text.find('['); open != text.npos; open = text.find('[', open)) {
    const size_t end = text.find_first_of("]\n", open);
    if (end == text.npos) return;
    if (text[end] == ']') {
      text.erase(open, end - open + 1);
    } else {
      open = end;
    }
  }
}

// The harness's cleaning of wikiHow's marks.
std::string Clean(std::string_view dirty) {
  std::string text(Strip(dirty));
  ReplaceAll(text, " [title]", ". ");
  DropBrackets(text);
  ReplaceAll(text, "  ", " ");
  return text;
}

// Python's str.capitalize(); the contexts are ASCII.
std::string Capitalize(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) text[i] = static_cast<char>(i == 0 ? std::toupper(c) : std::tolower(c));
  }
  return text;
}

class HellaSwag : public ChoiceTask {
 public:
  HellaSwag() : ChoiceTask(Headline::kAccNorm) {}

 protected:
  std::filesystem::path file() const override { return "eval/hellaswag_val.jsonl.xz"; }

  TextDocument Parse(const JsonReader& row) const override {
    const std::string query = row.String("activity_label") + ": " + row.String("ctx_a") + " " +
                              Capitalize(row.String("ctx_b"));
    std::vector<std::string> endings = ReadStrings(row, "endings");
    for (std::string& ending : endings) {
      ending = Clean(ending);
      if (ending.empty()) row.Fail("endings", "texts outside brackets");
    }
    TextDocument document{.line = 0, .requests = ChoiceRequests(Clean(query), endings)};
    document.gold = row.Int("label", 0, static_cast<int64_t>(endings.size()) - 1);
    return document;
  }
};

}  // namespace

std::unique_ptr<Task> MakeHellaSwag() { return std::make_unique<HellaSwag>(); }

}  // namespace pith
