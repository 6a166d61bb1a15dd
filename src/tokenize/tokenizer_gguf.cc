#include "tokenize/tokenizer_gguf.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/utf8.h"
#include "tokenize/component.h"
#include "tokenize/gguf_pre.h"
#include "tokenize/merges.h"
#include "tokenize/model_json.h"

namespace pith {
namespace {

constexpr std::string_view kModel = "tokenizer.ggml.model";
constexpr std::string_view kPre = "tokenizer.ggml.pre";
constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kMerges = "tokenizer.ggml.merges";

// What Encode adds (nothing), which token ends a text (the engine reads that), templates of chats,
// and numbers that this kind of tokenizer does not read.
constexpr std::string_view kWithoutEffect[] = {
    "scores",        "token_type_count", "add_bos_token", "add_eos_token",
    "add_sep_token", "add_space_prefix", "eot_token_id"};

void CheckKeys(const Gguf& file) {
  for (const auto& [key, value] : file.values()) {
    if (!key.starts_with("tokenizer.") || key.starts_with("tokenizer.chat_template") ||
        key.starts_with("tokenizer.huggingface.")) {
      continue;
    }
    const std::string_view name = std::string_view(key).substr(
        std::min(key.size(), std::string_view("tokenizer.ggml.").size()));
    const bool known = key.starts_with("tokenizer.ggml.") &&
                       (key == kModel || key == kPre || key == kTokens || key == kTypes ||
                        key == kMerges || name.ends_with("_token_id") ||
                        std::ranges::find(kWithoutEffect, name) != std::end(kWithoutEffect));
    Require(known, ErrorCode::kUnsupported, file.source(), ": ", Excerpt(key), ": got ",
            file.Shown(key), ", but this key is not known to pith");
  }
}

// Component of a text of pith's own.
template <class Make>
auto FromText(std::string_view text, const std::string& source, Make make) {
  const Json json = ParseJson(text, source);
  return make(Component(json, source, ""));
}

const GgufPre& FindPre(const Gguf& file) {
  std::string names;
  std::string_view last;
  for (const GgufPre& pre : kGgufPres) {
    if (pre.name != last) names += StrCat(names.empty() ? "" : ", ", pre.name);
    last = pre.name;
  }
  const std::string help =
      StrCat("expected one of ", names, "; with the model's tokenizer.json, --tokenizer takes it");
  Require(file.Has(kPre), ErrorCode::kUnsupported, file.source(), ": ", kPre, ": missing, ", help);
  for (const GgufPre& pre : kGgufPres) {
    if (pre.name == file.String(kPre)) return pre;
  }
  Throw(ErrorCode::kUnsupported, file.source(), ": ", kPre, ": got ", file.Shown(kPre), ", ", help);
}

std::vector<GgufTokenType> ReadTypes(const Gguf& file, size_t tokens) {
  if (!file.Has(kTypes)) return std::vector<GgufTokenType>(tokens, GgufTokenType::kNormal);
  std::vector<GgufTokenType> types;
  for (const int64_t type : file.Ints(kTypes)) {
    Require(type >= 1 && type <= 6, ErrorCode::kCorruptData, file.source(), ": ", kTypes, "[",
            types.size(), "]: got ", type, ", expected 1 to 6");
    types.push_back(static_cast<GgufTokenType>(type));
  }
  Require(types.size() == tokens, ErrorCode::kCorruptData, file.source(), ": ", kTypes, ": got ",
          types.size(), " types, expected ", tokens, ", one for each token");
  return types;
}

// A token of the list goes into the vocabulary and, where its type says so, among the added tokens.
void AddToken(std::string_view token, int32_t id, GgufTokenType type, const std::string& where,
              bool normalized_added, TokenizerSpec& spec) {
  if (type == GgufTokenType::kUnused) return;
  Require(type != GgufTokenType::kByte, ErrorCode::kUnsupported, where,
          ": got a token of type 6 (byte), expected none in a byte-level vocabulary");
  Require(!token.empty() && ValidUtf8Prefix(token) == token.size(), ErrorCode::kCorruptData, where,
          ": got ", Shown(Json(Excerpt(token))), ", expected a text in UTF-8");
  Require(spec.model.vocab.emplace(token, id).second, ErrorCode::kCorruptData, where, ": ",
          Shown(Json(token)), " is the text of an earlier token too");
  if (type == GgufTokenType::kNormal) return;
  Require(token.size() <= AddedTokenMatcher::kMaxContent, ErrorCode::kCorruptData, where,
          ": got an added token of ", token.size(), " bytes, expected at most ",
          AddedTokenMatcher::kMaxContent);
  const bool special = type != GgufTokenType::kUserDefined;
  spec.added_tokens.push_back({.id = id,
                               .content = std::string(token),
                               .single_word = false,
                               .lstrip = false,
                               .rstrip = false,
                               .normalized = !special && normalized_added,
                               .special = special});
}

}  // namespace

bool HasVocabulary(const Gguf& file) {
  if (!file.Has(kModel)) return false;
  const std::string_view model = file.String(kModel);
  return model != "none" && model != "no_vocab";
}

TokenizerSpec ReadGgufTokenizer(const Gguf& file) {
  Require(HasVocabulary(file), ErrorCode::kNotFound, file.source(),
          ": the file brings no tokenizer");
  Require(file.String(kModel) == "gpt2", ErrorCode::kUnsupported, file.source(), ": ", kModel,
          ": got ", file.Shown(kModel),
          ", expected \"gpt2\"; with the model's tokenizer.json, --tokenizer takes it");
  CheckKeys(file);
  const std::string& source = file.source();
  const GgufPre& pre = FindPre(file);
  TokenizerSpec spec;
  if (!pre.normalizer.empty()) {
    spec.normalizers =
        FromText(pre.normalizer, source, [](const Component& json) { return Normalizers(json); });
  }
  spec.pre_tokenizers = FromText(pre.pre_tokenizer, source, ReadPreTokenizers);
  spec.decoder = FromText(R"({"type":"ByteLevel"})", source,
                          [](const Component& json) { return TokenDecoder(json); });
  spec.model.source = source;
  spec.model.ignore_merges = pre.ignore_merges;
  const std::vector<std::string_view> tokens = file.Strings(kTokens);
  Require(!tokens.empty() && std::ssize(tokens) <= kMaxTokenId + 1, ErrorCode::kCorruptData, source,
          ": ", kTokens, ": got ", tokens.size(), " tokens, expected 1 to ", kMaxTokenId + 1);
  const std::vector<GgufTokenType> types = ReadTypes(file, tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    AddToken(tokens[id], static_cast<int32_t>(id), types[id],
             StrCat(source, ": ", kTokens, "[", id, "]"), pre.normalized_added, spec);
  }
  std::stable_partition(spec.added_tokens.begin(), spec.added_tokens.end(),
                        [](const AddedToken& token) { return token.special; });
  MergeList merges(spec.model, kTokens);
  for (const std::string_view text : file.Strings(kMerges)) {
    const std::string where = StrCat(source, ": ", kMerges, "[", spec.model.merges.size(), "]: ");
    const auto [left, right] = SplitMerge(text, where);
    merges.Add(left, right, where);
  }
  return spec;
}

GgufVocabulary ToGgufVocabulary(const Gguf& file, int64_t size) {
  ReadGgufTokenizer(file);  // checks it
  GgufVocabulary vocabulary;
  vocabulary.pre = file.String(kPre);
  for (const std::string_view token : file.Strings(kTokens)) vocabulary.tokens.emplace_back(token);
  vocabulary.types = ReadTypes(file, vocabulary.tokens.size());
  for (const std::string_view merge : file.Strings(kMerges)) vocabulary.merges.emplace_back(merge);
  Require(std::ssize(vocabulary.tokens) == size, ErrorCode::kCorruptData, file.source(), ": ",
          kTokens, ": got ", vocabulary.tokens.size(), " tokens, expected ", size,
          ", one for each row of the embedding");
  return vocabulary;
}

}  // namespace pith
