#include "tokenize/tokenizer_gguf.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/utf8.h"
#include "tokenize/component.h"
#include "tokenize/gguf_pieces.h"
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
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kPrefix = "tokenizer.ggml.add_space_prefix";

// What Encode adds (nothing), which token ends a text (the engine reads that), templates of chats,
// and what one of the two models reads and the other does not.
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

bool HasPieces(const Gguf& file) { return file.String(kModel) == "llama"; }

void CheckByte(std::string_view token, bool pieces, const std::string& where) {
  Require(pieces, ErrorCode::kUnsupported, where,
          ": got a token of type 6 (byte), expected none in a byte-level vocabulary");
  for (int byte = 0; byte < 256; ++byte) {
    if (token == Bpe::FallbackSpelling(byte)) return;
  }
  Throw(ErrorCode::kCorruptData, where, ": got ", Shown(Json(Excerpt(token))),
        " of type 6 (byte), expected one of \"<0x00>\" to \"<0xFF>\"");
}

// A token of the list goes into the vocabulary and, where its type says so, among the added tokens.
void AddToken(std::string_view token, int32_t id, GgufTokenType type, const std::string& where,
              bool normalized_added, TokenizerSpec& spec) {
  Require(!token.empty() && ValidUtf8Prefix(token) == token.size(), ErrorCode::kCorruptData, where,
          ": got ", Shown(Json(Excerpt(token))), ", expected a text in UTF-8");
  Require(spec.model.vocab.emplace(token, id).second, ErrorCode::kCorruptData, where, ": ",
          Shown(Json(token)), " is the text of an earlier token too");
  if (type == GgufTokenType::kNormal || type == GgufTokenType::kByte) return;
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

// The tokens and what they are, into the vocabulary of `spec`. Returns each id's type.
std::vector<GgufTokenType> ReadTokens(const Gguf& file, bool normalized_added,
                                      TokenizerSpec& spec) {
  const std::string& source = file.source();
  const std::vector<std::string_view> tokens = file.Strings(kTokens);
  Require(!tokens.empty() && std::ssize(tokens) <= kMaxTokenId + 1, ErrorCode::kCorruptData, source,
          ": ", kTokens, ": got ", tokens.size(), " tokens, expected 1 to ", kMaxTokenId + 1);
  std::vector<GgufTokenType> types = ReadTypes(file, tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (types[id] == GgufTokenType::kUnused) continue;
    const std::string where = StrCat(source, ": ", kTokens, "[", id, "]");
    if (types[id] == GgufTokenType::kByte) CheckByte(tokens[id], HasPieces(file), where);
    AddToken(tokens[id], static_cast<int32_t>(id), types[id], where, normalized_added, spec);
  }
  std::stable_partition(spec.added_tokens.begin(), spec.added_tokens.end(),
                        [](const AddedToken& token) { return token.special; });
  return types;
}

std::vector<float> ReadScores(const Gguf& file, size_t tokens) {
  std::vector<float> scores = file.Floats(kScores);
  Require(scores.size() == tokens, ErrorCode::kCorruptData, file.source(), ": ", kScores, ": got ",
          scores.size(), " scores, expected ", tokens, ", one for each token");
  for (size_t id = 0; id < scores.size(); ++id) {
    Require(!std::isnan(scores[id]), ErrorCode::kCorruptData, file.source(), ": ", kScores, "[", id,
            "]: got NaN, expected a number");
  }
  return scores;
}

void ReadByteLevel(const Gguf& file, TokenizerSpec& spec) {
  const std::string& source = file.source();
  const GgufPre& pre = FindPre(file);
  if (!pre.normalizer.empty()) {
    spec.normalizers =
        FromText(pre.normalizer, source, [](const Component& json) { return Normalizers(json); });
  }
  spec.pre_tokenizers = FromText(pre.pre_tokenizer, source, ReadPreTokenizers);
  spec.decoder = FromText(R"({"type":"ByteLevel"})", source,
                          [](const Component& json) { return TokenDecoder(json); });
  spec.model.ignore_merges = pre.ignore_merges;
  ReadTokens(file, pre.normalized_added, spec);
  MergeList merges(spec.model, kTokens);
  for (const std::string_view text : file.Strings(kMerges)) {
    const std::string where = StrCat(source, ": ", kMerges, "[", spec.model.merges.size(), "]: ");
    const auto [left, right] = SplitMerge(text, where);
    merges.Add(left, right, where);
  }
}

// A character that is no token becomes its bytes; in a vocabulary without bytes, the unknown token.
void ReadFallback(const Gguf& file, std::span<const GgufTokenType> types, TokenizerSpec& spec) {
  for (const AddedToken& token : spec.added_tokens) {
    if (types[token.id] == GgufTokenType::kUnknown) spec.model.unk_token = token.content;
  }
  spec.model.byte_fallback = true;
  spec.model.fuse_unk = true;
  const int missing = Bpe::MissingFallback(spec.model);
  const bool bytes = std::ranges::find(types, GgufTokenType::kByte) != types.end();
  Require(missing < 0 || (!bytes && spec.model.unk_token), ErrorCode::kCorruptData, file.source(),
          ": ", kTokens, ": no \"", Bpe::FallbackSpelling(std::max(missing, 0)), "\"",
          bytes ? ", expected all bytes" : ", and no token of type 2 (unknown)");
}

void ReadPieces(const Gguf& file, TokenizerSpec& spec) {
  const std::string& source = file.source();
  const bool prefix = !file.Has(kPrefix) || file.Bool(kPrefix);
  const GgufPieceStages& stages = prefix ? kPiecesWithPrefix : kPiecesWithoutPrefix;
  spec.normalizers =
      FromText(stages.normalizer, source, [](const Component& json) { return Normalizers(json); });
  spec.decoder =
      FromText(stages.decoder, source, [](const Component& json) { return TokenDecoder(json); });
  const std::vector<GgufTokenType> types = ReadTokens(file, /*normalized_added=*/false, spec);
  ReadFallback(file, types, spec);
  MergeByScore(types, ReadScores(file, types.size()), StrCat(source, ": ", kTokens), spec.model);
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
  const bool pieces = HasPieces(file);
  Require(pieces || file.String(kModel) == "gpt2", ErrorCode::kUnsupported, file.source(), ": ",
          kModel, ": got ", file.Shown(kModel),
          ", expected \"gpt2\" or \"llama\"; with the model's tokenizer.json, --tokenizer takes "
          "it");
  CheckKeys(file);
  TokenizerSpec spec;
  spec.model.source = file.source();
  pieces ? ReadPieces(file, spec) : ReadByteLevel(file, spec);
  return spec;
}

GgufVocabulary ToGgufVocabulary(const Gguf& file, int64_t size) {
  ReadGgufTokenizer(file);  // checks it
  GgufVocabulary vocabulary{.pieces = HasPieces(file)};
  for (const std::string_view token : file.Strings(kTokens)) vocabulary.tokens.emplace_back(token);
  vocabulary.types = ReadTypes(file, vocabulary.tokens.size());
  if (vocabulary.pieces) {
    vocabulary.pre = "default";
    vocabulary.scores = file.Floats(kScores);
    vocabulary.add_space_prefix = !file.Has(kPrefix) || file.Bool(kPrefix);
  } else {
    vocabulary.pre = file.String(kPre);
    for (const std::string_view merge : file.Strings(kMerges)) {
      vocabulary.merges.emplace_back(merge);
    }
  }
  Require(std::ssize(vocabulary.tokens) == size, ErrorCode::kCorruptData, file.source(), ": ",
          kTokens, ": got ", vocabulary.tokens.size(), " tokens, expected ", size,
          ", one for each row of the embedding");
  return vocabulary;
}

}  // namespace pith
