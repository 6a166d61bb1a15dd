// From tokens back to text, as the file's decoder says, whole and as a stream; and what becomes of
// characters without a token. Byte-level decoding is tokenizer_test's matter, agreement with the
// `tokenizers` package kinds_test's.
#include "tokenize/decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/utf8.h"
#include "pith/error.h"
#include "tests/tokenize/small_tokenizer.h"

namespace pith {
namespace {

using Ids = std::vector<int32_t>;

Json Sequence(const char* list, const std::vector<Json>& parts) {
  return {{"type", "Sequence"}, {list, Json::array_t(parts)}};
}

Json Replace(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

// As in Llama-2: "<unk>" 0, "▁" 1, "a" 2, "▁a" 3, "b" 4, then the 256 bytes from 10 on.
Json LlamaTokenizer() {
  Json json = SmallTokenizer();
  Json vocab = {{"<unk>", 0}, {"▁", 1}, {"a", 2}, {"▁a", 3}, {"b", 4}};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    vocab[name] = 10 + byte;
  }
  json["normalizer"] =
      Sequence("normalizers", {{{"type", "Prepend"}, {"prepend", "▁"}}, Replace(" ", "▁")});
  json["pre_tokenizer"] = nullptr;
  json["model"] = {{"type", "BPE"},        {"vocab", vocab},        {"merges", {"▁ a"}},
                   {"unk_token", "<unk>"}, {"byte_fallback", true}, {"fuse_unk", true}};
  json["decoder"] =
      Sequence("decoders", {Replace("▁", " "),
                            {{"type", "ByteFallback"}},
                            {{"type", "Fuse"}},
                            {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}});
  return json;
}

std::string Streamed(StreamDecoder stream, const Ids& ids) {
  std::string text;
  for (const int32_t id : ids) {
    const std::string part = stream.Push(id);
    EXPECT_EQ(ValidUtf8Prefix(part), part.size());
    text += part;
  }
  return text + stream.Finish();
}

TEST(Decoder, ByteFallbackRoundTrip) {
  const auto tokenizer = Load(LlamaTokenizer());
  EXPECT_EQ(tokenizer.Encode("a é"), (Ids{3, 1, 10 + 0xC3, 10 + 0xA9}));
  for (const char* text : {"", "a", " a", "  a b", "é€😀", "a\n"}) {
    const Ids ids = tokenizer.Encode(text);
    EXPECT_EQ(tokenizer.Decode(ids), text);
    EXPECT_EQ(Streamed(StreamDecoder(tokenizer), ids), text);
  }
  EXPECT_EQ(tokenizer.TokenBytes(3), " a");
  EXPECT_EQ(tokenizer.TokenBytes(10 + 0xC3), "\xC3");
}

TEST(Decoder, BytesThatMakeNoCharacter) {
  const auto tokenizer = Load(LlamaTokenizer());
  const Ids ids = {2, 10 + 0xE2, 10 + 0x82, 4, 10 + 0xFF};
  EXPECT_EQ(tokenizer.Decode(ids),
            "a\xE2\x82"
            "b\xFF");
  EXPECT_EQ(Streamed(StreamDecoder(tokenizer), ids),
            "a\uFFFD"
            "b\uFFFD");
}

// The blank before a text is the tokenizer's own, the blank before a continuation the text's.
TEST(Decoder, ContinuationsKeepTheirBlank) {
  const auto tokenizer = Load(LlamaTokenizer());
  EXPECT_EQ(Streamed(StreamDecoder(tokenizer), {3, 3}), "a a");
  EXPECT_EQ(Streamed(StreamDecoder(tokenizer, false, /*continues=*/true), {3, 3}), " a a");
}

TEST(Decoder, MetaspaceDropsTheFirstMark) {
  Json json = LlamaTokenizer();
  json["decoder"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
  EXPECT_EQ(Load(json).Decode(Ids{3, 3}), "a a");
  EXPECT_EQ(Streamed(StreamDecoder(Load(json)), {3, 3}), "a a");
  EXPECT_EQ(Streamed(StreamDecoder(Load(json), false, true), {3, 3}), " a a");
  json["decoder"]["prepend_scheme"] = "never";
  EXPECT_EQ(Load(json).Decode(Ids{3, 3}), " a a");
}

TEST(Decoder, NoneMeansBlanksBetweenTokens) {
  Json json = LlamaTokenizer();
  json["decoder"] = nullptr;
  const auto tokenizer = Load(json);
  EXPECT_EQ(tokenizer.Decode(Ids{3, 2, 5, 4}), "▁a a b");  // 5 has no token
  EXPECT_EQ(Streamed(StreamDecoder(tokenizer), {3, 2, 5, 4}), "▁a a b");
}

TEST(Decoder, StripBeforeFuseTakesFromEachToken) {
  Json json = LlamaTokenizer();
  json["decoder"] = Sequence(
      "decoders",
      {Replace("▁", "__"), {{"type", "Strip"}, {"content", "_"}, {"start", 1}, {"stop", 0}}});
  EXPECT_EQ(Load(json).Decode(Ids{3, 1, 2}), "_a_a");
}

TEST(UnknownCharacters, BecomeUnkFusedOrNot) {
  Json json = LlamaTokenizer();
  json["model"]["byte_fallback"] = false;
  EXPECT_EQ(Load(json).Encode("axyb"), (Ids{3, 0, 4}));
  json["model"]["fuse_unk"] = false;
  EXPECT_EQ(Load(json).Encode("axyb"), (Ids{3, 0, 0, 4}));
  json["model"]["unk_token"] = nullptr;
  EXPECT_EQ(Load(json).Encode("axyb"), (Ids{3, 4}));  // left out, as the package does
}

// As the package does: an unknown character waits while bytes are written.
TEST(UnknownCharacters, BytesThatAreMissing) {
  Json json = LlamaTokenizer();
  json["model"]["vocab"].erase("<0x78>");  // x
  EXPECT_EQ(Load(json).Encode("axyb"), (Ids{3, 10 + 'y', 0, 4}));
}

TEST(UnknownCharacters, UnkWithoutAnIdIsAnErrorWhereItIsNeeded) {
  Json json = LlamaTokenizer();
  json["model"]["byte_fallback"] = false;
  json["model"]["unk_token"] = "<none>";
  const auto tokenizer = Load(json);
  EXPECT_EQ(tokenizer.Encode("ab"), (Ids{3, 4}));
  try {
    tokenizer.Encode("x");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptData);
    EXPECT_NE(std::string(error.what()).find("t.json: model.unk_token: got \"<none>\""),
              std::string::npos)
        << error.what();
  }
}

// A long word takes the heap's way through the same merges.
TEST(UnknownCharacters, LongWords) {
  const auto tokenizer = Load(LlamaTokenizer());
  std::string text = "a";
  for (int i = 0; i < 5000; ++i) text += " a";
  EXPECT_EQ(tokenizer.Encode(text), Ids(5001, 3));
}

}  // namespace
}  // namespace pith
