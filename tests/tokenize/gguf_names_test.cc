// The names that GGUF files have for the stages of a tokenizer, those of Transformers and hybrids
// among them: a file with such a name gives the ids of the tokenizer.json from which the name is.
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"
#include "core/xz.h"
#include "tests/tokenize/gguf_vocabulary_file.h"
#include "tests/tokenize/small_tokenizer.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {
namespace {

// A kind of tokenizer in kinds.json.xz (see kinds_test.cc), and the name that llama.cpp gives it.
struct NamedKind {
  const char* kind;
  const char* pre;
};

class GgufKinds : public ::testing::TestWithParam<NamedKind> {};

// Added tokens of which a GGUF file cannot tell are taken out, and with them the texts in which
// they stand; the ids of the others stay those that the `tokenizers` package gave.
TEST_P(GgufKinds, GiveTheIdsOfThePackage) {
  const std::string path = PITH_SOURCE_DIR "/tests/tokenize/kinds.json.xz";
  const Json golden = ParseJson(ReadDataFile(path, int64_t{64} << 20), path);
  const Json& kind = golden["kinds"][GetParam().kind];
  Json json = kind["tokenizer"];
  const Json added = json["added_tokens"];
  json["added_tokens"] = Json::array();
  std::vector<std::string> dropped;
  for (const Json& token : added) {
    const bool text_is_normalized = std::string_view(GetParam().pre) != "qwen2";
    const bool normalized = !token["special"] && text_is_normalized;
    const bool plain = !token["lstrip"] && !token["rstrip"] && !token["single_word"] &&
                       token["normalized"] == normalized;
    plain ? json["added_tokens"].push_back(token) : dropped.push_back(token["content"]);
  }
  const GgufVocabulary vocabulary = ToGgufVocabulary(json.dump(), GetParam().kind, 600);
  EXPECT_EQ(vocabulary.pre, GetParam().pre);
  const Tokenizer tokenizer = LoadGguf(FileOf(vocabulary));
  size_t compared = 0;
  for (size_t i = 0; i < golden["texts"].size(); ++i) {
    const auto text = golden["texts"][i].get<std::string>();
    const auto in_text = [&](const std::string& part) { return text.find(part) != text.npos; };
    if (kind["ids"][i].is_null() || std::ranges::any_of(dropped, in_text)) continue;
    EXPECT_EQ(tokenizer.Encode(text), kind["ids"][i].get<std::vector<int32_t>>()) << text;
    ++compared;
  }
  EXPECT_GE(compared, 30u);
}

INSTANTIATE_TEST_SUITE_P(
    Names, GgufKinds,
    ::testing::Values(NamedKind{"llama3", "llama-bpe"}, NamedKind{"qwen2", "qwen2"},
                      NamedKind{"falcon", "falcon"}, NamedKind{"granite", "refact"},
                      NamedKind{"deepseek-coder", "deepseek-coder"}, NamedKind{"tekken", "tekken"}),
    [](const auto& info) {
      std::string name = info.param.kind;
      std::ranges::replace(name, '-', '_');
      return name;
    });

// By the cuts of digits and of blanks before punctuation, ids show which stages a name has.
TEST(GgufNames, NamesOfTheSameStages) {
  const Json kinds = ParseJson(
      ReadDataFile(PITH_SOURCE_DIR "/tests/tokenize/kinds.json.xz", int64_t{64} << 20), "kinds");
  const auto kind = [&](const char* name) {
    Json json = kinds["kinds"][name]["tokenizer"];
    json["added_tokens"] = Json::array();
    return json;
  };
  const auto same = [](const Json& json, std::initializer_list<const char*> names) {
    const Tokenizer original = Tokenizer::FromJson(json.dump(), "t");
    GgufVocabulary vocabulary = ToGgufVocabulary(json.dump(), "t", 600);
    EXPECT_EQ(vocabulary.pre, *names.begin());
    for (const char* name : names) {
      vocabulary.pre = name;
      const Tokenizer read = LoadGguf(FileOf(vocabulary));
      for (const std::string& text : kGgufTexts)
        EXPECT_EQ(read.Encode(text), original.Encode(text)) << name;
    }
  };
  same(kind("granite"), {"refact", "starcoder", "smollm", "minerva-7b"});
  same(SmallTokenizer({{"\xc4\xa0", "a"}, {"1", "2"}, {"'", "s"}}),
       {"gpt-2", "a.x-4.0", "mellum", "trillion", "granite-docling"});
  Json qwen2 = kind("qwen2");
  qwen2["normalizer"] = nullptr;
  same(qwen2, {"deepseek-r1-qwen", "megrez"});
  Json json = kind("llama3");
  same(json, {"llama-bpe", "llama3", "llama-v3", "pixtral", "falcon-h1", "falcon3", "midm-2.0"});
  json["model"]["ignore_merges"] = false;
  same(json, {"dbrx", "smaug-bpe"});
  Json& split = json["pre_tokenizer"]["pretokenizers"][0];
  split["behavior"] = "Removed";
  split["invert"] = true;
  ExpectSameIds(json.dump(), 600, "dbrx");
  json["model"]["ignore_merges"] = true;
  ExpectSameIds(json.dump(), 600, "llama-bpe");
}

// "abc" as one token that no merge makes: only a word that is not merged becomes it.
TEST(GgufNames, IgnoredMergesComeFromTheName) {
  Json json = SmallTokenizer({{"a", "b"}});
  json["model"]["vocab"]["abc"] = 270;
  GgufVocabulary vocabulary = ToGgufVocabulary(json.dump(), "t", 300);
  for (const auto& [name, ids] : {std::pair("dbrx", 2u),
                                  {"llama-bpe", 1u},
                                  {"tekken", 1u},
                                  {"pixtral", 1u},
                                  {"gpt-2", 2u},
                                  {"qwen2", 2u}}) {
    vocabulary.pre = name;
    EXPECT_EQ(LoadGguf(FileOf(vocabulary)).Encode("abc").size(), ids) << name;
  }
}

// Qwen2's added tokens that are text are found before its text is normalised: what would compose
// with the last character of one does not hide it.
TEST(GgufNames, AddedTokensOfQwen2AreFoundFirst) {
  const Json kinds = ParseJson(
      ReadDataFile(PITH_SOURCE_DIR "/tests/tokenize/kinds.json.xz", int64_t{64} << 20), "kinds");
  Json json = kinds["kinds"]["qwen2"]["tokenizer"];
  json["added_tokens"] = {Added(590, "<tool>", {}), Added(591, "<|im_end|>", {"special"})};
  ExpectSameIds(json.dump(), 600, "qwen2");
  const Tokenizer read = LoadGguf(FileOf(ToGgufVocabulary(json.dump(), "t", 600)));
  EXPECT_EQ(read.Encode("<tool>\xcc\xb8").front(), 590);
  json["added_tokens"][0]["normalized"] = true;
  const std::string message = MessageOf([&] { ToGgufVocabulary(json.dump(), "t", 600); });
  EXPECT_NE(message.find("unusual normalized"), std::string::npos) << message;
}

}  // namespace
}  // namespace pith
