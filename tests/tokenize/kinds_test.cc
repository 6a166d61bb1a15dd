// Tokenizers of every kind that published Mamba models and hybrids ship, against the `tokenizers`
// package: ids, the text that they decode to, and the same as a stream. kinds.json.xz holds the
// tokenizers, the texts and the package's answers; tools/tokenizer_parity.py makes it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/json.h"
#include "core/utf8.h"
#include "core/xz.h"
#include "tokenize/tokenizer.h"

namespace pith {
namespace {

const Json& Golden() {
  static const Json golden = [] {
    const std::string path = PITH_SOURCE_DIR "/tests/tokenize/kinds.json.xz";
    return ParseJson(ReadDataFile(path, int64_t{64} << 20), path);
  }();
  return golden;
}

std::string Streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  StreamDecoder stream(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    const std::string part = stream.Push(id);
    EXPECT_EQ(ValidUtf8Prefix(part), part.size());
    text += part;
  }
  return text + stream.Finish();
}

class Kinds : public testing::TestWithParam<std::string> {};

TEST_P(Kinds, GivesTheIdsOfThePackage) {
  const Json& kind = Golden()["kinds"][GetParam()];
  const auto tokenizer = Tokenizer::FromJson(kind["tokenizer"].dump(), GetParam());
  const Json& texts = Golden()["texts"];
  size_t decoded = 0;
  ASSERT_GT(texts.size(), 100u);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (kind["ids"][i].is_null()) continue;  // the package itself fails on this text
    const auto expected = kind["ids"][i].get<std::vector<int32_t>>();
    const auto ids = tokenizer.Encode(texts[i].get<std::string>());
    EXPECT_EQ(ids, expected) << "text " << i << ": " << texts[i];
    const std::string text = ReplaceInvalidUtf8(tokenizer.Decode(ids));
    EXPECT_EQ(Streamed(tokenizer, ids), text) << "text " << i;
    if (!kind["decoded"][i].is_string()) continue;
    EXPECT_EQ(text, kind["decoded"][i].get<std::string>()) << "text " << i;
    ++decoded;
  }
  EXPECT_GT(decoded, texts.size() / 4);
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& item : Golden()["kinds"].items()) names.push_back(item.key());
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, Kinds, testing::ValuesIn(Names()), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

}  // namespace
}  // namespace pith
