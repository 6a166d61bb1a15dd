#include "tokenize/tokenizer.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/gguf.h"
#include "core/utf8.h"
#include "core/xz.h"
#include "tokenize/added_tokens.h"
#include "tokenize/bpe.h"
#include "tokenize/gpt2_words.h"
#include "tokenize/tokenizer_gguf.h"
#include "tokenize/tokenizer_json.h"

namespace pith {
namespace {

constexpr std::string_view kEndOfText[] = {"<|endoftext|>", "</s>",       "<|end_of_text|>",
                                           "<|im_end|>",    "<|eot_id|>", "<eos>"};

AddedTokenMatcher MatcherOf(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : spec.added_tokens) {
    if (token.normalized != normalized) continue;
    std::string buffer;
    if (normalized) token.content = std::string(spec.normalizers.Apply(token.content, buffer));
    if (!token.content.empty()) tokens.push_back(std::move(token));
  }
  return AddedTokenMatcher(std::move(tokens));
}

// The form in which words reach the model.
WordText WordTextOf(TokenizerSpec& spec) {
  PreTokenizers& pre = spec.pre_tokenizers;
  if (pre.last && Bpe::TakesBytes(spec.model)) return WordText::kBytes;
  pre.SpellOutLast();
  return pre.byte_level ? WordText::kByteCharacters : WordText::kCharacters;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerSpec spec);

  // A stretch of text without added tokens of the first kind (those matched before normalisation).
  void EncodeText(Piece piece, BpeScratch& scratch, std::vector<int32_t>& out) const;
  // One piece, to be cut by pre_tokenizers.steps[step] and those after it.
  void EncodePiece(Piece piece, size_t step, BpeScratch& scratch, std::vector<int32_t>& out) const;
  void EncodeBytes(std::string_view piece, const ByteLevelOptions& options, BpeScratch& scratch,
                   std::vector<int32_t>& out) const;

  AddedTokenMatcher raw_added, normalized_added;
  Normalizers normalizers;
  Bpe bpe;
  PreTokenizers pre_tokenizers;
  TokenDecoder decoder;
  StringMap<int32_t> token_ids;
  std::vector<const std::string*> names;  // [vocab_size] keys of token_ids; null: no token
  std::string bytes;                      // of all tokens, by id
  std::vector<uint32_t> offsets;          // [vocab_size + 1] into `bytes`
  std::vector<bool> special;              // [vocab_size]
  std::optional<int32_t> end_of_text;
};

Tokenizer::Impl::Impl(TokenizerSpec spec)
    : raw_added(MatcherOf(spec, false)),
      normalized_added(MatcherOf(spec, true)),
      normalizers(std::move(spec.normalizers)),
      bpe(spec.model, WordTextOf(spec)),
      pre_tokenizers(std::move(spec.pre_tokenizers)),
      decoder(std::move(spec.decoder)),
      token_ids(std::move(spec.model.vocab)) {
  for (const AddedToken& token : spec.added_tokens) token_ids[token.content] = token.id;

  int32_t highest = 0;
  for (const auto& [token, id] : token_ids) highest = std::max(highest, id);
  offsets.assign(static_cast<size_t>(highest) + 2, 0);
  names.assign(static_cast<size_t>(highest) + 1, nullptr);
  for (const auto& [token, id] : token_ids) names[id] = &token;
  for (size_t id = 0; id < names.size(); ++id) {
    if (names[id] != nullptr) bytes += decoder.Bytes(*names[id], /*first=*/false);
    Require(bytes.size() <= UINT32_MAX, ErrorCode::kUnsupported, spec.model.source,
            ": decoder: the tokens have more than 4 GiB of text");
    offsets[id + 1] = static_cast<uint32_t>(bytes.size());
  }
  special.assign(names.size(), false);
  for (const AddedToken& token : spec.added_tokens) {
    if (token.special) special[token.id] = true;
  }
  for (const std::string_view name : kEndOfText) {
    const auto it = token_ids.find(name);
    if (end_of_text || it == token_ids.end() || !special[it->second]) continue;
    end_of_text = it->second;
  }
}

void Tokenizer::Impl::EncodeText(Piece piece, BpeScratch& scratch,
                                 std::vector<int32_t>& out) const {
  std::string buffer;
  const std::string_view text = normalizers.Apply(piece.text, buffer);
  normalized_added.Split(
      text,
      [&](std::string_view part) {
        EncodePiece({part, piece.starts_text && part.data() == text.data()}, 0, scratch, out);
      },
      [&](int32_t id) { out.push_back(id); });
}

void Tokenizer::Impl::EncodePiece(Piece piece, size_t step, BpeScratch& scratch,
                                  std::vector<int32_t>& out) const {
  if (step < pre_tokenizers.steps.size()) {
    return pre_tokenizers.steps[step]->Cut(
        piece, [&](Piece part) { EncodePiece(part, step + 1, scratch, out); });
  }
  if (pre_tokenizers.last) return EncodeBytes(piece.text, *pre_tokenizers.last, scratch, out);
  bpe.EncodeWord(piece.text, scratch, out);
}

void Tokenizer::Impl::EncodeBytes(std::string_view piece, const ByteLevelOptions& options,
                                  BpeScratch& scratch, std::vector<int32_t>& out) const {
  std::string prefixed;
  if (options.add_prefix_space && !piece.starts_with(' ')) {
    prefixed.append(" ").append(piece);
    piece = prefixed;
  }
  while (!piece.empty()) {
    const size_t length = options.use_regex ? FirstGpt2Word(piece) : piece.size();
    bpe.EncodeWord(piece.substr(0, length), scratch, out);
    piece.remove_prefix(length);
  }
}

Tokenizer::Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Tokenizer Tokenizer::FromFile(const std::filesystem::path& path) {
  if (IsModelFile(path)) {
    const MappedFile file(path);
    if (StartsAsGguf(file.bytes())) {
      const Gguf gguf(file.bytes(), path.string());
      return Tokenizer(std::make_shared<const Impl>(ReadGgufTokenizer(gguf)));
    }
  }
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
      utf8,
      [&](std::string_view text) {
        impl_->EncodeText({text, text.data() == utf8.data()}, scratch, ids);
      },
      [&](int32_t id) { ids.push_back(id); });
  return ids;
}

std::string Tokenizer::TokenBytes(int32_t id) const {
  Require(id >= 0, ErrorCode::kInvalidArgument, "token id: got ", id, ", expected at least 0");
  if (id >= vocab_size()) return "";
  const uint32_t begin = impl_->offsets[id];
  return impl_->bytes.substr(begin, impl_->offsets[id + 1] - begin);
}

bool Tokenizer::AppendToken(int32_t id, bool first, std::string& bytes) const {
  Require(id >= 0, ErrorCode::kInvalidArgument, "token id: got ", id, ", expected at least 0");
  if (id >= vocab_size() || impl_->names[id] == nullptr) return false;
  if (first) {
    bytes += impl_->decoder.Bytes(*impl_->names[id], first);
    return true;
  }
  const uint32_t begin = impl_->offsets[id];
  bytes += impl_->decoder.between();
  bytes.append(impl_->bytes, begin, impl_->offsets[id + 1] - begin);
  return true;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  bool first = true;
  for (const int32_t id : ids) {
    if (skip_special && IsSpecial(id)) continue;
    if (AppendToken(id, first, bytes)) first = false;
  }
  TokenDecoder::FrontState front;
  impl_->decoder.StripFront(front, bytes);
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

struct StreamDecoder::State {
  Tokenizer tokenizer;
  bool skip_special;
  bool first;                        // whether no token has come yet, of the whole text
  bool whole;                        // whether the text begins here
  TokenDecoder::FrontState front{};  // what has been taken from its front
  std::string held{};

  // Hands out `count` bytes of what is held.
  std::string Release(size_t count) {
    std::string text = ReplaceInvalidUtf8(std::string_view(held).substr(0, count));
    held.erase(0, count);
    if (whole) tokenizer.impl_->decoder.StripFront(front, text);
    return text;
  }
};

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool skip_special, bool continues)
    : state_(std::make_unique<State>(
          State{std::move(tokenizer), skip_special, !continues, !continues})) {}
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::Push(int32_t id) {
  State& state = *state_;
  if (state.skip_special && state.tokenizer.IsSpecial(id)) return "";
  if (state.tokenizer.AppendToken(id, state.first, state.held)) state.first = false;
  size_t whole = 0;  // bytes that no later byte can change
  while (whole < state.held.size()) {
    const Utf8Sequence next = NextUtf8(std::string_view(state.held).substr(whole));
    if (next.kind == Utf8Kind::kIncomplete) break;
    whole += next.length;
  }
  return state.Release(whole);
}

std::string StreamDecoder::Finish() { return state_->Release(state_->held.size()); }

}  // namespace pith
