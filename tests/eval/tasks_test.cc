// The tasks: shipped data whole and undamaged, texts built as the harness builds them (cleaning,
// gaps, ties), windows that score no token twice, targets against a plain search, generated recall
// contexts that are functions of their seed and hold what their questions ask. Agreement with the
// harness on real items is in lm_eval_test.cc.

#include "eval/task.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/xz.h"
#include "eval/data.h"
#include "eval/tasks/recall/generate.h"
#include "eval/text_task.h"
#include "eval/text_windows.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;

const std::filesystem::path kSource = PITH_SOURCE_DIR;
const std::filesystem::path kData = kSource / "data";

const Engine& Model() {
  static const Engine engine =
      Engine::Load(kSource / "models/pith-13m-mamba1", {.device = testing::DeviceName()});
  return engine;
}

const TextTask& AsText(const Task& task) { return dynamic_cast<const TextTask&>(task); }

TEST(TaskData, ChecksumsAndCounts) {
  const std::string check =
      "cd '" + (kData / "eval").string() + "' && sha256sum --check --quiet SHA256SUMS";
  EXPECT_EQ(std::system(check.c_str()), 0);
  const std::map<std::string, size_t> counts = {{"lambada_openai", 5153}, {"hellaswag", 10042},
                                                {"piqa", 1838},           {"arc_easy", 2376},
                                                {"arc_challenge", 1172},  {"winogrande", 1267}};
  for (const auto& [name, count] : counts) {
    EXPECT_EQ(AsText(*MakeTask(name)).Load(kData).size(), count) << name;
  }
}

TEST(Tasks, UnknownNamesListWhatExists) {
  const std::string message = ErrorOf([] { MakeTask("lambda"); });
  EXPECT_NE(message.find("'lambda'"), message.npos) << message;
  for (const TaskInfo& task : ListTasks()) {
    EXPECT_NE(message.find(task.name), message.npos) << task.name;
    const auto made = MakeTask(task.name);
    int headlines = 0;
    for (const Metric& metric : made->metrics()) headlines += metric.headline;
    EXPECT_EQ(headlines, 1) << task.name;
  }
}

// A data directory with one hand-written file.
class TaskText : public ::testing::Test {
 protected:
  TextDocument First(const std::string& task, const std::string& file, const std::string& row) {
    std::filesystem::create_directories(dir_.path() / "eval");
    dir_.Write("eval/" + file, row + "\n");
    const std::string pack = "xz -f '" + (dir_.path() / "eval" / file).string() + "'";
    EXPECT_EQ(std::system(pack.c_str()), 0);
    return AsText(*MakeTask(task)).Load(dir_.path()).at(0);
  }
  testing::TempDir dir_;
};

TEST_F(TaskText, LambadaSplitsAtTheLastBlank) {
  const TextDocument document =
      First("lambada_openai", "lambada_test.jsonl", R"({"text": "a b\nc  last.\""})");
  EXPECT_EQ(document.requests[0].context, "a b\nc ");
  EXPECT_EQ(document.requests[0].continuation, " last.\"");
  EXPECT_EQ(document.line, 1);
}

TEST_F(TaskText, HellaSwagIsCleaned) {
  const TextDocument document = First(
      "hellaswag", "hellaswag_val.jsonl",
      R"({"activity_label": "Roof", "ctx_a": "[header] How to [title] x.", "ctx_b": "the MAN",)"
      R"( "endings": ["  [step] is [a[b] c] here.", "a   b", "[open\n]", "é  è"], "label": 2})");
  EXPECT_EQ(document.requests[0].context, "Roof: How to. x. The man");
  EXPECT_EQ(document.requests[0].continuation, "  is c] here.");
  EXPECT_EQ(document.requests[0].choice, " is c] here.");
  EXPECT_EQ(document.requests[1].choice, "a  b");      // two blanks become one, once
  EXPECT_EQ(document.requests[2].choice, "[open\n]");  // brackets close on their line
  EXPECT_EQ(CountCodePoints(document.requests[3].choice), 3);
  EXPECT_EQ(document.gold, 2);
}

TEST_F(TaskText, WinoGrandeHasTwoContextsAndOneContinuation) {
  const TextDocument document = First(
      "winogrande", "winogrande_xl_dev.jsonl",
      R"({"sentence": "He saw _ 's hat _.", "option1": "Al", "option2": "Bo", "answer": "2"})");
  EXPECT_EQ(document.requests[0].context, "He saw Al");
  EXPECT_EQ(document.requests[1].context, "He saw Bo");
  for (const TextRequest& request : document.requests) {
    EXPECT_EQ(request.continuation, " 's hat _.");
  }
  EXPECT_EQ(document.gold, 1);
}

TEST_F(TaskText, ArcFindsItsAnswerByLabel) {
  const TextDocument document =
      First("arc_easy", "ARC-Easy-Test.jsonl",
            R"({"question": {"stem": "Why?", "choices": [{"text": "x", "label": "1"},)"
            R"( {"text": "y z", "label": "2"}]}, "answerKey": "2"})");
  EXPECT_EQ(document.requests[1].context, "Question: Why?\nAnswer:");
  EXPECT_EQ(document.requests[1].continuation, " y z");
  EXPECT_EQ(document.gold, 1);
}

TEST_F(TaskText, ErrorsNameFileLineAndField) {
  const auto message = [&](const std::string& task, const std::string& file,
                           const std::string& row) {
    return ErrorOf([&] { First(task, file, row); });
  };
  const std::string piqa =
      message("piqa", "piqa_val.jsonl", R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 2})");
  EXPECT_NE(piqa.find("piqa_val.jsonl.xz:1: label: got 2"), piqa.npos) << piqa;
  const std::string arc = message(
      "arc_challenge", "ARC-Challenge-Test.jsonl",
      R"({"question": {"stem": "s", "choices": [{"text": "x", "label": "A"}]}, "answerKey": "B"})");
  EXPECT_NE(arc.find("answerKey"), arc.npos) << arc;
  const std::string gap =
      message("winogrande", "winogrande_xl_dev.jsonl",
              R"({"sentence": "none", "option1": "a", "option2": "b", "answer": "1"})");
  EXPECT_NE(gap.find("sentence"), gap.npos) << gap;
  const std::string word = message("lambada_openai", "lambada_test.jsonl", R"({"text": "one"})");
  EXPECT_NE(word.find("text"), word.npos) << word;
}

TEST(ChoiceTask, TiesGoToTheFirstAndLengthsCount) {
  const auto task = MakeTask("hellaswag");
  const auto measure = [&](int64_t gold, const std::vector<double>& logprobs) {
    TaskItem item{.id = "", .requests = {}, .gold = gold, .choice_lengths = {1, 4, 4}};
    item.requests.resize(3);
    std::vector<ScoreResult> results(3);
    for (size_t i = 0; i < 3; ++i) results[i].logprob = logprobs[i];
    const std::vector<Share> shares = task->Measure(item, results);
    return std::pair(shares[0].sum, shares[1].sum);
  };
  // Per code point: −2, −1, −1.
  EXPECT_EQ(measure(0, {-2, -4, -4}), std::pair(1., 0.));
  EXPECT_EQ(measure(1, {-2, -4, -4}), std::pair(0., 1.));
  EXPECT_EQ(measure(2, {-2, -4, -4}), std::pair(0., 0.));
  EXPECT_EQ(measure(0, {-4, -4, -4}), std::pair(1., 0.));
}

TEST(TextTask, LongPairsLoseTheirFirstTokens) {
  const auto task = MakeTask("piqa");
  const TaskOptions whole{.data = kData, .limit = 3};
  TaskOptions cut = whole;
  cut.max_tokens = 20;
  const auto a = task->MakeItems(Model(), whole);
  const auto b = task->MakeItems(Model(), cut);
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t r = 0; r < a[i].requests.size(); ++r) {
      const ScoreItem& long_one = a[i].requests[r];
      const ScoreItem& short_one = b[i].requests[r];
      EXPECT_EQ(short_one.continuation, long_one.continuation);
      const size_t all = long_one.context.size() + long_one.continuation.size();
      const size_t left =
          long_one.continuation.size() >= 21 ? 0 : 21 - long_one.continuation.size();
      ASSERT_EQ(short_one.context.size(), all <= 21 ? long_one.context.size() : left);
      EXPECT_TRUE(std::equal(short_one.context.rbegin(), short_one.context.rend(),
                             long_one.context.rbegin()));
    }
  }
}

TEST(Perplexity, WindowsScoreNoTokenTwiceAndSpread) {
  const TaskOptions options{.data = kData, .context = 1000, .tail = 300};
  const auto documents = ReadTokens(Model(), options);
  std::set<std::pair<size_t, int64_t>> scored;
  const auto all = StridedWindows(documents, options);
  for (const TextWindow& window : all) {
    const int64_t first = window.begin + options.context - 1;
    ASSERT_LE(first + options.tail, static_cast<int64_t>(documents[window.document].size()));
    for (int64_t p = first; p < first + options.tail; ++p) {
      ASSERT_TRUE(scored.emplace(window.document, p).second);
    }
    const TaskItem item = WindowItem(Model(), documents, window, options);
    ASSERT_EQ(item.requests[0].context.size(), options.context);
    ASSERT_EQ(item.requests[0].continuation[0], documents[window.document][first]);
  }
  TaskOptions some = options;
  some.limit = 10;
  std::set<size_t> touched;
  const auto few = StridedWindows(documents, some);
  ASSERT_EQ(few.size(), 10);
  for (const TextWindow& window : few) touched.insert(window.document);
  EXPECT_GE(touched.size(), 5);
  some.context = 1 << 20;
  EXPECT_THROW(StridedWindows(documents, some), Error);
}

TEST(RecallTargets, AgainstAPlainSearch) {
  const TaskOptions options{.data = kData, .limit = 40};
  const auto documents = ReadTokens(Model(), options);
  const auto items = MakeTask("recall_targets")->MakeItems(Model(), options);
  ASSERT_GE(items.size(), 30);
  for (const TaskItem& item : items) {
    const size_t document = std::stoul(item.id);
    std::vector<int32_t> ids = item.requests[0].context;
    const auto border = static_cast<int64_t>(ids.size());
    for (const int32_t id : item.requests[0].continuation) ids.push_back(id);
    std::vector<int64_t> expected;
    for (auto p = border; p < static_cast<int64_t>(ids.size()); ++p) {
      int64_t before = p - 1;
      while (before > 0 && ids[before] != ids[p]) --before;
      int64_t elsewhere = 0;
      int64_t tokens = 0;
      for (size_t d = 0; d < documents.size(); ++d) {
        if (d == document) continue;
        elsewhere += std::ranges::count(documents[d], ids[p]);
        tokens += static_cast<int64_t>(documents[d].size());
      }
      if (before > 0 && p - before >= 512 && elsewhere * 20000 <= tokens) {
        expected.push_back(p - border);
      }
    }
    EXPECT_EQ(item.targets[0], expected) << item.id;
  }
}

const std::regex kPrompt(
    " What (is the (passkey|color|code word) of|does) ([A-Z][a-z]+)( hold in the ledger)?\\? "
    "(The (passkey|color|code word) of )?([A-Z][a-z]+) (is|holds)");
const std::regex kAnswer(" ([0-9]{3,5}|[a-z]+( [a-z]+)?)");

// The sentence that a question asks about.
std::string FactOf(const RecallItem::Question& question) {
  std::smatch match;
  EXPECT_TRUE(std::regex_match(question.prompt, match, kPrompt)) << question.prompt;
  EXPECT_TRUE(std::regex_match(question.answer, kAnswer)) << question.answer;
  const std::string name = match[7];
  const std::string what = match[6];
  if (what.empty()) return "In the ledger, " + name + " holds" + question.answer + ".";
  const std::string rest = what + " of " + name + " is" + question.answer + ".";
  return (what == "code word" ? "Remember this: the " : "The ") + rest;
}

void ExpectFactsStandAtTheirDepths(const RecallItem& item, double slack) {
  const auto tokens = [](const std::string& text) {
    return static_cast<double>(Model().Tokenize(text).size());
  };
  std::set<std::string> facts;
  for (const RecallItem::Question& question : item.questions) {
    const std::string fact = FactOf(question);
    EXPECT_TRUE(facts.insert(fact).second) << fact;
    const size_t at = item.context.find(fact);
    ASSERT_NE(at, item.context.npos) << fact;
    EXPECT_EQ(item.context.find(fact, at + 1), item.context.npos) << fact;
    const std::string before = item.context.substr(0, at == 0 ? 0 : at - 1);
    EXPECT_NEAR(question.depth, tokens(before) / tokens(item.context), slack) << fact;
  }
  EXPECT_TRUE(item.context.ends_with("\n\n"));
}

// The shipped items pass what the generated ones must pass: the templates are the same. Their
// depths are rounded to three decimals, and leave the last blank line out of the length.
TEST(Recall, ShippedItemsHaveTheTemplates) {
  const auto items = ReadRecall(kData / "recall/recall-1.8k.jsonl.xz");
  ASSERT_EQ(items.size(), 200);
  for (size_t i = 0; i < 50; ++i) ExpectFactsStandAtTheirDepths(items[i], 0.003);
}

TEST(Recall, GeneratedItemsAreFunctionsOfTheirSeed) {
  const auto documents = ReadDocuments(kData / "text/heldout-1mb.txt.xz");
  const CountTokens count = [](std::string_view text) {
    return static_cast<int64_t>(Model().Tokenize(text).size());
  };
  std::set<std::string> contexts;
  for (const int64_t tokens : {512, 1792, 4096, 32768}) {
    for (const uint64_t index : {0, 1, 2}) {
      const RecallRecipe recipe{.tokens = tokens, .seed = 7};
      const RecallItem item = GenerateRecall(documents, recipe, index, count);
      ExpectFactsStandAtTheirDepths(item, 1e-12);
      EXPECT_GE(item.questions.size(), 8);
      EXPECT_LE(item.questions.size(), 12);
      EXPECT_LE(count(item.context), tokens);
      EXPECT_GE(count(item.context), tokens - 256);  // a sentence
      EXPECT_EQ(GenerateRecall(documents, recipe, index, count).context, item.context);
      EXPECT_TRUE(contexts.insert(item.context).second);
    }
  }
  const RecallRecipe other{.tokens = 1792, .seed = 8};
  EXPECT_TRUE(contexts.insert(GenerateRecall(documents, other, 0, count).context).second);
  EXPECT_THROW(GenerateRecall({"Too short. A text."}, other, 0, count), Error);
}

TEST(Recall, MeasuresWholeAnswersTokensAndThirds) {
  const auto task = MakeTask("recall");
  TaskItem item{.id = "0", .requests = std::vector<ScoreItem>(2)};
  for (ScoreItem& request : item.requests) request.continuation = {1, 2, 3};
  item.targets = {{1, 2}, {2}};
  item.depths = {0.1, 0.9};
  std::vector<ScoreResult> results(2);
  results[0].token_logprobs = {
      {.id = 1, .top_id = 9}, {.id = 2, .top_id = 2}, {.id = 3, .top_id = 9}};
  results[1].token_logprobs = {
      {.id = 1, .top_id = 9}, {.id = 2, .top_id = 9}, {.id = 3, .top_id = 3}};
  const std::vector<Share> shares = task->Measure(item, results);
  const std::vector<std::pair<double, double>> expected = {{1, 2}, {2, 3}, {0, 1}, {0, 0}, {1, 1}};
  ASSERT_EQ(shares.size(), expected.size());
  for (size_t m = 0; m < shares.size(); ++m) {
    EXPECT_EQ(std::pair(shares[m].sum, shares[m].count), expected[m]) << task->metrics()[m].name;
  }
}

// Shipped contexts read as context + prompt + answer, byte for byte, each question alone.
TEST(Recall, ItemsSpellTheText) {
  const auto items = MakeTask("recall")->MakeItems(Model(), {.data = kData, .limit = 2});
  const auto texts = ReadRecall(kData / "recall/recall-1.8k.jsonl.xz");
  ASSERT_EQ(items.size(), 2);
  for (size_t i = 0; i < items.size(); ++i) {
    ASSERT_EQ(items[i].requests.size(), texts[i].questions.size());
    for (size_t q = 0; q < items[i].requests.size(); ++q) {
      const ScoreItem& request = items[i].requests[q];
      std::vector<int32_t> ids(request.context.begin() + 1, request.context.end());
      ids.insert(ids.end(), request.continuation.begin(), request.continuation.end());
      const RecallItem::Question& question = texts[i].questions[q];
      EXPECT_EQ(Model().Detokenize(ids), texts[i].context + question.prompt + question.answer);
      std::vector<int32_t> answer;
      for (const int64_t t : items[i].targets[q]) answer.push_back(request.continuation[t]);
      EXPECT_EQ(Model().Detokenize(answer), question.answer);
    }
  }
}

}  // namespace
}  // namespace pith
