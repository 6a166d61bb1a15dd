#include "eval/tasks/recall/generate.h"

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <utility>

#include "core/error.h"

namespace pith {
namespace {

constexpr int64_t kMinTokens = 512;
constexpr int64_t kFewestFacts = 8;
constexpr int64_t kMostFacts = 12;

// The shipped items' names are two or three of these.
constexpr std::array<std::string_view, 49> kSyllables = {
    "ba", "be", "bi", "bo", "da", "de", "di", "do", "fa", "fe", "ga", "go", "ka",
    "ke", "ki", "ko", "la", "le", "li", "lo", "ma", "me", "mi", "mo", "na", "ne",
    "ni", "no", "pa", "pe", "ra", "re", "ri", "ro", "sa", "se", "si", "so", "ta",
    "te", "ti", "to", "va", "ve", "vi", "vo", "za", "ze", "zo"};

constexpr std::array<std::string_view, 48> kWords = {
    "anchor",  "barrel", "basket",  "blanket", "bridge", "button", "candle",  "carpet",
    "castle",  "cherry", "compass", "copper",  "cotton", "desert", "engine",  "falcon",
    "feather", "forest", "garden",  "hammer",  "harbor", "island", "lantern", "letter",
    "marble",  "market", "meadow",  "mirror",  "needle", "orange", "pepper",  "pigeon",
    "pocket",  "rabbit", "ribbon",  "river",   "saddle", "salmon", "shadow",  "silver",
    "stone",   "summer", "temple",  "thunder", "violin", "walnut", "window",  "winter"};

// The fact, and the question that ends where the answer begins; * stands for the name.
struct Template {
  std::string_view fact;
  std::string_view question;
};
constexpr std::array<Template, 4> kTemplates = {{
    {"The passkey of * is", " What is the passkey of *? The passkey of * is"},
    {"The color of * is", " What is the color of *? The color of * is"},
    {"Remember this: the code word of * is", " What is the code word of *? The code word of * is"},
    {"In the ledger, * holds", " What does * hold in the ledger? * holds"},
}};

// The standard leaves distributions open but fixes the engine; the bias of % is below 2^-40 here.
class Random {
 public:
  Random(uint64_t seed, uint64_t index) : engine_(seed * 0x9e3779b97f4a7c15u + index) {}
  int64_t Below(int64_t n) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(n)); }
  template <class List>
  const auto& Pick(const List& list) {
    return list[Below(static_cast<int64_t>(list.size()))];
  }

 private:
  std::mt19937_64 engine_;
};

std::string Fill(std::string_view text, const std::string& name) {
  std::string out;
  for (const char c : text) c == '*' ? out += name : out += c;
  return out;
}

struct Fact {
  std::string text;  // a sentence
  RecallItem::Question question;
};

std::string DrawName(Random& random) {
  std::string name;
  for (int64_t n = 2 + random.Below(2); n > 0; --n) name += random.Pick(kSyllables);
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name;
}

// Half numbers, a quarter one word, a quarter two.
std::string DrawAnswer(Random& random) {
  if (random.Below(2) == 0) return " " + std::to_string(100 + random.Below(99900));
  const size_t first = random.Below(kWords.size());
  std::string answer = " " + std::string(kWords[first]);
  if (random.Below(2) == 0) {
    const size_t second = (first + 1 + random.Below(kWords.size() - 1)) % kWords.size();
    answer += " " + std::string(kWords[second]);
  }
  return answer;
}

bool Holds(const std::vector<std::string>& documents, const std::string& text) {
  return std::ranges::any_of(documents,
                             [&](const std::string& d) { return d.find(text) != d.npos; });
}

std::vector<Fact> DrawFacts(Random& random, const std::vector<std::string>& documents) {
  std::vector<Fact> facts(kFewestFacts + random.Below(kMostFacts - kFewestFacts + 1));
  std::set<std::string> names;
  for (Fact& fact : facts) {
    std::string name = DrawName(random);
    while (Holds(documents, name) || !names.insert(name).second) name = DrawName(random);
    const Template& form = random.Pick(kTemplates);
    fact.question.answer = DrawAnswer(random);
    fact.question.prompt = Fill(form.question, name);
    fact.text = Fill(form.fact, name) + fact.question.answer + ".";
  }
  return facts;
}

// Pieces that together are the text; each but the last ends with a sentence, and the blanks that
// follow open the next one.
std::vector<std::string_view> SplitSentences(std::string_view text) {
  std::vector<std::string_view> pieces;
  size_t begin = 0;
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    const bool ends = text[i] == '.' || text[i] == '!' || text[i] == '?';
    if (!ends || (text[i + 1] != ' ' && text[i + 1] != '\n')) continue;
    pieces.push_back(text.substr(begin, i + 1 - begin));
    begin = i + 1;
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

std::string_view WithoutLeadingBlanks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(" \n"), text.size()));
}

// Sentences from a drawn place on, of `budget` tokens at most.
std::vector<std::string> DrawText(Random& random, const std::vector<std::string>& documents,
                                  int64_t budget, const CountTokens& count) {
  std::vector<std::string> text;
  size_t document = random.Below(static_cast<int64_t>(documents.size()));
  std::vector<std::string_view> pieces = SplitSentences(documents[document]);
  auto at = static_cast<size_t>(random.Below(static_cast<int64_t>(pieces.size())));
  for (size_t opened = 0;;) {
    if (at == pieces.size()) {
      Require(++opened <= documents.size(), ErrorCode::kInvalidArgument,
              "recall: got a text that is ", budget,
              " tokens too short for the contexts, expected a longer one");
      document = (document + 1) % documents.size();
      pieces = SplitSentences(documents[document]);
      at = 0;
      continue;
    }
    std::string piece(text.empty() ? WithoutLeadingBlanks(pieces[at]) : pieces[at]);
    if (at == 0 && !text.empty()) piece.insert(0, "\n\n");
    ++at;
    const int64_t cost = count(piece);
    if (cost > budget && !text.empty()) return text;
    if (cost > budget) continue;  // no place to begin
    budget -= cost;
    text.push_back(std::move(piece));
  }
}

// Hides each fact before a drawn sentence or after the last; depths are in tokens so far.
RecallItem Hide(Random& random, std::vector<Fact> facts, const std::vector<std::string>& text,
                const CountTokens& count) {
  const auto sentences = static_cast<int64_t>(text.size());
  std::vector<std::pair<int64_t, Fact>> placed;
  for (Fact& fact : facts) placed.emplace_back(random.Below(sentences + 1), std::move(fact));
  std::ranges::stable_sort(placed, {}, [](const auto& entry) { return entry.first; });

  RecallItem item;
  auto next = placed.begin();
  for (int64_t i = 0; i <= sentences; ++i) {
    for (; next != placed.end() && next->first == i; ++next) {
      item.questions.push_back(std::move(next->second.question));
      item.questions.back().depth = static_cast<double>(count(item.context));
      item.context += (item.context.empty() ? "" : " ") + next->second.text;
    }
    if (i == sentences) break;
    const bool after_facts = i == 0 && !item.context.empty();  // the first sentence has no blank
    item.context += (after_facts ? " " : "") + text[i];
  }
  item.context += "\n\n";
  return item;
}

}  // namespace

RecallItem GenerateRecall(const std::vector<std::string>& documents, const RecallRecipe& recipe,
                          uint64_t index, const CountTokens& count) {
  Require(recipe.tokens >= kMinTokens, ErrorCode::kInvalidArgument, "recall: got contexts of ",
          recipe.tokens, " tokens, expected at least ", kMinTokens);
  Require(!documents.empty(), ErrorCode::kInvalidArgument, "recall: got no text to hide facts in");
  Random random(recipe.seed, index);
  std::vector<Fact> facts = DrawFacts(random, documents);
  int64_t budget = recipe.tokens - count("\n\n");
  for (const Fact& fact : facts) budget -= count(" " + fact.text);
  const std::vector<std::string> text = DrawText(random, documents, budget, count);

  RecallItem item = Hide(random, std::move(facts), text, count);
  const auto total = static_cast<double>(count(item.context));
  for (RecallItem::Question& question : item.questions) question.depth /= total;
  for (size_t i = item.questions.size(); i > 1; --i) {
    std::swap(item.questions[i - 1], item.questions[random.Below(static_cast<int64_t>(i))]);
  }
  return item;
}

}  // namespace pith
