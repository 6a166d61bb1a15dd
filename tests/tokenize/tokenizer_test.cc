// Encode and Decode on small tokenizers whose ids can be told by hand: byte b has id b, "ab" 256,
// "abc" 257. What the whole of Unicode does is the golden test's matter.
#include "tokenize/tokenizer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/utf8.h"
#include "pith/error.h"
#include "tests/tokenize/small_tokenizer.h"

namespace pith {
namespace {

using Ids = std::vector<int32_t>;

TEST(Tokenizer, MergesByRank) {
  const auto tokenizer = Load(SmallTokenizer());
  EXPECT_EQ(tokenizer.Encode(""), Ids{});
  EXPECT_EQ(tokenizer.Encode("a"), Ids{'a'});
  EXPECT_EQ(tokenizer.Encode("abcab"), (Ids{257, 256}));
  EXPECT_EQ(tokenizer.Encode("bab c"), (Ids{'b', 256, ' ', 'c'}));
  EXPECT_EQ(tokenizer.Encode(std::string("\0a\0", 3)), (Ids{0, 'a', 0}));
}

// Equal ranks go from the left: "aaaaa" is (aa)(aa)a.
TEST(Tokenizer, EqualRanksFromTheLeft) {
  const auto tokenizer = Load(SmallTokenizer({{"a", "a"}, {"aa", "a"}}));
  for (const size_t pairs : {1, 2, 10, 24, 25, 500}) {  // short and long words
    const Ids ids = tokenizer.Encode(std::string(2 * pairs + 1, 'a'));
    ASSERT_EQ(ids.size(), pairs);
    EXPECT_EQ(ids.back(), 257);
    for (size_t i = 0; i + 1 < pairs; ++i) EXPECT_EQ(ids[i], 256);
  }
}

// No quadratic path: a quarter of a megabyte in one word, which n² steps would make minutes.
TEST(Tokenizer, LongRuns) {
  StringPairs merges;
  for (std::string run = "a"; run.size() < 64; run += run) merges.emplace_back(run, run);
  const auto tokenizer = Load(SmallTokenizer(merges));
  const size_t n = size_t{1} << 18;
  EXPECT_EQ(tokenizer.Encode(std::string(n, 'a')), Ids(n / 64, 256 + 5));
  EXPECT_EQ(tokenizer.Encode(std::string(n, ' ')), Ids(n, ' '));
  EXPECT_EQ(tokenizer.Encode(std::string(n, ' ') + "b").size(), n + 1);
}

// A run of marks in falling order of class is sorted, in less than quadratic time, by NFC.
TEST(Tokenizer, LongRunOfMarks) {
  Json json = SmallTokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  const auto tokenizer = Load(json);
  std::string marks = "x", sorted = "x";
  for (int i = 0; i < 100000; ++i) marks += "\u0301\u0323";  // classes 230 and 220
  for (int i = 0; i < 100000; ++i) sorted += "\u0323";
  for (int i = 0; i < 100000; ++i) sorted += "\u0301";
  EXPECT_TRUE(tokenizer.Decode(tokenizer.Encode(marks)) == sorted);
}

TEST(Tokenizer, InvalidBytesBecomeReplacementCharacters) {
  const auto tokenizer = Load(SmallTokenizer());
  EXPECT_EQ(tokenizer.Encode("a\xFF"
                             "b"),
            (Ids{'a', 0xEF, 0xBF, 0xBD, 'b'}));
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % 4 == 0 ? random() : 'a');
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(bytes)), ReplaceInvalidUtf8(bytes));
  }
}

TEST(Tokenizer, AddedTokensLeftmostLongest) {
  Json json = SmallTokenizer();
  json["added_tokens"] = {Added(300, "<x>", {"special"}), Added(301, "<x>y", {}),
                          Added(302, "  ", {"normalized"})};
  const auto tokenizer = Load(json);
  EXPECT_EQ(tokenizer.Encode("a<x><x>y<x"), (Ids{'a', 300, 301, '<', 'x'}));
  EXPECT_EQ(tokenizer.Encode("<x>"), Ids{300});
  EXPECT_EQ(tokenizer.Encode("   a"), (Ids{302, ' ', 'a'}));
  EXPECT_EQ(tokenizer.vocab_size(), 303);
  EXPECT_EQ(tokenizer.TokenToId("<x>y"), 301);
  EXPECT_EQ(tokenizer.TokenToId("nothing"), std::nullopt);
  EXPECT_TRUE(tokenizer.IsSpecial(300));
  EXPECT_FALSE(tokenizer.IsSpecial(301));
  EXPECT_EQ(tokenizer.Decode(Ids{300, 'a', 302}), "<x>a  ");
  EXPECT_EQ(tokenizer.Decode(Ids{300, 'a', 302}, /*skip_special=*/true), "a  ");
}

TEST(Tokenizer, AddedTokenFlags) {
  Json json = SmallTokenizer();
  json["added_tokens"] = {Added(300, "<l>", {"lstrip"}), Added(301, "<r>", {"rstrip"}),
                          Added(302, "<w", {"single_word"})};
  const auto tokenizer = Load(json);
  EXPECT_EQ(tokenizer.Encode("a \u3000<l> b"), (Ids{'a', 300, ' ', 'b'}));
  EXPECT_EQ(tokenizer.Encode("a <r> \n\u00a0b"), (Ids{'a', ' ', 301, 'b'}));
  EXPECT_EQ(tokenizer.Encode("<r>  <l>"), (Ids{301, 300}));
  EXPECT_EQ(tokenizer.Encode("<w-<w"), (Ids{302, '-', 302}));
  EXPECT_EQ(tokenizer.Encode("x<w <w_ \u00e9<w"),
            (Ids{'x', '<', 'w', ' ', '<', 'w', '_', ' ', 0xC3, 0xA9, '<', 'w'}));
}

// Tokens that are not normalised see the text as it came; the others see it in form C.
TEST(Tokenizer, AddedTokensAndNormalisation) {
  Json json = SmallTokenizer();
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  json["added_tokens"] = {Added(300, "e\u0301", {"normalized"}), Added(301, "o\u0301", {})};
  const auto tokenizer = Load(json);
  EXPECT_EQ(tokenizer.Encode("\u00e9e\u0301"), (Ids{300, 300}));
  EXPECT_EQ(tokenizer.Encode("o\u0301\u00f3"), (Ids{301, 0xC3, 0xB3}));
}

TEST(Tokenizer, PrefixSpaceAndRegexSwitch) {
  Json json = SmallTokenizer({{"Ġ", "a"}, {"a", "Ġ"}});
  json["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(Load(json).Encode("a a"), (Ids{256, 256}));
  EXPECT_EQ(Load(json).Encode(" a"), Ids{256});
  json["pre_tokenizer"]["add_prefix_space"] = false;
  EXPECT_EQ(Load(json).Encode("aa a"), (Ids{'a', 'a', 256}));
  EXPECT_EQ(Load(json).Encode("a "), (Ids{'a', ' '}));  // a word ends between them
  json["pre_tokenizer"]["use_regex"] = false;
  EXPECT_EQ(Load(json).Encode("a "), Ids{257});
}

TEST(Tokenizer, IgnoreMergesTakesWholeWords) {
  Json json = SmallTokenizer({{"b", "c"}, {"a", "b"}, {"ab", "c"}});
  EXPECT_EQ(Load(json).Encode("abc"), (Ids{'a', 256}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(Load(json).Encode("abc"), Ids{258});
  EXPECT_EQ(Load(json).Encode("abcd"), (Ids{'a', 256, 'd'}));
}

TEST(Tokenizer, EndOfTextIsASpecialToken) {
  Json json = SmallTokenizer();
  EXPECT_EQ(Load(json).end_of_text(), std::nullopt);
  json["added_tokens"] = {Added(300, "<|endoftext|>", {}), Added(301, "<eos>", {"special"}),
                          Added(302, "</s>", {"special"})};
  EXPECT_EQ(Load(json).end_of_text(), 302);
}

TEST(Tokenizer, IdsWithoutTokens) {
  Json json = SmallTokenizer();
  json["added_tokens"] = {Added(400, "<x>", {"special"})};
  const auto tokenizer = Load(json);
  EXPECT_EQ(tokenizer.vocab_size(), 401);
  EXPECT_EQ(tokenizer.TokenBytes(399), "");
  EXPECT_EQ(tokenizer.TokenBytes(INT32_MAX), "");
  EXPECT_EQ(tokenizer.TokenBytes(257), "abc");
  EXPECT_THROW(tokenizer.TokenBytes(-1), Error);
  EXPECT_THROW(tokenizer.Decode(Ids{-1}), Error);
}

// What a stream gives is valid at each step and in all what replacing in the whole gives.
TEST(StreamDecoder, EqualsReplacementInTheWhole) {
  const auto tokenizer = Load(SmallTokenizer());
  std::mt19937 random(9);
  const std::string bytes =
      "\xF0\x9F\x98\x80\xE2\x82\xAC\xC3\xA9\xED\xA0\x80"
      "az";
  for (int i = 0; i < 500; ++i) {
    Ids ids(random() % 12);
    for (int32_t& id : ids) id = static_cast<uint8_t>(bytes[random() % bytes.size()]);
    StreamDecoder stream(tokenizer);
    std::string text;
    for (const int32_t id : ids) text += stream.Push(id);
    EXPECT_EQ(ValidUtf8Prefix(text), text.size());
    EXPECT_EQ(text + stream.Finish(), ReplaceInvalidUtf8(tokenizer.Decode(ids)));
  }
}

TEST(StreamDecoder, HoldsBackNoMoreThanItMust) {
  StreamDecoder stream(Load(SmallTokenizer()));
  EXPECT_EQ(stream.Push(0xE2), "");
  EXPECT_EQ(stream.Push(0x82), "");
  EXPECT_EQ(stream.Push(0xAC), "€");
  EXPECT_EQ(stream.Push('a'), "a");
  EXPECT_EQ(stream.Push(0xE2), "");
  EXPECT_EQ(stream.Push('b'),
            "\uFFFD"
            "b");
  EXPECT_EQ(stream.Push(0xF0), "");
  EXPECT_EQ(stream.Finish(), "\uFFFD");
  EXPECT_EQ(stream.Finish(), "");
}

// Cached words of one tokenizer are never another's, in one thread or in several.
TEST(Tokenizer, ThreadsAndTokenizersDoNotMix) {
  const auto first = Load(SmallTokenizer({{"a", "b"}}));
  const auto second = Load(SmallTokenizer({{"b", "a"}}));
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      const std::string word = std::string(i % 3, 'x') + "abab";
      ASSERT_EQ(first.Encode(word).back(), 256);
      ASSERT_EQ(second.Encode(word).back(), 'b');
    }
  };
  std::thread other(work);
  work();
  other.join();
}

}  // namespace
}  // namespace pith
