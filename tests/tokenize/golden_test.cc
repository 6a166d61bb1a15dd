// Ids of strings that are hard to tokenize, against those of the `tokenizers` package.
// golden_ids.json and short-neox.tokenizer.json (GPT-NeoX-20B's file cut to its first merges: NFC,
// added tokens made of blanks, merges as strings) come from tools/tokenizer_parity.py.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "core/utf8.h"
#include "tokenize/tokenizer.h"

namespace pith {
namespace {

constexpr char kFolder[] = PITH_SOURCE_DIR "/tests/tokenize/";

void ExpectGolden(const std::string& name, const std::string& path) {
  const std::string file = std::string(kFolder) + "golden_ids.json";
  const Json golden = ParseJson(ReadFile(file), file);
  const auto tokenizer = Tokenizer::FromFile(path);
  const Json& strings = golden["strings"];
  const Json& ids = golden["ids"][name];
  ASSERT_GT(strings.size(), 150u);
  ASSERT_EQ(strings.size(), ids.size());
  for (size_t i = 0; i < strings.size(); ++i) {
    const auto text = strings[i].get<std::string>();
    EXPECT_EQ(tokenizer.Encode(text), ids[i].get<std::vector<int32_t>>()) << "string " << i;
  }
}

TEST(Golden, ShippedModels) {
  for (const char* model : {"pith-13m-mamba1", "pith-27m-mamba2"}) {
    ExpectGolden("shipped", std::string(PITH_SOURCE_DIR "/models/") + model + "/tokenizer.json");
  }
}

TEST(Golden, ShortNeox) {
  ExpectGolden("short-neox", std::string(kFolder) + "short-neox.tokenizer.json");
}

TEST(Golden, Neox) {
  ExpectGolden("gpt-neox-20b", PITH_SOURCE_DIR "/data/tokenizer/gpt-neox-20b.tokenizer.json.xz");
}

// Without a normaliser nothing is lost: all bytes come back, in one go and as a stream.
TEST(Golden, RoundTrip) {
  const std::string file = std::string(kFolder) + "golden_ids.json";
  const Json golden = ParseJson(ReadFile(file), file);
  const auto tokenizer =
      Tokenizer::FromFile(PITH_SOURCE_DIR "/models/pith-13m-mamba1/tokenizer.json");
  for (const Json& string : golden["strings"]) {
    const auto text = string.get<std::string>();
    const auto ids = tokenizer.Encode(text);
    EXPECT_EQ(tokenizer.Decode(ids), text);
    StreamDecoder stream(tokenizer);
    std::string streamed;
    for (const int32_t id : ids) {
      const std::string part = stream.Push(id);
      EXPECT_EQ(ValidUtf8Prefix(part), part.size());
      streamed += part;
    }
    EXPECT_EQ(streamed + stream.Finish(), text);
  }
}

}  // namespace
}  // namespace pith
