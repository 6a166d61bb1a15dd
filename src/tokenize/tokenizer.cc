#include "tokenize/tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "core/xz.h"
#include "tokenize/added_tokens.h"
#include "tokenize/bpe.h"
#include "tokenize/byte_level.h"
#include "tokenize/pretokenize.h"
#include "tokenize/tokenizer_json.h"
#include "tokenize/unicode.h"

namespace pith {
namespace {

constexpr std::string_view kEndOfText[] = {"<|endoftext|>", "</s>",       "<|end_of_text|>",
                                           "<|im_end|>",    "<|eot_id|>", "<eos>"};

std::array<int32_t, 256> ByteIds(const TokenizerSpec& spec) {
  std::array<int32_t, 256> ids;
  for (int byte = 0; byte < 256; ++byte) {
    const auto it = spec.vocab.find(ByteLevelChar(static_cast<uint8_t>(byte)));
    ids[byte] = it == spec.vocab.end() ? -1 : it->second;
    const bool occurs_in_utf8 = byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
    Require(ids[byte] >= 0 || !occurs_in_utf8, ErrorCode::kUnsupported, spec.source,
            ": model.vocab: no token for the byte ", byte, " (\"",
            ByteLevelChar(static_cast<uint8_t>(byte)),
            "\"), pith supports byte-level vocabularies");
  }
  return ids;
}

StringMap<int32_t> WholeWords(const TokenizerSpec& spec) {
  StringMap<int32_t> words;
  if (!spec.ignore_merges) return words;
  for (const auto& [token, id] : spec.vocab) {
    const std::string bytes = ByteLevelDecode(token);
    std::string spelt;
    for (const char byte : bytes) spelt += ByteLevelChar(static_cast<uint8_t>(byte));
    if (spelt == token) words.emplace(bytes, id);
  }
  return words;
}

AddedTokenMatcher MatcherOf(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  std::string buffer;
  for (AddedToken token : spec.added_tokens) {
    if (token.normalized != normalized) continue;
    if (normalized && spec.nfc) token.content = std::string(NormalizeNfc(token.content, buffer));
    tokens.push_back(std::move(token));
  }
  return AddedTokenMatcher(std::move(tokens));
}

struct Stage {
  PreTokenizerStage spec;
  std::optional<SplitRegex> regex;  // Split
};

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerSpec spec);

  // A stretch of text without added tokens of the first kind (those matched before normalisation).
  void EncodeText(std::string_view text, BpeScratch& scratch, std::vector<int32_t>& out) const;
  // One piece, to be cut by stages[stage] and those after it.
  void EncodePiece(std::string_view piece, size_t stage, BpeScratch& scratch,
                   std::vector<int32_t>& out) const;

  bool nfc;
  AddedTokenMatcher raw_added, normalized_added;
  std::vector<Stage> stages;
  Bpe bpe;
  StringMap<int32_t> token_ids;
  std::string bytes;              // of all tokens, by id
  std::vector<uint32_t> offsets;  // [vocab_size + 1] into `bytes`
  std::vector<bool> special;      // [vocab_size]
  std::optional<int32_t> end_of_text;
};

Tokenizer::Impl::Impl(TokenizerSpec spec)
    : nfc(spec.nfc),
      raw_added(MatcherOf(spec, false)),
      normalized_added(MatcherOf(spec, true)),
      bpe(spec.merges, ByteIds(spec), WholeWords(spec)),
      token_ids(std::move(spec.vocab)) {
  for (PreTokenizerStage& stage : spec.stages) {
    Stage& added = stages.emplace_back(Stage{std::move(stage), std::nullopt});
    if (!added.spec.byte_level) added.regex.emplace(added.spec.pattern, spec.source);
  }
  for (const AddedToken& token : spec.added_tokens) token_ids[token.content] = token.id;

  int32_t highest = 0;
  for (const auto& [token, id] : token_ids) highest = std::max(highest, id);
  offsets.assign(static_cast<size_t>(highest) + 2, 0);
  std::vector<const std::string*> by_id(static_cast<size_t>(highest) + 1, nullptr);
  for (const auto& [token, id] : token_ids) by_id[id] = &token;
  for (size_t id = 0; id < by_id.size(); ++id) {
    if (by_id[id] != nullptr) bytes += ByteLevelDecode(*by_id[id]);
    offsets[id + 1] = static_cast<uint32_t>(bytes.size());
  }
  special.assign(by_id.size(), false);
  for (const AddedToken& token : spec.added_tokens) {
    if (token.special) special[token.id] = true;
  }
  for (const std::string_view name : kEndOfText) {
    const auto it = token_ids.find(name);
    if (end_of_text || it == token_ids.end() || !special[it->second]) continue;
    end_of_text = it->second;
  }
}

void Tokenizer::Impl::EncodeText(std::string_view text, BpeScratch& scratch,
                                 std::vector<int32_t>& out) const {
  std::string buffer;
  if (nfc) text = NormalizeNfc(text, buffer);
  normalized_added.Split(
      text, [&](std::string_view piece) { EncodePiece(piece, 0, scratch, out); },
      [&](int32_t id) { out.push_back(id); });
}

void Tokenizer::Impl::EncodePiece(std::string_view piece, size_t stage, BpeScratch& scratch,
                                  std::vector<int32_t>& out) const {
  const Stage& current = stages[stage];
  if (!current.spec.byte_level) {
    return current.regex->Split(
        piece, [&](std::string_view part) { EncodePiece(part, stage + 1, scratch, out); });
  }
  std::string prefixed;
  if (current.spec.add_prefix_space && !piece.starts_with(' ')) {
    prefixed.append(" ").append(piece);
    piece = prefixed;
  }
  while (!piece.empty()) {
    const size_t length = current.spec.use_regex ? FirstGpt2Word(piece) : piece.size();
    bpe.EncodeWord(piece.substr(0, length), scratch, out);
    piece.remove_prefix(length);
  }
}

Tokenizer::Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Tokenizer Tokenizer::FromFile(const std::filesystem::path& path) {
  return FromJson(ReadDataFile(path, kMaxTokenizerBytes), path.string());
}

Tokenizer Tokenizer::FromJson(std::string_view text, std::string source) {
  return Tokenizer(std::make_shared<const Impl>(ParseTokenizerJson(text, source)));
}

std::vector<int32_t> Tokenizer::Encode(std::string_view utf8) const {
  static thread_local BpeScratch scratch;
  std::string repaired;
  if (ValidUtf8Prefix(utf8) != utf8.size()) {
    repaired = ReplaceInvalidUtf8(utf8);
    utf8 = repaired;
  }
  std::vector<int32_t> ids;
  ids.reserve(utf8.size() / 4);
  impl_->raw_added.Split(
      utf8, [&](std::string_view text) { impl_->EncodeText(text, scratch, ids); },
      [&](int32_t id) { ids.push_back(id); });
  return ids;
}

std::string Tokenizer::TokenBytes(int32_t id) const {
  Require(id >= 0, ErrorCode::kInvalidArgument, "token id: got ", id, ", expected at least 0");
  if (id >= vocab_size()) return "";
  const uint32_t begin = impl_->offsets[id];
  return impl_->bytes.substr(begin, impl_->offsets[id + 1] - begin);
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!skip_special || !IsSpecial(id)) bytes += TokenBytes(id);
  }
  return bytes;
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(impl_->special.size()); }

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  const auto it = impl_->token_ids.find(token);
  if (it == impl_->token_ids.end()) return std::nullopt;
  return it->second;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && impl_->special[id];
}

std::optional<int32_t> Tokenizer::end_of_text() const { return impl_->end_of_text; }

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

std::string StreamDecoder::Push(int32_t id) {
  held_ += tokenizer_.Decode({&id, 1}, skip_special_);
  size_t whole = 0;  // bytes that no later byte can change
  while (whole < held_.size()) {
    const Utf8Sequence next = NextUtf8(std::string_view(held_).substr(whole));
    if (next.kind == Utf8Kind::kIncomplete) break;
    whole += next.length;
  }
  std::string text = ReplaceInvalidUtf8(std::string_view(held_).substr(0, whole));
  held_.erase(0, whole);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = ReplaceInvalidUtf8(held_);
  held_.clear();
  return text;
}

}  // namespace pith
