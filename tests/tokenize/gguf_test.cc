// The tokenizer of a GGUF file: its ids are those of the tokenizer.json that it was made from, and
// what such a file cannot say, or says wrongly, is refused by name.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/gguf_writer.h"
#include "core/xz.h"
#include "tests/load/gguf_builder.h"
#include "tests/tokenize/small_tokenizer.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using testing::GgufTestFile;

// Words, numbers, blanks of all kinds, contractions, marks that compose under NFC, scripts, emoji,
// control and added tokens, broken UTF-8.
const std::string kTexts[] = {
    "",
    " ",
    "Hello, world! It's 3.14159 and 1234567 -- they're we'll I'D don't.",
    "  two  spaces\t\ttabs\n\n\nlines\r\n   \n x   ",
    "e\xcc\x81 caf\xc3\xa9 A\xcc\x8a \xe2\x84\xab \xef\xac\x81 "
    "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4",
    "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c 123\xe0\xa5\xa7\xe0\xa5\xa8",
    "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa \xf0\x9d\x94\xb8",
    "<|endoftext|>x<|endoftext|><|padding|> <|endof text|> <|endoftext|",
    "a\xff\xfe b\xe2\x82 c\xed\xa0\x80 d\x00"
    "e",
    std::string(3000, ' ') + "x" + std::string(500, '\n') + std::string(2000, 'a'),
    "def f(x):\n    if x > 0:\n        return '\\n' * 12 #?!;:\n",
    "\xc2\xa0\xe3\x80\x80\xe2\x80\x89thin \xc2\xad soft\xcc\x80\xcc\x81\xcc\x82\xcc\x83"};

class TempFile {
 public:
  explicit TempFile(std::string_view bytes)
      : path_(fs::temp_directory_path() /
              StrCat("pith-gguf-", getpid(), "-", reinterpret_cast<uintptr_t>(this), ".gguf")) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TempFile() { fs::remove(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

GgufTestFile FileOf(const GgufVocabulary& vocabulary) {
  GgufTestFile file;
  file.Set("tokenizer.ggml.model", testing::GgufText("gpt2"));
  file.Set("tokenizer.ggml.pre", testing::GgufText(vocabulary.pre));
  file.Set("tokenizer.ggml.tokens", testing::GgufTexts(vocabulary.tokens));
  std::vector<int32_t> types;
  for (const GgufTokenType type : vocabulary.types) types.push_back(static_cast<int32_t>(type));
  file.Set("tokenizer.ggml.token_type", testing::GgufInts(types));
  file.Set("tokenizer.ggml.merges", testing::GgufTexts(vocabulary.merges));
  return file;
}

Tokenizer Load(const GgufTestFile& file) {
  const TempFile stored(file.Bytes());
  return Tokenizer::FromFile(stored.path());
}

void ExpectSameIds(const std::string& json, int64_t size, const std::string& pre) {
  const Tokenizer original = Tokenizer::FromJson(json, "tokenizer.json");
  const GgufVocabulary vocabulary = ToGgufVocabulary(json, "tokenizer.json", size);
  EXPECT_EQ(vocabulary.pre, pre);
  const Tokenizer from_file = Load(FileOf(vocabulary));
  EXPECT_EQ(from_file.end_of_text(), original.end_of_text());
  EXPECT_EQ(from_file.vocab_size(), original.vocab_size());
  for (const std::string& text : kTexts) {
    const std::vector<int32_t> ids = original.Encode(text);
    EXPECT_EQ(from_file.Encode(text), ids) << text.substr(0, 80);
    EXPECT_EQ(from_file.Decode(ids), original.Decode(ids)) << text.substr(0, 80);
    EXPECT_EQ(from_file.Decode(ids, true), original.Decode(ids, true)) << text.substr(0, 80);
  }
}

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
  EXPECT_EQ(Load(FileOf(vocabulary)).Encode("e\xcc\x81").size(), 2u);
  vocabulary.pre = "gpt-2";
  EXPECT_EQ(Load(FileOf(vocabulary)).Encode("e\xcc\x81").size(), 3u);
}

TEST(GgufTokenizer, AddedTokensKeepTheirKind) {
  Json json = SmallTokenizer();
  json["added_tokens"] = {{{"id", 290}, {"content", "<|endoftext|>"}, {"special", true}},
                          {{"id", 270}, {"content", "   "}, {"special", false}}};
  ExpectSameIds(json.dump(), 320, "gpt-2");
}

std::string MessageOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

TEST(GgufTokenizer, WhatAFileCannotSayIsRefused) {
  const auto refuse = [](auto change, const std::string& part) {
    Json json = SmallTokenizer();
    change(json);
    const std::string message = MessageOf([&] { ToGgufVocabulary(json.dump(), "t.json", 300); });
    EXPECT_NE(message.find("t.json: " + part), std::string::npos) << message;
  };
  refuse([](Json& j) { j["normalizer"] = {{"type", "NFKC"}}; }, "pre_tokenizer: got");
  refuse([](Json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; }, "pre_tokenizer: got");
  refuse([](Json& j) { j["decoder"] = {{"type", "Fuse"}}; }, "decoder: got");
  refuse([](Json& j) { j["model"]["ignore_merges"] = true; }, "model: got");
  refuse([](Json& j) { j["model"]["unk_token"] = "a"; }, "model: got");
  for (const char* flag : {"lstrip", "rstrip", "single_word", "normalized"}) {
    refuse(
        [&](Json& j) {
          j["added_tokens"] = {{{"id", 290}, {"content", "<x>"}, {"special", true}, {flag, true}}};
        },
        "added_tokens: \"<x>\": got");
  }
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
    const std::string message = MessageOf([&] { Load(file); });
    EXPECT_NE(message.find(".gguf: " + part), std::string::npos) << message;
  };
  using File = GgufTestFile;
  using Vocabulary = GgufVocabulary;
  refuse([](File& f) { f.Set("tokenizer.ggml.model", testing::GgufText("llama")); },
         "tokenizer.ggml.model: got \"llama\", expected \"gpt2\"");
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
