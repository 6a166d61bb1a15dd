// A tokenizer.json as a GGUF file says it. What such a file cannot say would change ids without a
// word, so it is refused.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/json.h"
#include "tokenize/component.h"
#include "tokenize/gguf_pieces.h"
#include "tokenize/gguf_pre.h"
#include "tokenize/model_json.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {
namespace {

// A stage as far as it matters: offsets are none of pith's business, and defaults are written out.
Json Essential(Json stage) {
  if (!stage.is_object()) return stage;
  for (auto& [key, value] : stage.items()) {
    if (value.is_object()) value = Essential(value);
    if (!value.is_array()) continue;
    for (Json& part : value) part = Essential(part);
  }
  stage.erase("trim_offsets");
  const std::string type = stage.value("type", "");
  if (type == "ByteLevel" && !stage.contains("use_regex")) stage["use_regex"] = true;
  if (type == "Split" && !stage.contains("invert")) stage["invert"] = false;
  // A sequence of one is that one.
  for (const char* list : {"pretokenizers", "normalizers"}) {
    if (type == "Sequence" && stage.contains(list) && stage[list].size() == 1) {
      return Json(stage[list][0]);
    }
  }
  return stage;
}

Json Stage(const Json& json, const char* name) {
  const auto it = json.find(name);
  return it == json.end() ? Json() : Essential(*it);
}

const GgufPre& PreOf(const Component& top, const Json& json, const BpeSpec& model) {
  const auto parsed = [](std::string_view text) {
    return text.empty() ? Json() : Essential(ParseJson(text, "pre"));
  };
  for (const GgufPre& pre : kGgufPres) {
    if (Stage(json, "normalizer") == parsed(pre.normalizer) &&
        Stage(json, "pre_tokenizer") == parsed(pre.pre_tokenizer) &&
        model.ignore_merges == pre.ignore_merges) {
      return pre;
    }
  }
  Throw(ErrorCode::kUnsupported, top.Where("pre_tokenizer"), ": got ",
        Shown(Stage(json, "pre_tokenizer")), " with the normalizer ",
        Shown(Stage(json, "normalizer")), " and ignore_merges ", model.ignore_merges ? "on" : "off",
        ", which no name of a GGUF pre-tokenizer that pith writes stands for");
}

void CheckByteLevel(const Component& top, const BpeSpec& model, const Json& decoder) {
  const bool plain = !model.unk_token && model.prefix.empty() && model.suffix.empty();
  Require(plain, ErrorCode::kUnsupported, top.Where("model"),
          ": got an unk_token, a prefix or a suffix, of which a GGUF file cannot tell");
  Require(decoder.is_object() && decoder.value("type", "") == "ByteLevel", ErrorCode::kUnsupported,
          top.Where("decoder"), ": got ", Shown(decoder), ", expected ByteLevel, as in GGUF files");
}

// Whether pieces get the prefix that GGUF files tell of.
bool PrefixOfPieces(const Component& top, const Json& json) {
  for (const bool prefix : {true, false}) {
    const GgufPieceStages& stages = prefix ? kPiecesWithPrefix : kPiecesWithoutPrefix;
    const auto same = [&](const char* name, std::string_view text) {
      return Stage(json, name) == Essential(ParseJson(text, name));
    };
    if (same("normalizer", stages.normalizer) && Stage(json, "pre_tokenizer").is_null() &&
        same("decoder", stages.decoder)) {
      return prefix;
    }
  }
  Throw(ErrorCode::kUnsupported, top.Where("normalizer"), ": got ",
        Shown(Stage(json, "normalizer")), " with the pre_tokenizer ",
        Shown(Stage(json, "pre_tokenizer")), " and the decoder ", Shown(Stage(json, "decoder")),
        ", which a GGUF file cannot tell of a vocabulary with byte_fallback");
}

void CheckPieces(const Component& top, const BpeSpec& model) {
  const bool plain = !model.ignore_merges && model.prefix.empty() && model.suffix.empty();
  Require(plain, ErrorCode::kUnsupported, top.Where("model"),
          ": got byte_fallback with ignore_merges, a prefix or a suffix, of which a GGUF file "
          "cannot tell");
  const int missing = Bpe::MissingFallback(model);
  Require(missing < 0, ErrorCode::kUnsupported, top.Where("model"), ": vocab: no \"",
          Bpe::FallbackSpelling(std::max(missing, 0)),
          "\", expected all bytes, as GGUF files have them");
}

// Whether a text can hold both, sharing a part.
bool Overlap(std::string_view a, std::string_view b) {
  if (a.find(b) != a.npos || b.find(a) != b.npos) return true;
  for (size_t n = 1; n < std::min(a.size(), b.size()); ++n) {
    if (a.ends_with(b.substr(0, n)) || b.ends_with(a.substr(0, n))) return true;
  }
  return false;
}

// Whether `token`, which is text, is found where `pre` has such tokens found. Without a normaliser
// that is so even where the file says otherwise, unless special tokens, which are looked for first
// in one case and at the same time in the other, could share a part with it.
bool MatchedAlike(const AddedToken& token, const GgufPre& pre,
                  const std::vector<AddedToken>& added) {
  constexpr size_t kMostCompared = 2000;  // bounds the time that a file of many can take
  if (token.normalized == pre.normalized_added) return true;
  return pre.normalizer.empty() && added.size() <= kMostCompared &&
         std::ranges::none_of(added, [&](const AddedToken& other) {
           return (other.special || other.normalized != token.normalized) &&
                  Overlap(token.content, other.content);
         });
}

void CheckAdded(const Component& top, const AddedToken& token, bool alike) {
  const bool plain = !token.single_word && !token.lstrip && !token.rstrip && alike;
  Require(plain, ErrorCode::kUnsupported, top.Where("added_tokens"), ": ",
          Shown(Json(token.content)),
          ": got single_word, lstrip, rstrip or an unusual normalized, of which a GGUF file cannot "
          "tell");
}

void Put(GgufVocabulary& vocabulary, const std::string& token, int32_t id, GgufTokenType type) {
  vocabulary.tokens[static_cast<size_t>(id)] = token;
  vocabulary.types[static_cast<size_t>(id)] = type;
}

// Tokens and their types.
GgufVocabulary ListTokens(const TokenizerSpec& spec, const std::string& source, int64_t size) {
  GgufVocabulary vocabulary;
  int64_t highest = 0;
  for (const auto& [token, id] : spec.model.vocab) highest = std::max<int64_t>(highest, id);
  for (const AddedToken& token : spec.added_tokens) highest = std::max<int64_t>(highest, token.id);
  Require(highest < size, ErrorCode::kCorruptData, source, ": the tokenizer has ids up to ",
          highest, ", expected at most ", size - 1, ", the model's last embedding row");
  for (int64_t id = 0; id < size; ++id) vocabulary.tokens.push_back(StrCat("[PAD", id, "]"));
  vocabulary.types.assign(static_cast<size_t>(size), GgufTokenType::kUnused);
  for (const auto& [token, id] : spec.model.vocab) {
    Put(vocabulary, token, id, GgufTokenType::kNormal);
  }
  for (const AddedToken& token : spec.added_tokens) {
    Put(vocabulary, token.content, token.id,
        token.special ? GgufTokenType::kControl : GgufTokenType::kUserDefined);
  }
  return vocabulary;
}

void AddByteLevel(const Component& top, const Json& json, const TokenizerSpec& spec,
                  GgufVocabulary& vocabulary) {
  CheckByteLevel(top, spec.model, Stage(json, "decoder"));
  const GgufPre& pre = PreOf(top, json, spec.model);
  vocabulary.pre = pre.name;
  for (const AddedToken& token : spec.added_tokens) {
    const bool alike =
        token.special ? !token.normalized : MatchedAlike(token, pre, spec.added_tokens);
    CheckAdded(top, token, alike);
  }
  std::vector<const std::string*> names(vocabulary.tokens.size());
  for (const auto& [token, id] : spec.model.vocab) names[static_cast<size_t>(id)] = &token;
  for (const Merge& merge : spec.model.merges) {
    const std::string& left = *names[static_cast<size_t>(merge.left)];
    const std::string& right = *names[static_cast<size_t>(merge.right)];
    Require(left.find(' ') == left.npos && right.find(' ') == right.npos, ErrorCode::kUnsupported,
            top.Where("model"), ": merges: ", Shown(Json(left)), " and ", Shown(Json(right)),
            ": got a blank, which stands between the parts of a merge in GGUF files");
    vocabulary.merges.push_back(StrCat(left, " ", right));
  }
}

void AddPieces(const Component& top, const Json& json, const TokenizerSpec& spec,
               GgufVocabulary& vocabulary) {
  CheckPieces(top, spec.model);
  vocabulary.pieces = true;
  vocabulary.pre = "default";
  vocabulary.add_space_prefix = PrefixOfPieces(top, json);
  for (const AddedToken& token : spec.added_tokens) CheckAdded(top, token, !token.normalized);
  for (int byte = 0; byte < 256; ++byte) {
    const auto it = spec.model.vocab.find(Bpe::FallbackSpelling(byte));
    if (it == spec.model.vocab.end()) continue;
    GgufTokenType& type = vocabulary.types[static_cast<size_t>(it->second)];
    Require(type == GgufTokenType::kNormal, ErrorCode::kUnsupported, top.Where("added_tokens"),
            ": ", Shown(Json(it->first)), ": got an added token, expected a byte");
    type = GgufTokenType::kByte;
  }
  vocabulary.scores = ScoresOf(spec.model, vocabulary.types, top.Where("model"));
}

}  // namespace

GgufVocabulary ToGgufVocabulary(std::string_view tokenizer_json, const std::string& source,
                                int64_t size) {
  const TokenizerSpec spec = ParseTokenizerJson(tokenizer_json, source);
  const Json json = ParseJson(tokenizer_json, source);
  const Component top(json, source, "");
  GgufVocabulary vocabulary = ListTokens(spec, source, size);
  (spec.model.byte_fallback ? AddPieces : AddByteLevel)(top, json, spec, vocabulary);
  return vocabulary;
}

}  // namespace pith
