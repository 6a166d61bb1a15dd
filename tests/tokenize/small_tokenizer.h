// A tokenizer.json to vary in tests: the 256 bytes as ids 0 to 255, then a few merges.
#ifndef PITH_TESTS_TOKENIZE_SMALL_TOKENIZER_H_
#define PITH_TESTS_TOKENIZE_SMALL_TOKENIZER_H_

#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "tokenize/byte_level.h"
#include "tokenize/tokenizer.h"

namespace pith {

using StringPairs = std::vector<std::pair<std::string, std::string>>;

// `merges` in byte-level characters; what they make gets the ids from 256 on.
inline Json SmallTokenizer(const StringPairs& merges = {{"a", "b"}, {"ab", "c"}}) {
  Json vocab = Json::object();
  for (int b = 0; b < 256; ++b) vocab[ByteLevelChar(static_cast<uint8_t>(b))] = b;
  Json list = Json::array();
  for (const auto& [left, right] : merges) {
    list.push_back({left, right});
    if (!vocab.contains(left + right)) {
      const size_t next = vocab.size();
      vocab[left + right] = next;
    }
  }
  const Json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", Json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", level},
          {"post_processor", nullptr},
          {"decoder", level},
          {"model", {{"type", "BPE"}, {"unk_token", nullptr}, {"vocab", vocab}, {"merges", list}}}};
}

inline Tokenizer Load(const Json& json) { return Tokenizer::FromJson(json.dump(), "t.json"); }

inline Json Added(int64_t id, const std::string& content, const std::vector<std::string>& flags) {
  Json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", false}};
  for (const std::string& flag : flags) token[flag] = true;
  return token;
}

}  // namespace pith

#endif  // PITH_TESTS_TOKENIZE_SMALL_TOKENIZER_H_
