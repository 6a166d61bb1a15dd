// Patterns in Oniguruma's dialect, and what becomes of a text that is cut by matches. Expected
// values are those of the `tokenizers` package.
#include "tokenize/regex.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pith/error.h"
#include "tokenize/split.h"

namespace pith {
namespace {

using Strings = std::vector<std::string>;

// Matches in brackets, the stretches between them bare.
Strings Spans(const Regex& regex, const std::string& text) {
  Strings spans;
  regex.ForEachSpan(text, [&](Span span) {
    const std::string part = text.substr(span.begin, span.end - span.begin);
    spans.push_back(span.is_match ? "[" + part + "]" : part);
  });
  return spans;
}

Strings Spans(const std::string& pattern, const std::string& text) {
  return Spans(Regex(pattern, "t.json: here"), text);
}

TEST(Regex, MatchesAndStretches) {
  EXPECT_EQ(Spans("[0-9]+", "ab12é3"), (Strings{"ab", "[12]", "é", "[3]"}));
  EXPECT_EQ(Spans("[0-9]+", ""), Strings{});
  EXPECT_EQ(Spans("b", "aaa"), Strings{"aaa"});
}

// An empty match counts, but not right after another match.
TEST(Regex, EmptyMatches) {
  EXPECT_EQ(Spans("x*", "éxxb"), (Strings{"[]", "é", "[xx]", "b", "[]"}));
  EXPECT_EQ(Spans("(?=b)", "abb"), (Strings{"a", "[]", "b", "[]", "b"}));
}

TEST(Regex, TheDialectIsOniguruma) {
  EXPECT_EQ(Spans(R"(\w+)", "e\u0301t-"),
            (Strings{"[e\u0301t]", "-"}));  // marks are word characters
  EXPECT_EQ(Spans(R"(\s+)", " \u180e"), (Strings{"[ ]", "\u180e"}));
  EXPECT_EQ(Spans(R"(\h+)", "xfF0 "), (Strings{"x", "[fF0]", " "}));  // hexadecimal, not blank
  EXPECT_EQ(Spans("[a-z&&[^aeiou]]+", "abce"), (Strings{"a", "[bc]", "e"}));
  EXPECT_EQ(Spans("[a[0-9]]+", "a1b"), (Strings{"[a1]", "b"}));
  EXPECT_EQ(Spans("a$", "a\nb"), (Strings{"[a]", "\nb"}));  // $ is the end of a line
  EXPECT_EQ(Spans("^b", "a\nb"), (Strings{"a\n", "[b]"}));
  EXPECT_EQ(Spans("[[:punct:]]+", "a$!+"), (Strings{"a", "[$!+]"}));
  EXPECT_EQ(Spans("[^[:^punct:]]+", "a$!+"), (Strings{"a", "[$!+]"}));
  EXPECT_EQ(Spans("(?i:'LL)", "I'll"), (Strings{"I", "['ll]"}));
}

// Characters of Unicode 15 and 16, whatever the installed library knows.
TEST(Regex, NewerCharacters) {
  EXPECT_EQ(Spans(R"(\p{L}+)", "a\U00010d50\U0002ebf0!"),
            (Strings{"[a\U00010d50\U0002ebf0]", "!"}));
  EXPECT_EQ(Spans(R"(\p{N}+)", "a\U00011bf0"), (Strings{"a", "[\U00011bf0]"}));
  EXPECT_EQ(Spans(R"(\p{Han}+)", "a\U0002ebf0"), (Strings{"a", "[\U0002ebf0]"}));
  // A pattern that names such a character means it.
  EXPECT_EQ(Spans("[\U0001fae9]", "\U0001fae8\U0001fae9"), (Strings{"\U0001fae8", "[\U0001fae9]"}));
}

TEST(Regex, Literal) {
  const std::string text = R"(.*\[^$)";
  EXPECT_EQ(Spans(Regex::Literal(text, "t"), "a" + text), (Strings{"a", "[" + text + "]"}));
  EXPECT_EQ(Spans(Regex::Literal("\U00010000", "t"), "\U00010ec2"), Strings{"\U00010ec2"});
}

TEST(Regex, RefusesBadPatterns) {
  for (const char* pattern : {"(", "[a", "\\p{Nonsense}", "(?<n>\\g<n>)", "\\k<x>"}) {
    try {
      const Regex regex(pattern, "t.json: here");
      ADD_FAILURE() << pattern;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorruptData);
      EXPECT_NE(std::string(error.what()).find("t.json: here"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(Regex("\\p{\x01\x1b[31m}", "t"), Error);
}

// Exponential backtracking runs into a limit instead of running for ever, in one search and in
// many.
TEST(Regex, HostilePatterns) {
  EXPECT_THROW(Spans("(a+)+[!?]", std::string(60, 'a')), Error);
  EXPECT_THROW(Spans("(?:a|aa|aaa)*b|a", std::string(100000, 'a')), Error);
  // Each search stays just below the limit of one, so it is their number that must be bounded.
  std::string near_limit = "(?:";
  for (int i = 0; i < 21; ++i) near_limit += "(?:x|x)";
  near_limit += "y|x)";
  EXPECT_THROW(Spans(near_limit, std::string(10000, 'x')), Error);
}

// What honest patterns do on long runs stays within all limits.
TEST(Regex, LongRuns) {
  const std::string blanks(300000, ' ');
  EXPECT_EQ(Spans(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", blanks + "a").size(), 3u);
}

Strings Split(const std::string& pattern, SplitBehavior behavior, const std::string& text,
              bool invert = false) {
  Strings pieces;
  const Splitter::Piece collect = [&](std::string_view piece) { pieces.emplace_back(piece); };
  Splitter splitter(text, behavior, collect);
  Regex(pattern, "t").ForEachSpan(text, [&](Span span) {
    span.is_match ^= invert;
    splitter.Add(span);
  });
  splitter.Finish();
  return pieces;
}

TEST(Splitter, Behaviors) {
  using enum SplitBehavior;
  const std::string text = "-a--b-";
  EXPECT_EQ(Split("-", kRemoved, text), (Strings{"a", "b"}));
  EXPECT_EQ(Split("-", kIsolated, text), (Strings{"-", "a", "-", "-", "b", "-"}));
  EXPECT_EQ(Split("-", kMergedWithPrevious, text), (Strings{"-", "a-", "-", "b-"}));
  EXPECT_EQ(Split("-", kMergedWithNext, text), (Strings{"-a", "-", "-b", "-"}));
  EXPECT_EQ(Split("-", kContiguous, text), (Strings{"-", "a", "--", "b", "-"}));
}

TEST(Splitter, Inverted) {
  using enum SplitBehavior;
  EXPECT_EQ(Split("[a-z]", kRemoved, "-ab-", true), (Strings{"a", "b"}));
  EXPECT_EQ(Split("[a-z]", kContiguous, "-ab--", true), (Strings{"-", "ab", "--"}));
  EXPECT_EQ(Split("[a-z]", kMergedWithPrevious, "-ab-", true), (Strings{"-", "a", "b-"}));
  EXPECT_EQ(Split("[a-z]", kMergedWithNext, "-ab-", true), (Strings{"-a", "b", "-"}));
}

}  // namespace
}  // namespace pith
