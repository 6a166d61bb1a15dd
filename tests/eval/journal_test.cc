// The journal alone: numbers read back to the last bit, bad ones are named with line and field,
// files that are none of it stay as they are, two writers are kept apart.

#include "eval/journal.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;

class JournalTest : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return dir_.path() / "journal.jsonl"; }

  testing::TempDir dir_;
  const OrderedJson print_ = {{"a", 1}};
};

// A file without a single line's end is emptied only where it begins as this journal does.
TEST_F(JournalTest, OtherFilesAreNotEmptied) {
  for (const std::string& text : {std::string("dear diary"), std::string("{"),
                                  std::string(R"({"format":"pith eval journal 2","finger)")}) {
    dir_.Write("journal.jsonl", text);
    if (text.starts_with("{")) {
      EXPECT_EQ(Journal(path(), print_).size(), 0u);
    } else {
      EXPECT_NE(ErrorOf([&] { Journal(path(), print_); }).find("journal.jsonl:1"),
                std::string::npos);
      EXPECT_EQ(ReadFile(path()), text);
    }
  }
}

// Numbers that would make a row meaningless, or overflow a sum, each named with line and field.
TEST_F(JournalTest, BadNumbersAreNamed) {
  JournalEntry entry{.task = "t", .method = "m", .item = "1"};
  entry.shares = {{.sum = 1, .count = 2}};
  entry.contexts = 77;
  entry.realised = 0.625;
  entry.saved_tokens = 32.5;
  entry.context_tokens = 99;
  entry.scored_labels = 5;
  entry.seconds = 0.25;
  Journal(path(), print_).Append({&entry, 1});
  const std::string whole = ReadFile(path());
  const auto message = [&](const std::string& good, const std::string& bad) {
    std::string text = whole;
    text.replace(text.find(good), good.size(), bad);
    dir_.Write("journal.jsonl", text);
    return ErrorOf([&] { Journal(path(), print_); });
  };
  const std::vector<std::array<std::string, 3>> cases = {
      {"[1.0,2.0]", "[NaN,2.0]", "shares"},
      {"[1.0,2.0]", "[1.0,Infinity]", "shares"},
      {"[1.0,2.0]", "[1.0,-2.0]", "shares"},
      {"\"contexts\":77", "\"contexts\":9223372036854775807", "contexts"},
      {"\"contexts\":77", "\"contexts\":-1", "contexts"},
      {":0.625", ":NaN", "realised"},
      {":32.5", ":Infinity", "saved_tokens"},
      {"_tokens\":99", "_tokens\":9223372036854775807", "context_tokens"},
      {"_labels\":5", "_labels\":-5", "scored_labels"},
      {":0.25", ":-0.25", "seconds"}};
  for (const auto& [good, bad, field] : cases) {
    EXPECT_NE(message(good, bad).find("journal.jsonl:2: " + field), std::string::npos)
        << bad << ": " << message(good, bad);
  }
}

TEST_F(JournalTest, NamesThatAreNotUtf8AreErrorsOfPith) {
  EXPECT_NE(ErrorOf([&] {
              Journal(path(), {{"text", "caf\xe9.txt"}});
            }).find("not UTF-8"),
            std::string::npos);
  const JournalEntry entry{.task = "t", .method = "m:table=\xff", .item = "1"};
  Journal journal(path(), print_);
  EXPECT_NE(ErrorOf([&] { journal.Append({&entry, 1}); }).find("not UTF-8"), std::string::npos);
  EXPECT_EQ(journal.size(), 0u);
}

TEST_F(JournalTest, TwoRunsCannotShareAJournal) {
  const Journal first(path(), print_);
  EXPECT_NE(ErrorOf([&] { Journal(path(), print_); }).find("another run"), std::string::npos);
}

TEST_F(JournalTest, DoublesReadBackToTheLastBit) {
  JournalEntry entry{.task = "t", .method = "m", .item = "\"1\"", .checksum = ~uint64_t{0}};
  entry.shares = {{.sum = 0.1 + 0.2, .count = std::nextafter(1.0, 2.0)},
                  {.sum = -5e-324, .count = 1.7976931348623157e308}};
  entry.realised = 1.0 / 3;
  entry.saved_tokens = 100.0 / 3;
  entry.scored_labels = 17;
  Journal(path(), print_).Append({&entry, 1});
  const Journal journal(path(), print_);
  const JournalEntry* read = journal.Find("t", "m", "\"1\"");
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->checksum, entry.checksum);
  EXPECT_EQ(read->realised, entry.realised);
  EXPECT_EQ(read->saved_tokens, entry.saved_tokens);
  EXPECT_EQ(read->scored_labels, entry.scored_labels);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(read->shares.at(i).sum, entry.shares[i].sum);
    EXPECT_EQ(read->shares.at(i).count, entry.shares[i].count);
  }
  entry.shares[0].sum = std::nan("");
  EXPECT_NE(ErrorOf([&] {
              Journal other(dir_.path() / "other", print_);
              other.Append({&entry, 1});
            }).find("not finite"),
            std::string::npos);
}

}  // namespace
}  // namespace pith
