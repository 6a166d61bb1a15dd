// What a tokenizer.json may hold, and that all else is refused by an error that names the file, the
// field and the value: nothing is ignored, nothing crashes.
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/tokenize/small_tokenizer.h"

namespace pith {
namespace {

// Expects an error with `code` whose message holds "t.json" and all of `parts`.
void ExpectRefused(const std::string& text, ErrorCode code, const std::vector<std::string>& parts) {
  try {
    Tokenizer::FromJson(text, "t.json");
    ADD_FAILURE() << "accepted, expected a message with " << parts.back();
  } catch (const Error& e) {
    const std::string message = e.what();
    EXPECT_EQ(e.code(), code) << message;
    EXPECT_NE(message.find("t.json"), std::string::npos) << message;
    for (const std::string& part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

struct Edit {
  const char* pointer;  // JSON pointer
  Json value;
  std::vector<std::string> parts;
};

void ExpectEditsRefused(const std::vector<Edit>& edits, ErrorCode code) {
  for (const Edit& edit : edits) {
    Json json = SmallTokenizer();
    json[Json::json_pointer(edit.pointer)] = edit.value;
    SCOPED_TRACE(edit.pointer);
    ExpectRefused(json.dump(), code, edit.parts);
  }
}

TEST(TokenizerJson, UnsupportedIsNamed) {
  const Json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  const Json fuse = {{"type", "Fuse"}};
  const auto sequence = [](const char* list, const std::vector<Json>& parts) {
    return Json{{"type", "Sequence"}, {list, Json::array_t(parts)}};
  };
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Away"}};
  const Json strip = {{"type", "Strip"}, {"content", " "}, {"start", 0}, {"stop", 1}};
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "b"}};
  ExpectEditsRefused(
      {{"/version", "2.0", {"version", "2.0"}},
       {"/surprise", 1, {"surprise"}},
       {"/normalizer", {{"type", "Nmt"}}, {"normalizer.type", "Nmt", "\"NFKC\""}},
       {"/normalizer", {{"type", "Precompiled"}}, {"normalizer.type", "Precompiled"}},
       {"/normalizer",
        sequence("normalizers", {sequence("normalizers", {{{"type", "Odd"}}})}),
        {"normalizer.normalizers[0].normalizers[0].type", "Odd"}},
       {"/normalizer", {{"type", "NFC"}, {"extra", 1}}, {"normalizer.extra"}},
       {"/pre_tokenizer", {{"type", "UnicodeScripts"}}, {"pre_tokenizer.type", "\"Digits\""}},
       {"/pre_tokenizer/extra", 1, {"pre_tokenizer.extra"}},
       {"/pre_tokenizer",
        sequence("pretokenizers", {split, level}),
        {"pretokenizers[0].behavior", "Away", "\"Removed\""}},
       {"/pre_tokenizer",
        {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}},
        {"pre_tokenizer.prepend_scheme", "last"}},
       {"/post_processor", {{"type", "Other"}}, {"post_processor.type", "Other"}},
       {"/decoder/type", "WordPiece", {"decoder.type", "WordPiece", "\"Fuse\""}},
       {"/decoder", sequence("decoders", {fuse, strip}), {"decoder.decoders[1].stop", "1"}},
       {"/decoder", sequence("decoders", {fuse, replace}), {"decoder.decoders[1].type", "Replace"}},
       {"/model/type", "Unigram", {"model.type", "Unigram"}},
       {"/model/dropout", 0.1, {"model.dropout", "0.1"}},
       {"/model/strange", 1, {"model.strange"}}},
      ErrorCode::kUnsupported);
}

TEST(TokenizerJson, PaddingAndTruncationAreIgnored) {
  Json json = SmallTokenizer();
  json["truncation"] = {{"direction", "Right"}, {"max_length", 1}, {"stride", 0}};
  json["padding"] = {{"strategy", {{"Fixed", 9}}}, {"pad_id", 0}};
  EXPECT_EQ(Load(json).Encode("abc."), (std::vector<int32_t>{257, '.'}));
}

TEST(TokenizerJson, ContradictionsAreNamed) {
  const std::string long_content(1025, 'x');
  ExpectEditsRefused(
      {{"/model", 3, {"model"}},
       {"/model/vocab", Json::array({1}), {"model.vocab"}},
       {"/model/vocab", Json::object(), {"model.vocab"}},
       {"/model/vocab/a", -1, {"model.vocab[\"a\"]", "-1"}},
       {"/model/vocab/a", 4194304, {"model.vocab", "4194304"}},
       {"/model/vocab/a", 1.5, {"model.vocab", "1.5"}},
       {"/model/vocab/a", "1", {"model.vocab", "\"1\""}},
       {"/model/vocab/a", Json::object(), {"model.vocab", "{}"}},
       {"/model/vocab/a", Json::array({7}), {"model.vocab", "[7]"}},
       {"/model/vocab/a", nullptr, {"model.vocab", "null"}},
       {"/model/vocab/a", 98, {"model.vocab[\"b\"]", "98", "another"}},
       {"/model/vocab/", 999, {"empty token"}},
       {"/model/merges", "a b", {"model.merges"}},
       {"/model/merges/0", 5, {"model.merges[0]", "5"}},
       {"/model/merges/0", Json::array({"a"}), {"model.merges[0]"}},
       {"/model/merges/0", Json::array({"a", 1}), {"model.merges[0]"}},
       {"/model/merges/0", "ab", {"model.merges[0]", "one blank"}},
       {"/model/merges/0", "a b c", {"model.merges[0]", "one blank"}},
       {"/model/merges/0", " b", {"model.merges[0]", "not in model.vocab"}},
       {"/model/merges/0", "a zz", {"model.merges[0]", "zz"}},
       {"/model/merges/0", "a c", {"model.merges[0]", "\"ac\""}},
       {"/model/merges/1", "a b", {"model.merges[1]", "earlier"}},
       {"/added_tokens", 1, {"added_tokens"}},
       {"/added_tokens/0", Added(97, "<x>", {}), {"added_tokens[0].id", "97"}},
       {"/added_tokens/0", Added(5, "abc", {}), {"added_tokens[0].id", "257"}},
       {"/added_tokens/0", Added(-1, "<x>", {}), {"added_tokens[0].id", "-1"}},
       {"/added_tokens/0", Added(1 << 22, "<x>", {}), {"added_tokens[0].id"}},
       {"/added_tokens/0", Added(300, "", {}), {"added_tokens[0].content"}},
       {"/added_tokens/0", Added(300, long_content, {}), {"added_tokens[0].content"}},
       {"/padding", 3, {"padding"}},
       {"/truncation", "no", {"truncation"}},
       {"/model/continuing_subword_prefix", "##", {"model.merges[0]", "prefix"}},
       {"/model/end_of_word_suffix", 7, {"model.end_of_word_suffix"}},
       {"/model/unk_token", std::string(70000, 'x'), {"model.unk_token", "65536 bytes"}},
       {"/decoder/type", 1, {"decoder.type"}},
       {"/normalizer", {{"type", "Prepend"}}, {"normalizer.prepend"}},
       {"/normalizer",
        {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", ""}},
        {"normalizer.pattern.Regex", "parenthesis"}},
       {"/normalizer",
        {{"type", "Replace"}, {"pattern", {{"Regex", "a"}, {"String", "a"}}}, {"content", ""}},
        {"normalizer.pattern", "either"}},
       {"/pre_tokenizer",
        {{"type", "Metaspace"}, {"replacement", "__"}},
        {"pre_tokenizer.replacement", "one character"}},
       {"/pre_tokenizer",
        {{"type", "Metaspace"},
         {"replacement", "_"},
         {"prepend_scheme", "first"},
         {"add_prefix_space", false}},
        {"pre_tokenizer.add_prefix_space"}},
       {"/pre_tokenizer",
        {{"type", "Sequence"}, {"pretokenizers", 1}},
        {"pre_tokenizer.pretokenizers"}},
       {"/normalizer", "NFC", {"normalizer"}},
       {"/normalizer", Json::object(), {"normalizer.type"}},
       {"/pre_tokenizer/add_prefix_space", 1, {"add_prefix_space"}}},
      ErrorCode::kCorruptData);
}

TEST(TokenizerJson, AddedTokensTwice) {
  Json json = SmallTokenizer();
  json["added_tokens"] = {Added(300, "<x>", {}), Added(301, "<x>", {})};
  ExpectRefused(json.dump(), ErrorCode::kCorruptData, {"added_tokens[1].content", "<x>"});
  json["added_tokens"] = {Added(300, "<x>", {}), Added(300, "<y>", {})};
  ExpectRefused(json.dump(), ErrorCode::kCorruptData, {"added_tokens[1].id", "300"});
}

TEST(TokenizerJson, EveryByteOfUtf8NeedsAToken) {
  Json json = SmallTokenizer();
  json["model"]["vocab"].erase("z");
  ExpectRefused(json.dump(), ErrorCode::kUnsupported, {"model.vocab", "122", "\"z\""});
  json = SmallTokenizer();
  json["model"]["vocab"].erase(ByteLevelChar(0xFF));
  EXPECT_EQ(Load(json).Encode("abc"), std::vector<int32_t>{257});
}

TEST(TokenizerJson, BothSpellingsOfMerges) {
  Json json = SmallTokenizer();
  json["model"]["merges"] = {"a b", "ab c"};
  EXPECT_EQ(Load(json).Encode("abcab"), Load(SmallTokenizer()).Encode("abcab"));
}

TEST(TokenizerJson, SplitStageEqualsBuiltInPattern) {
  Json json = SmallTokenizer({{"a", "Ġ"}, {"Ġ", "a"}, {"'", "s"}});
  const auto built_in = Load(json);
  const Json split = {
      {"type", "Split"},
      {"pattern",
       {{"Regex",
         R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"}}},
      {"behavior", "Isolated"},
      {"invert", false}};
  const Json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, level}}};
  const auto by_split = Load(json);
  for (const char* text : {"a a  a's 'sa", "  a", "a  ", "a's1 a2\n\n a", ""}) {
    EXPECT_EQ(by_split.Encode(text), built_in.Encode(text)) << text;
  }
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(";
  ExpectRefused(json.dump(), ErrorCode::kCorruptData, {"Regex"});
}

TEST(TokenizerJson, MalformedText) {
  const std::string good = SmallTokenizer().dump();
  ExpectRefused("", ErrorCode::kCorruptData, {"JSON"});
  ExpectRefused("[]", ErrorCode::kCorruptData, {"object"});
  ExpectRefused(good.substr(0, good.size() / 2), ErrorCode::kCorruptData, {"JSON"});
  ExpectRefused(std::string(100, '['), ErrorCode::kCorruptData, {"deeper"});
  ExpectRefused(R"({"version":"1.0","version":"1.0"})", ErrorCode::kCorruptData, {"twice"});
  ExpectRefused(R"({"model":{"vocab":{"a":1,"a":2}}})", ErrorCode::kCorruptData,
                {"\"a\"", "twice"});
}

TEST(TokenizerJson, Files) {
  EXPECT_THROW(Tokenizer::FromFile("/nonexistent/tokenizer.json"), Error);
}

// Any flip of bits or cut gives a tokenizer that works or an Error, never anything else.
TEST(TokenizerJson, DamagedFiles) {
  const std::string good = SmallTokenizer().dump();
  std::mt19937 random(11);
  for (int i = 0; i < 400; ++i) {
    std::string bad = good;
    for (int n = 1 + random() % 3; n > 0; --n) bad[random() % bad.size()] ^= 1 << random() % 8;
    if (random() % 4 == 0) bad.resize(random() % bad.size());
    try {
      const auto tokenizer = Tokenizer::FromJson(bad, "t.json");
      tokenizer.Decode(tokenizer.Encode("abc \u00e9\xFF x"));
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace pith
