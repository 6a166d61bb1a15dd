// The tokenizer of a GGUF file: its ids are those of the tokenizer.json that it was made from, and
// what such a file cannot say, or says wrongly, is refused by name.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/xz.h"
#include "tests/load/gguf_builder.h"
#include "tests/tokenize/gguf_vocabulary_file.h"
#include "tests/tokenize/small_tokenizer.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using testing::GgufTestFile;

TEST(GgufTokenizer, ShippedTokenizersKeepTheirIds) {
  const fs::path root = PITH_SOURCE_DIR;
  for (const char* name : {"pith-27m-mamba2", "pith-13m-mamba1"}) {
    SCOPED_TRACE(name);
    ExpectSameIds(ReadDataFile(root / "models" / name / "tokenizer.json"), 8192, "gpt-2");
  }
  ExpectSameIds(ReadDataFile(root / "data/tokenizer/gpt-neox-20b.tokenizer.json.xz"), 50288,
                "olmo");
}

TEST(GgufTokenizer, EveryPreTokenizerIsThatOfItsJson) {
  Json json = SmallTokenizer({{"1", "2"}, {"12", "3"}, {"\xc4\xa0", "a"}, {"!", "!"}});
  json["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Punctuation"}, {"behavior", "Contiguous"}},
                             {{"type", "ByteLevel"}, {"add_prefix_space", false}},
                             {{"type", "Digits"}, {"individual_digits", false}},
                             {{"type", "Split"},
                              {"pattern", {{"Regex", "[0-9][0-9][0-9]"}}},
                              {"behavior", "Isolated"}}}}};
  ExpectSameIds(json.dump(), 300, "falcon");
  json = SmallTokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  ExpectSameIds(json.dump(), 300, "olmo");
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  ExpectSameIds(json.dump(), 300, "olmo");
  // "mpt" is the same; llama.cpp's converter writes it with a vocabulary of its own.
  GgufVocabulary vocabulary = ToGgufVocabulary(json.dump(), "t", 300);
  vocabulary.pre = "mpt";
  EXPECT_EQ(LoadGguf(FileOf(vocabulary)).Encode("e\xcc\x81").size(), 2u);
  vocabulary.pre = "gpt-2";
  EXPECT_EQ(LoadGguf(FileOf(vocabulary)).Encode("e\xcc\x81").size(), 3u);
}

TEST(GgufTokenizer, AddedTokensKeepTheirKind) {
  Json json = SmallTokenizer();
  json["added_tokens"] = {{{"id", 290}, {"content", "<|endoftext|>"}, {"special", true}},
                          {{"id", 270}, {"content", "   "}, {"special", false}}};
  ExpectSameIds(json.dump(), 320, "gpt-2");
  // Without a normaliser it does not matter in which text they are looked for.
  json["added_tokens"] = {Added(290, "<|endoftext|>", {"special"}), Added(270, "   ", {})};
  ExpectSameIds(json.dump(), 320, "gpt-2");
}

TEST(GgufTokenizer, WhatAFileCannotSayIsRefused) {
  const auto refuse = [](auto change, const std::string& part) {
    Json json = SmallTokenizer();
    change(json);
    const std::string message = MessageOf([&] { ToGgufVocabulary(json.dump(), "t.json", 300); });
    EXPECT_NE(message.find("t.json: " + part), std::string::npos) << message;
  };
  refuse([](Json& j) { j["model"]["byte_fallback"] = true; }, "model: vocab: no \"<0x00>\"");
  refuse([](Json& j) { j["normalizer"] = {{"type", "NFKC"}}; }, "pre_tokenizer: got");
  refuse([](Json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; }, "pre_tokenizer: got");
  refuse([](Json& j) { j["decoder"] = {{"type", "Fuse"}}; }, "decoder: got");
  refuse([](Json& j) { j["model"]["ignore_merges"] = true; }, "pre_tokenizer: got");
  refuse([](Json& j) { j["model"]["unk_token"] = "a"; }, "model: got");
  for (const char* flag : {"lstrip", "rstrip", "single_word", "normalized"}) {
    refuse(
        [&](Json& j) {
          j["added_tokens"] = {{{"id", 290}, {"content", "<x>"}, {"special", true}, {flag, true}}};
        },
        "added_tokens: \"<x>\": got");
  }
  // "a<" and "<x>" share a part of "a<x>", which goes to the one that is looked for first.
  refuse(
      [](Json& j) {
        j["added_tokens"] = {Added(290, "<x>", {"special"}), Added(291, "a<", {})};
      },
      "added_tokens: \"a<\": got");
  Json json = SmallTokenizer();
  const std::string message = MessageOf([&] { ToGgufVocabulary(json.dump(), "t.json", 257); });
  EXPECT_NE(message.find("ids up to 257, expected at most 256"), std::string::npos) << message;
}

TEST(GgufTokenizer, WrongFilesAreRefusedByName) {
  const GgufVocabulary good = ToGgufVocabulary(SmallTokenizer().dump(), "t", 260);
  const auto refuse = [&](auto change, const std::string& part) {
    GgufVocabulary vocabulary = good;
    GgufTestFile file;
    if constexpr (std::is_invocable_v<decltype(change), GgufVocabulary&>) {
      change(vocabulary);
      file = FileOf(vocabulary);
    } else {
      file = FileOf(vocabulary);
      change(file);
    }
    const std::string message = MessageOf([&] { LoadGguf(file); });
    EXPECT_NE(message.find(".gguf: " + part), std::string::npos) << message;
  };
  using File = GgufTestFile;
  using Vocabulary = GgufVocabulary;
  refuse([](File& f) { f.Set("tokenizer.ggml.model", testing::GgufText("no_vocab")); },
         "the file brings no tokenizer");
  refuse([](File& f) { f.Remove("tokenizer.ggml.model"); }, "the file brings no tokenizer");
  refuse([](Vocabulary& v) { v.pre = "default"; },
         "tokenizer.ggml.pre: got \"default\", expected one");
  refuse([](File& f) { f.Remove("tokenizer.ggml.pre"); }, "tokenizer.ggml.pre: missing");
  refuse([](File& f) { f.Remove("tokenizer.ggml.tokens"); }, "tokenizer.ggml.tokens: missing");
  refuse([](File& f) { f.Remove("tokenizer.ggml.merges"); }, "tokenizer.ggml.merges: missing");
  refuse([](File& f) { f.Set("tokenizer.ggml.magic", testing::GgufUint32(1)); },
         "tokenizer.ggml.magic: got 1, but this key is not known");
  refuse([](File& f) { f.Set("tokenizer.ggml.tokens", testing::GgufTexts({})); },
         "tokenizer.ggml.tokens: got 0");
  refuse([](Vocabulary& v) { v.tokens[3] = ""; }, "tokenizer.ggml.tokens[3]: got");
  refuse([](Vocabulary& v) { v.tokens[3] = "\xff"; }, "tokenizer.ggml.tokens[3]: got");
  refuse([](Vocabulary& v) { v.tokens[3] = v.tokens[2]; }, "tokenizer.ggml.tokens[3]: ");
  refuse([](Vocabulary& v) { v.types.pop_back(); },
         "tokenizer.ggml.token_type: got 259 types, expected 260");
  refuse([](Vocabulary& v) { v.types[3] = static_cast<GgufTokenType>(7); },
         "tokenizer.ggml.token_type[3]: got 7");
  refuse([](Vocabulary& v) { v.types[3] = GgufTokenType::kByte; },
         "tokenizer.ggml.tokens[3]: got a token of type 6");
  refuse(
      [](Vocabulary& v) {
        v.types[3] = GgufTokenType::kControl;
        v.tokens[3] = std::string(2000, 'x');
      },
      "tokenizer.ggml.tokens[3]: got an added token of 2000 bytes");
  refuse([](Vocabulary& v) { v.merges[0] = "ab"; }, "tokenizer.ggml.merges[0]: got");
  refuse([](Vocabulary& v) { v.merges[0] = "a \xff"; }, "tokenizer.ggml.merges[0]: ");
  refuse([](Vocabulary& v) { v.merges[1] = "a z"; }, "tokenizer.ggml.merges[1]: \"az\" is not");
  refuse([](Vocabulary& v) { v.merges[1] = v.merges[0]; }, "tokenizer.ggml.merges[1]: ");
}

}  // namespace
}  // namespace pith
