// SentencePiece's vocabularies in GGUF files: ids of the files that pieces-*.gguf.xz hold, as the
// gguf package wrote them, against llama.cpp's and sentencepiece's (tools/golden/gguf_pieces.py);
// small ones by hand; what such a file says wrongly; and tokenizer.json files as such vocabularies.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "core/xz.h"
#include "tests/load/gguf_builder.h"
#include "tests/tokenize/gguf_vocabulary_file.h"
#include "tests/tokenize/small_tokenizer.h"
#include "tokenize/gguf_pieces.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {
namespace {

using testing::GgufTestFile;
using Ids = std::vector<int32_t>;

std::string Stored(const std::string& name) {
  return ReadDataFile(PITH_SOURCE_DIR "/tests/tokenize/" + name, int64_t{64} << 20);
}

class GgufPieces : public ::testing::TestWithParam<const char*> {};

TEST_P(GgufPieces, GiveTheIdsOfLlamaCppAndSentencePiece) {
  const TempFile file(Stored(StrCat("pieces-", GetParam(), ".gguf.xz")));
  const Tokenizer tokenizer = Tokenizer::FromFile(file.path());
  const Json golden = ParseJson(Stored("pieces.json.xz"), "pieces.json.xz");
  const Json& given = golden["files"][GetParam()];
  const Json& texts = golden["texts"];
  ASSERT_EQ(tokenizer.end_of_text(), 2);
  size_t compared = 0;
  for (const char* peer : {"llama.cpp", "sentencepiece"}) {
    if (given[peer].is_null()) continue;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (given[peer][i].is_null()) continue;  // sentencepiece: added tokens; llama.cpp: no bytes
      const auto text = texts[i].get<std::string>();
      EXPECT_EQ(tokenizer.Encode(text), given[peer][i].get<Ids>()) << peer << ": " << texts[i];
      ++compared;
    }
  }
  EXPECT_GT(compared, 150u);
}

INSTANTIATE_TEST_SUITE_P(Files, GgufPieces,
                         ::testing::Values("prefix", "equal-scores", "no-prefix", "no-bytes"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// <unk>, <s>, </s>, the bytes from id 3 on, then these pieces.
struct Piece {
  std::string text;
  float score;
  GgufTokenType type = GgufTokenType::kNormal;
};
constexpr int32_t kFirst = 259;

GgufVocabulary Pieces(const std::vector<Piece>& pieces, bool bytes = true) {
  GgufVocabulary v{.pieces = true, .pre = "default"};
  const auto add = [&](const std::string& text, float score, GgufTokenType type) {
    v.tokens.push_back(text);
    v.scores.push_back(score);
    v.types.push_back(type);
  };
  add("<unk>", 0, GgufTokenType::kUnknown);
  add("<s>", 0, GgufTokenType::kControl);
  add("</s>", 0, GgufTokenType::kControl);
  for (int byte = 0; byte < 256 && bytes; ++byte) {
    add(Bpe::FallbackSpelling(byte), 0, GgufTokenType::kByte);
  }
  for (const Piece& piece : pieces) add(piece.text, piece.score, piece.type);
  return v;
}

Ids Encoded(const std::vector<Piece>& pieces, const std::string& text) {
  Ids ids = LoadGguf(FileOf(Pieces(pieces))).Encode(text);
  for (int32_t& id : ids) id -= kFirst;
  return ids;
}

// Each of 33 characters in runs of all lengths: 4 million pairs that would be one piece.
TEST(GgufPiecesByHand, WhatMergesInMillionsOfWaysIsRefused) {
  std::vector<Piece> runs;
  for (char c = 'A'; c < 'A' + 33; ++c) {
    for (size_t n = 1; n <= 512; ++n) runs.push_back({std::string(n, c), -1.0f});
  }
  const std::string message = MessageOf([&] { LoadGguf(FileOf(Pieces(runs))); });
  EXPECT_NE(message.find("got pieces that merge in more than 4194304 ways"), std::string::npos)
      << message;
}

TEST(GgufPiecesByHand, TheHighestScoreMergesFirstThenTheLeftmost) {
  // ids            0           1          2          3           4            5
  const std::vector<Piece> abc = {{"▁", -9}, {"a", -9},  {"b", -9},
                                  {"c", -9}, {"ab", -2}, {"bc", -1}};
  EXPECT_EQ(Encoded(abc, "abc"), (Ids{0, 1, 5}));
  std::vector<Piece> equal = abc;
  equal[4].score = equal[5].score = -1;
  EXPECT_EQ(Encoded(equal, "abc"), (Ids{0, 4, 3}));
  // A piece that no cut makes is never made, and one is made of any two pieces.
  std::vector<Piece> whole = abc;
  whole.push_back({"▁abc", -3});
  EXPECT_EQ(Encoded(whole, "abc"), (Ids{0, 1, 5}));
  whole.push_back({"abc", -4});
  EXPECT_EQ(Encoded(whole, "abc"), (Ids{6}));
}

// All cuts of a piece have its score, whichever comes first in the vocabulary.
TEST(GgufPiecesByHand, CutsOfOnePieceHaveOneRank) {
  const std::vector<Piece> runs = {{"a", -9}, {"aa", -1}, {"aaa", -2}, {"x", -9}, {"▁", -9}};
  EXPECT_EQ(Encoded(runs, "aaaax"), (Ids{4, 1, 1, 3}));
  EXPECT_EQ(Encoded(runs, "aaaaax"), (Ids{4, 1, 2, 3}));
}

TEST(GgufPiecesByHand, PrefixAndBytes) {
  GgufVocabulary v =
      Pieces({{"▁", -9}, {"a", -9}, {"▁a", -1}, {"<x>", -5, GgufTokenType::kUserDefined}});
  Tokenizer read = LoadGguf(FileOf(v));
  EXPECT_EQ(read.Encode(""), (Ids{}));
  EXPECT_EQ(read.Encode("a"), (Ids{kFirst + 2}));
  EXPECT_EQ(read.Encode(" a"), (Ids{kFirst, kFirst + 2}));
  EXPECT_EQ(read.Encode("a<x>a"), (Ids{kFirst + 2, kFirst + 3, kFirst + 2}));
  EXPECT_EQ(read.Encode("<s>\xc3\xa9"), (Ids{1, kFirst, 3 + 0xc3, 3 + 0xa9}));
  EXPECT_EQ(read.Decode(read.Encode(" a\xc3\xa9<x>")), " a\xc3\xa9<x>");
  EXPECT_EQ(read.Decode(Ids{kFirst + 2, kFirst + 2}), "a a");
  EXPECT_TRUE(read.IsSpecial(1));
  EXPECT_FALSE(read.IsSpecial(kFirst + 3));
  v.add_space_prefix = false;
  read = LoadGguf(FileOf(v));
  EXPECT_EQ(read.Encode("a"), (Ids{kFirst + 1}));
  EXPECT_EQ(read.Decode(Ids{kFirst + 2, kFirst + 2}), " a a");
  GgufTestFile file = FileOf(v);
  file.Remove("tokenizer.ggml.add_space_prefix");
  EXPECT_EQ(LoadGguf(file).Encode("a"), (Ids{kFirst + 2}));
}

// What llama.cpp does not read in such files either.
TEST(GgufPiecesByHand, KeysWithoutEffect) {
  GgufTestFile file = FileOf(Pieces({{"▁", -9}, {"a", -9}, {"▁a", -1}}));
  file.Set("tokenizer.ggml.merges", testing::GgufTexts({"no merge"}));
  file.Set("tokenizer.ggml.add_bos_token", testing::GgufBool(true));
  for (const char* pre : {"default", "llama-spm"}) {
    file.Set("tokenizer.ggml.pre", testing::GgufText(pre));
    EXPECT_EQ(LoadGguf(file).Encode("a"), (Ids{kFirst + 2}));
  }
  file.Remove("tokenizer.ggml.pre");
  EXPECT_EQ(LoadGguf(file).Encode("a"), (Ids{kFirst + 2}));
  file.Set("tokenizer.ggml.scores", testing::GgufInts(std::vector<int32_t>(kFirst + 3, -7)));
  EXPECT_EQ(LoadGguf(file).Encode("a"), (Ids{kFirst + 2}));
}

// A run of unknown characters is one token, as sentencepiece has it.
TEST(GgufPiecesByHand, WithoutBytesTheUnknownTokenStands) {
  const GgufVocabulary v = Pieces({{"▁", -9}, {"a", -9}}, /*bytes=*/false);
  EXPECT_EQ(LoadGguf(FileOf(v)).Encode("a\xc3\xa9\xc3\xa8"), (Ids{3, 4, 0}));
}

// Added tokens are found before anything merges, so their characters need no tokens.
TEST(GgufPiecesByHand, AddedTokensNeedNoCharacters) {
  const Piece added{"\xc3\xa9\n", -1, GgufTokenType::kUserDefined};
  EXPECT_EQ(Encoded({{"▁", -9}, added}, "\xc3\xa9\n"), (Ids{1}));
  const GgufVocabulary v = Pieces({{"▁", -9}, {"\xc3\xa9\n", -1}});
  const std::string message = MessageOf([&] { LoadGguf(FileOf(v)); });
  EXPECT_NE(message.find("tokenizer.ggml.tokens[260]: got"), std::string::npos) << message;
  EXPECT_NE(message.find("is no token"), std::string::npos) << message;
}

TEST(GgufPiecesByHand, WrongFilesAreRefusedByName) {
  const GgufVocabulary good = Pieces({{"▁", -9}, {"a", -9}, {"▁a", -1}});
  const auto refuse = [&](auto change, const std::string& part) {
    GgufTestFile file;
    if constexpr (std::is_invocable_v<decltype(change), GgufVocabulary&>) {
      GgufVocabulary vocabulary = good;
      change(vocabulary);
      file = FileOf(vocabulary);
    } else {
      file = FileOf(good);
      change(file);
    }
    const std::string message = MessageOf([&] { LoadGguf(file); });
    EXPECT_NE(message.find(".gguf: tokenizer.ggml." + part), std::string::npos) << message;
  };
  using File = GgufTestFile;
  using Vocabulary = GgufVocabulary;
  refuse([](File& f) { f.Remove("tokenizer.ggml.scores"); }, "scores: missing");
  refuse([](File& f) { f.Set("tokenizer.ggml.scores", testing::GgufTexts({"a"})); },
         "scores: got an array of 1, expected an array of numbers");
  refuse([](File& f) { f.Set("tokenizer.ggml.scores", testing::GgufFloat32(1)); },
         "scores: got 1, expected an array of numbers");
  refuse([](Vocabulary& v) { v.scores.pop_back(); }, "scores: got 261 scores, expected 262");
  refuse([](Vocabulary& v) { v.scores.push_back(0); }, "scores: got 263 scores, expected 262");
  refuse([](Vocabulary& v) { v.scores[260] = std::nanf(""); }, "scores[260]: got NaN");
  refuse([](Vocabulary& v) { v.types[260] = GgufTokenType::kByte; },
         "tokens[260]: got \"a\" of type 6 (byte), expected one of");
  refuse([](Vocabulary& v) { v.tokens[13] = "<0x0a>"; }, "tokens[13]: got \"<0x0a>\" of type 6");
  refuse([](Vocabulary& v) { v.tokens[13] = "<0x0B>"; },
         "tokens[14]: \"<0x0B>\" is the text of an");
  refuse(
      [](Vocabulary& v) {
        v.tokens[13] = "x";
        v.types[13] = GgufTokenType::kNormal;
      },
      "tokens: no \"<0x0A>\", expected all bytes");
  refuse([](Vocabulary& v) { v.types[13] = GgufTokenType::kUnused; },
         "tokens: no \"<0x0A>\", expected all bytes");
  refuse(
      [](Vocabulary& v) {
        v = Pieces({{"▁", -9}}, /*bytes=*/false);
        v.types[0] = GgufTokenType::kControl;
      },
      "tokens: no \"<0x00>\", and no token of type 2");
  refuse([](Vocabulary& v) { v.tokens[261] = std::string(513, 'a'); },
         "tokens[261]: got 513 bytes, expected at most 512");
  refuse([](Vocabulary& v) { v.tokens[261] = "\xff"; }, "tokens[261]: got");
  refuse([](File& f) { f.Set("tokenizer.ggml.add_space_prefix", testing::GgufUint32(1)); },
         "add_space_prefix: got 1, expected true or false");
  refuse([](File& f) { f.Set("tokenizer.ggml.remove_extra_whitespaces", testing::GgufBool(true)); },
         "remove_extra_whitespaces: got true, but this key is not known");
  for (const char* model : {"bert", "t5", "rwkv", "plamo2", "gemma4"}) {
    refuse([&](File& f) { f.Set("tokenizer.ggml.model", testing::GgufText(model)); },
           StrCat("model: got \"", model, "\", expected \"gpt2\" or \"llama\"; with the model's"));
  }
}

// Llama 2's tokenizer.json, small: `merges` by rank, of the characters a to e and the mark.
Json PiecesJson(const StringPairs& merges) {
  Json vocab = Json::object();
  const auto add = [&](const std::string& token) {
    const size_t next = vocab.size();
    if (!vocab.contains(token)) vocab[token] = next;
  };
  for (const char* token : {"<unk>", "<s>", "</s>"}) add(token);
  for (int byte = 0; byte < 256; ++byte) add(Bpe::FallbackSpelling(byte));
  for (const char* token : {"▁", "a", "b", "c", "d", "e"}) add(token);
  Json list = Json::array();
  for (const auto& [left, right] : merges) {
    list.push_back({left, right});
    add(left + right);
  }
  Json json = SmallTokenizer();
  json["added_tokens"] = {Added(0, "<unk>", {"special"}), Added(1, "<s>", {"special"}),
                          Added(2, "</s>", {"special"}), Added(280, "<x>", {})};
  json["normalizer"] = ParseJson(kPiecesWithPrefix.normalizer, "normalizer");
  json["pre_tokenizer"] = nullptr;
  json["decoder"] = ParseJson(kPiecesWithPrefix.decoder, "decoder");
  json["model"] = {{"type", "BPE"},         {"unk_token", "<unk>"}, {"fuse_unk", true},
                   {"byte_fallback", true}, {"vocab", vocab},       {"merges", list}};
  return json;
}

const StringPairs kMerges = {{"a", "b"},   {"▁", "ab"},   {"c", "d"},
                             {"ab", "cd"}, {"▁ab", "cd"}, {"▁", "abcd"}};

TEST(GgufPiecesWritten, ATokenizerKeepsItsIds) {
  ExpectSameIds(PiecesJson(kMerges).dump(), 300, "default");
  Json json = PiecesJson(kMerges);
  json["normalizer"] = ParseJson(kPiecesWithoutPrefix.normalizer, "normalizer");
  json["decoder"] = ParseJson(kPiecesWithoutPrefix.decoder, "decoder");
  ExpectSameIds(json.dump(), 300, "default");
  const GgufVocabulary v = ToGgufVocabulary(json.dump(), "t", 300);
  EXPECT_FALSE(v.add_space_prefix);
  EXPECT_EQ(v.types[3], GgufTokenType::kByte);
  EXPECT_EQ(v.types[290], GgufTokenType::kUnused);
  const Tokenizer original = Load(json), read = LoadGguf(FileOf(v));
  for (const char* text :
       {"abcd", "aabbccdd", "abcdab cd  abcd", "<x>ab<s>cd", "babcd e\xc3\xa9"}) {
    EXPECT_EQ(read.Encode(text), original.Encode(text)) << text;
  }
  // The same again from the file.
  const TempFile file(FileOf(v).Bytes());
  const MappedFile mapped(file.path());
  const GgufVocabulary again = ToGgufVocabulary(Gguf(mapped.bytes(), "f"), 300);
  EXPECT_TRUE(again.pieces);
  EXPECT_EQ(again.scores, v.scores);
  EXPECT_EQ(again.add_space_prefix, v.add_space_prefix);
}

// Llama 2's file has every cut of a piece among its merges; which of them merges does not matter.
TEST(GgufPiecesWritten, AllCutsOfAPieceAreOneScore) {
  for (const auto& last : {std::pair{"a", "bc"}, {"ab", "c"}}) {
    const auto other = last.first[1] == 0 ? std::pair{"ab", "c"} : std::pair{"a", "bc"};
    const Json json = PiecesJson(
        {{"a", "b"}, {"b", "c"}, {other.first, other.second}, {last.first, last.second}});
    ExpectSameIds(json.dump(), 300, "default");
    const Tokenizer original = Load(json);
    const Tokenizer read = LoadGguf(FileOf(ToGgufVocabulary(json.dump(), "t", 300)));
    for (const char* text : {"abc", "aabcbc", "abcabc", "bcabc abc"}) {
      EXPECT_EQ(read.Encode(text), original.Encode(text)) << text;
    }
  }
}

TEST(GgufPiecesWritten, WhatAFileCannotSayIsRefused) {
  const auto refuse = [](const Json& json, const std::string& part) {
    const std::string message = MessageOf([&] { ToGgufVocabulary(json.dump(), "t.json", 300); });
    EXPECT_NE(message.find("t.json: " + part), std::string::npos) << message;
  };
  const auto changed = [](const std::function<void(Json&)>& change) {
    Json json = PiecesJson(kMerges);
    change(json);
    return json;
  };
  const Json metaspace = {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}};
  refuse(changed([&](Json& j) {
           j["normalizer"] = nullptr;
           j["pre_tokenizer"] = metaspace;
         }),
         "normalizer: got null with the pre_tokenizer {");
  refuse(changed([&](Json& j) { j["pre_tokenizer"] = metaspace; }), "normalizer: got");
  refuse(changed([](Json& j) { j["decoder"]["decoders"].erase(3); }), "normalizer: got");
  refuse(changed([](Json& j) { j["model"]["ignore_merges"] = true; }),
         "model: got byte_fallback with");
  refuse(changed([](Json& j) { j["model"]["vocab"].erase("<0x41>"); }),
         "model: vocab: no \"<0x41>\"");
  refuse(changed([](Json& j) { j["added_tokens"][0]["normalized"] = true; }),
         "added_tokens: \"<unk>\": got");
  refuse(changed([](Json& j) { j["added_tokens"][3]["lstrip"] = true; }),
         "added_tokens: \"<x>\": got");
  refuse(changed([](Json& j) { j["added_tokens"].push_back(Added(3, "<0x00>", {"special"})); }),
         "added_tokens: \"<0x00>\": got an added token, expected a byte");
  refuse(PiecesJson({{"<s>", "a"}}), "model: merges: \"<s>\" is a special token or a byte");
  refuse(PiecesJson({{"<0x41>", "a"}}), "model: merges: \"<0x41>\" is a special token or a byte");
  // "abc" of "ab" and "c", before "bc"; then of "a" and "bc".
  refuse(PiecesJson({{"a", "b"}, {"ab", "c"}, {"b", "c"}, {"a", "bc"}}),
         "model: merges: those that make \"abc\" are apart");
  // "bd" is one as soon as it is a piece, and "abd" then never comes of "ab".
  refuse(changed([](Json& j) { j["model"]["vocab"]["bd"] = 275; }),
         "model: merges: \"bd\" becomes other tokens");
}

// Of two cuts with one score the one on the left merges, whatever rank says.
TEST(GgufPiecesWritten, APieceThatAnotherCutWouldMakeIsRefused) {
  // By rank "abcd" is never made: "bc" takes its parts. By score "a" and "bcd" would be it.
  const Json json = PiecesJson({{"b", "c"}, {"bc", "d"}, {"a", "b"}, {"c", "d"}, {"ab", "cd"}});
  const std::string message = MessageOf([&] { ToGgufVocabulary(json.dump(), "t.json", 300); });
  EXPECT_NE(message.find("merges: \"abcd\" becomes other tokens"), std::string::npos) << message;
}

}  // namespace
}  // namespace pith
