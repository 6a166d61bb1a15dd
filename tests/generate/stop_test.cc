// The stop filter against its definition, however the text is cut into pieces: the output ends
// before the stop text that is whole first (the longest of those that end together), and nothing is
// held back that cannot begin a stop text.

#include "generate/stop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "pith/error.h"

namespace pith {
namespace {

using Strings = std::vector<std::string>;

struct Output {
  std::string text;
  bool stopped = false;
  bool operator==(const Output&) const = default;
};

void PrintTo(const Output& output, std::ostream* out) {
  *out << "\"" << output.text << "\"" << (output.stopped ? ", stopped" : "");
}

Output Defined(const Strings& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t length = 0;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) length = std::max(length, stop.size());
    }
    if (length > 0) return {text.substr(0, end - length), true};
  }
  return {text, false};
}

Output Filtered(const Strings& stops, const Strings& pieces) {
  StopFilter filter(stops);
  Output output;
  std::string read;
  for (const std::string& piece : pieces) {
    output.text += filter.Push(piece);
    read += piece;
    if (filter.stopped()) continue;
    // Held back: exactly the longest tail that begins a stop text.
    size_t hold = 0;
    for (const std::string& stop : stops) {
      for (size_t n = 1; n < stop.size(); ++n) {
        if (read.ends_with(stop.substr(0, n))) hold = std::max(hold, n);
      }
    }
    EXPECT_EQ(output.text, read.substr(0, read.size() - hold)) << "after \"" << read << "\"";
  }
  output.stopped = filter.stopped();
  output.text += filter.Flush();
  return output;
}

// One piece, all cuts into two, all into three, and letter by letter.
void CheckAllCuts(const Strings& stops, const std::string& text) {
  SCOPED_TRACE(::testing::Message() << ::testing::PrintToString(stops) << " in \"" << text << "\"");
  const Output expected = Defined(stops, text);
  for (size_t a = 0; a <= text.size(); ++a) {
    for (size_t b = a; b <= text.size(); ++b) {
      ASSERT_EQ(Filtered(stops, {text.substr(0, a), text.substr(a, b - a), text.substr(b)}),
                expected)
          << "cut at " << a << " and " << b;
    }
  }
  Strings letters;
  for (const char c : text) letters.emplace_back(1, c);
  ASSERT_EQ(Filtered(stops, letters), expected);
}

TEST(StopFilter, FindsAStopOverAnyCut) {
  CheckAllCuts({"\nQ:"}, "The answer.\nQ: next\nQ: more");
  CheckAllCuts({"\nQ:"}, "no stop\nQ");
  CheckAllCuts({"x"}, "x");
  CheckAllCuts({"x"}, "");
  CheckAllCuts({}, "anything");
}

// What was held as the beginning of one try can be the middle of the next.
TEST(StopFilter, OverlappingPrefixes) {
  CheckAllCuts({"aab"}, "aaaab!");
  CheckAllCuts({"abab c"}, "ababab c");
  CheckAllCuts({"aab", "ab"}, "aaab");
  CheckAllCuts({"ab", "aab"}, "xaab");
  CheckAllCuts({"aaa"}, "aabaa");
}

TEST(StopFilter, TheFirstWholeStopWins) {
  CheckAllCuts({"late", "early"}, "so early, so late");
  CheckAllCuts({"abc", "b"}, "abc");
  CheckAllCuts({"abcd", "bc"}, "xabcd");
  EXPECT_EQ(Filtered({"late", "early"}, {"so early, so late"}), (Output{"so ", true}));
  EXPECT_EQ(Filtered({"ab", "aab"}, {"xaab"}), (Output{"x", true}));
}

TEST(StopFilter, RandomTexts) {
  std::mt19937 random(3);
  const auto word = [&](size_t most, size_t least) {
    std::string text(least + random() % (most - least + 1), 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int i = 0; i < 1000; ++i) {
    Strings stops(1 + random() % 3);
    for (std::string& stop : stops) stop = word(5, 1);
    CheckAllCuts(stops, word(12, 0));
  }
}

TEST(StopFilter, AfterTheStopNothingComes) {
  StopFilter filter({"stop"});
  EXPECT_EQ(filter.Push("a stop b"), "a ");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.Push("more"), "");
  EXPECT_EQ(filter.Flush(), "");
}

TEST(StopFilter, RefusesAnEmptyStop) { EXPECT_THROW(StopFilter({"a", ""}), Error); }

}  // namespace
}  // namespace pith
