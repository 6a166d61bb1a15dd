// Texts and questions: hand-written files are read or refused by line and field; a recall item's
// ids spell its text to the byte.

#include "eval/data.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;
using testing::kEndOfText;
using Ids = std::vector<int32_t>;
using Texts = std::vector<std::string>;

class DataFile : public ::testing::Test {
 protected:
  std::filesystem::path Write(const std::string& text) {
    dir_.Write("data", text);
    return dir_.path() / "data";
  }
  testing::TempDir dir_;
};

TEST_F(DataFile, DocumentsAreCutAtTheMark) {
  EXPECT_EQ(ReadDocuments(Write("one")), Texts{"one"});
  EXPECT_EQ(ReadDocuments(Write("one\n<|endoftext|>\ntwo\n\n<|endoftext|>\nthree")),
            (Texts{"one", "two\n", "three"}));
  EXPECT_EQ(ReadDocuments(Write("a <|endoftext|> b\n")), Texts{"a <|endoftext|> b\n"});
  EXPECT_THROW(ReadDocuments(dir_.path() / "absent"), Error);
}

constexpr char kGood[] =
    R"({"context": "c", "questions": [{"prompt": "p", "answer": " a", "depth": 0.25}]})";

TEST_F(DataFile, Recall) {
  const auto items = ReadRecall(
      Write(std::string(kGood) + "\n\n" + R"({"context": "d", "questions": []})" + "\n"));
  ASSERT_EQ(items.size(), 2);
  EXPECT_EQ(items[0].context, "c");
  ASSERT_EQ(items[0].questions.size(), 1);
  EXPECT_EQ(items[0].questions[0].prompt, "p");
  EXPECT_EQ(items[0].questions[0].answer, " a");
  EXPECT_EQ(items[0].questions[0].depth, 0.25);
  EXPECT_EQ(items[1].context, "d");
  EXPECT_TRUE(items[1].questions.empty());
}

TEST_F(DataFile, RecallErrorsNameFileLineAndField) {
  const std::vector<std::pair<std::string, std::string>> lines = {
      {R"({"questions": []})", "context"},
      {R"({"context": 1, "questions": []})", "context"},
      {R"({"context": "c"})", "questions"},
      {R"({"context": "c", "questions": {}})", "questions"},
      {R"({"context": "c", "questions": ["q"]})", "questions."},
      {R"({"context": "c", "questions": [{"answer": " a"}]})", "questions.prompt"},
      {R"({"context": "c", "questions": [{"prompt": "p", "answer": null}]})", "questions.answer"},
      {R"({"context": "c", "questions": [{"prompt": "p", "answer": " a", "depth": "x"}]})",
       "questions.depth"},
      {R"(["c"])", "object"},
      {R"({"context": )", "JSON"}};
  for (const auto& [line, field] : lines) {
    const auto path = Write(std::string(kGood) + "\n\n" + line + "\n");
    const std::string message = ErrorOf([&] { ReadRecall(path); });
    EXPECT_TRUE(message.starts_with(path.string() + ":3: ")) << message;
    EXPECT_NE(message.find(field), std::string::npos) << field << " missing: " << message;
  }
}

TEST(Recall, IdsSpellContextPromptAndAnswer) {
  const Engine engine = testing::LoadTiny();
  const std::vector<RecallItem> items = {
      {"A fact.\n\n", {{"Q1?", " yes", 0.1}, {"Q2? ", " a b", 0.9}, {"", " x", 0.5}}},
      // "a" and what follows it join over the border for two of three questions.
      {"xa", {{"b", " one", 0}, {"bc", " two", 0.2}, {"z", " three", 1}}},
      {"", {{"p", " q", 0}}}};
  const RecallSet set = MakeRecall(engine, items);
  ASSERT_EQ(set.items.size(), 7);
  ASSERT_EQ(set.answer_tokens.size(), 7);
  EXPECT_EQ(set.depths, (std::vector<double>{0.1, 0.9, 0.5, 0, 0.2, 1, 0}));
  size_t i = 0;
  for (const RecallItem& item : items) {
    const Ids& shared = set.items[i].context;
    for (const RecallItem::Question& question : item.questions) {
      const ScoreItem& read = set.items[i];
      EXPECT_EQ(read.context, shared);  // so that it is read once
      EXPECT_EQ(read.context[0], kEndOfText);
      Ids text(read.context.begin() + 1, read.context.end());
      text.insert(text.end(), read.continuation.begin(), read.continuation.end());
      EXPECT_EQ(engine.Detokenize(text), item.context + question.prompt + question.answer);
      const Ids answer(read.continuation.end() - set.answer_tokens[i], read.continuation.end());
      EXPECT_TRUE(engine.Detokenize(answer).ends_with(question.answer));
      ++i;
    }
  }
  EXPECT_EQ(set.items[3].context, (Ids{kEndOfText, 'x'}));
}

}  // namespace
}  // namespace pith
