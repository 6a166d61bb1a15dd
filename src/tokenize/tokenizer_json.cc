#include "tokenize/tokenizer_json.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "tokenize/component.h"
#include "tokenize/model_json.h"

namespace pith {
namespace {

// Post-processors add special tokens, which Encode never does, or change offsets, which it has not.
void CheckPostProcessor(const Component& post_processor) {
  VisitSequence(post_processor, "processors", [](const Component& json) {
    constexpr std::string_view kKnown[] = {"ByteLevel", "TemplateProcessing", "RobertaProcessing",
                                           "BertProcessing"};
    const std::string type = json.Type();
    if (std::find(std::begin(kKnown), std::end(kKnown), type) != std::end(kKnown)) return;
    json.Unsupported("type", R"("Sequence", "ByteLevel", "TemplateProcessing", )"
                             R"("RobertaProcessing", "BertProcessing")");
  });
}

AddedToken ReadAddedToken(const Component& json) {
  json.Only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.id = static_cast<int32_t>(json->Int("id", 0, kMaxTokenId));
  token.content = json->String("content");
  token.single_word = json->Bool("single_word", false);
  token.lstrip = json->Bool("lstrip", false);
  token.rstrip = json->Bool("rstrip", false);
  token.special = json->Bool("special", false);
  token.normalized = json->Bool("normalized", !token.special);
  if (token.content.empty() || token.content.size() > AddedTokenMatcher::kMaxContent) {
    json->Fail("content", StrCat("1 to ", AddedTokenMatcher::kMaxContent, " bytes"));
  }
  return token;
}

std::vector<AddedToken> ReadAddedTokens(const Component& top, const StringMap<int32_t>& vocab) {
  std::vector<AddedToken> tokens;
  if (!top->Has("added_tokens")) return tokens;
  std::unordered_set<int32_t> used;
  for (const auto& [token, id] : vocab) used.insert(id);
  std::unordered_set<std::string> contents;
  top.ForEach("added_tokens", [&](const Component& json) {
    AddedToken token = ReadAddedToken(json);
    const std::string quoted = Shown(Json(token.content));
    Require(contents.insert(token.content).second, ErrorCode::kCorruptData, json.Where("content"),
            ": ", quoted, " stands twice");
    const auto in_vocab = vocab.find(token.content);
    const bool consistent =
        in_vocab == vocab.end() ? used.insert(token.id).second : in_vocab->second == token.id;
    Require(consistent, ErrorCode::kCorruptData, json.Where("id"), ": got ", token.id, " for ",
            quoted,
            in_vocab == vocab.end() ? ", which belongs to another token"
                                    : StrCat(", but model.vocab says ", in_vocab->second));
    tokens.push_back(std::move(token));
  });
  std::stable_partition(tokens.begin(), tokens.end(), [](const auto& t) { return t.special; });
  return tokens;
}

}  // namespace

TokenizerSpec ParseTokenizerJson(std::string_view text, const std::string& source) {
  Require(text.size() <= static_cast<size_t>(kMaxTokenizerBytes), ErrorCode::kCorruptData, source,
          ": ", text.size(), " bytes, expected at most ", kMaxTokenizerBytes);
  const Json root = ParseJson(text, source);
  const Component top(root, source, "");
  top.Only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
            "post_processor", "decoder", "model"});
  if (top->String("version", "1.0") != "1.0") top.Unsupported("version", "\"1.0\"");
  // Truncation and padding are for batches of equal length, which pith does not make.
  for (const char* field : {"truncation", "padding"}) {
    if (top->Has(field)) top.Child(field);
  }

  TokenizerSpec spec;
  if (top->Has("normalizer")) spec.normalizers = Normalizers(top.Child("normalizer"));
  if (top->Has("pre_tokenizer")) {
    spec.pre_tokenizers = ReadPreTokenizers(top.Child("pre_tokenizer"));
  }
  if (top->Has("post_processor")) CheckPostProcessor(top.Child("post_processor"));
  if (top->Has("decoder")) spec.decoder = TokenDecoder(top.Child("decoder"));
  spec.model = ReadBpe(top.Child("model"));
  spec.added_tokens = ReadAddedTokens(top, spec.model.vocab);
  return spec;
}

}  // namespace pith
