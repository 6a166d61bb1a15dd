// Tokenizers as GGUF files, and texts on which they must agree with what they were made from.
#ifndef PITH_TESTS_TOKENIZE_GGUF_VOCABULARY_FILE_H_
#define PITH_TESTS_TOKENIZE_GGUF_VOCABULARY_FILE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "tests/load/gguf_builder.h"
#include "tokenize/tokenizer.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {

// Words, numbers, blanks of all kinds, contractions, marks that compose under NFC, scripts, emoji,
// control and added tokens, broken UTF-8.
inline const std::string kGgufTexts[] = {
    "",
    " ",
    "Hello, world! It's 3.14159 and 1234567 -- they're we'll I'D don't.",
    "  two  spaces\t\ttabs\n\n\nlines\r\n   \n x   ",
    std::string("e\xcc\x81 caf\xc3\xa9 A\xcc\x8a \xe2\x84\xab \xef\xac\x81 ") +
        "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4",
    "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c 123\xe0\xa5\xa7\xe0\xa5\xa8",
    "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa \xf0\x9d\x94\xb8",
    "<|endoftext|>x<|endoftext|><|padding|> <|endof text|> <|endoftext|",
    std::string("a\xff\xfe b\xe2\x82 c\xed\xa0\x80 d") + '\0' + "e",
    std::string(3000, ' ') + "x" + std::string(500, '\n') + std::string(2000, 'a'),
    "def f(x):\n    if x > 0:\n        return '\\n' * 12 #?!;:\n",
    "\xc2\xa0\xe3\x80\x80\xe2\x80\x89thin \xc2\xad soft\xcc\x80\xcc\x81\xcc\x82\xcc\x83"};

class TempFile {
 public:
  explicit TempFile(std::string_view bytes)
      : path_(std::filesystem::temp_directory_path() /
              StrCat("pith-gguf-", getpid(), "-", reinterpret_cast<uintptr_t>(this), ".gguf")) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TempFile() { std::filesystem::remove(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline testing::GgufTestFile FileOf(const GgufVocabulary& vocabulary) {
  testing::GgufTestFile file;
  file.Set("tokenizer.ggml.model", testing::GgufText(vocabulary.pieces ? "llama" : "gpt2"));
  file.Set("tokenizer.ggml.pre", testing::GgufText(vocabulary.pre));
  file.Set("tokenizer.ggml.tokens", testing::GgufTexts(vocabulary.tokens));
  std::vector<int32_t> types;
  for (const GgufTokenType type : vocabulary.types) types.push_back(static_cast<int32_t>(type));
  file.Set("tokenizer.ggml.token_type", testing::GgufInts(types));
  if (vocabulary.pieces) {
    file.Set("tokenizer.ggml.scores", testing::GgufFloats(vocabulary.scores));
    file.Set("tokenizer.ggml.add_space_prefix", testing::GgufBool(vocabulary.add_space_prefix));
  } else {
    file.Set("tokenizer.ggml.merges", testing::GgufTexts(vocabulary.merges));
  }
  return file;
}

inline Tokenizer LoadGguf(const testing::GgufTestFile& file) {
  const TempFile stored(file.Bytes());
  return Tokenizer::FromFile(stored.path());
}

inline std::string MessageOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

inline void ExpectSameIds(const std::string& json, int64_t size, const std::string& pre) {
  const Tokenizer original = Tokenizer::FromJson(json, "tokenizer.json");
  const GgufVocabulary vocabulary = ToGgufVocabulary(json, "tokenizer.json", size);
  EXPECT_EQ(vocabulary.pre, pre);
  const Tokenizer from_file = LoadGguf(FileOf(vocabulary));
  EXPECT_EQ(from_file.end_of_text(), original.end_of_text());
  EXPECT_EQ(from_file.vocab_size(), original.vocab_size());
  for (const std::string& text : kGgufTexts) {
    const std::vector<int32_t> ids = original.Encode(text);
    EXPECT_EQ(from_file.Encode(text), ids) << text.substr(0, 80);
    EXPECT_EQ(from_file.Decode(ids), original.Decode(ids)) << text.substr(0, 80);
    EXPECT_EQ(from_file.Decode(ids, true), original.Decode(ids, true)) << text.substr(0, 80);
  }
}

}  // namespace pith

#endif  // PITH_TESTS_TOKENIZE_GGUF_VOCABULARY_FILE_H_
