// The vocabularies that GGUF files call "llama": pieces with scores, as SentencePiece trains them
// for a byte-pair encoding. There are no merges in them. Two neighbours merge where together they
// are a piece; the piece of the highest score goes first, of equal scores the leftmost pair.
#ifndef PITH_TOKENIZE_GGUF_PIECES_H_
#define PITH_TOKENIZE_GGUF_PIECES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer_gguf.h"

namespace pith {

// The other stages, as a tokenizer.json says them. With a prefix a blank goes before the text and
// after each added token, and is taken from the front of what is decoded.
struct GgufPieceStages {
  std::string_view normalizer, decoder;
};
inline constexpr GgufPieceStages kPiecesWithPrefix = {
    R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
    R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]})",
    R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
    R"({"type":"ByteFallback"},{"type":"Fuse"},)"
    R"({"type":"Strip","content":" ","start":1,"stop":0}]})"};
inline constexpr GgufPieceStages kPiecesWithoutPrefix = {
    R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})",
    R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
    R"({"type":"ByteFallback"},{"type":"Fuse"}]})"};

// Whether a token can come of a merge: a piece, or an added token that is text.
inline bool IsPiece(GgufTokenType type) {
  return type == GgufTokenType::kNormal || type == GgufTokenType::kUserDefined;
}

// The merges of `spec`, from its vocabulary and each id's type and score (NaN is none). Throws,
// beginning with `where`: kCorruptData for a token of more than 512 bytes, since one of n bytes
// costs n look-ups of up to n bytes, and for more than 2²² merges (Llama 2 has
// 61,000); kUnsupported for a pair that
// merges though a character of it is no token.
void MergeByScore(std::span<const GgufTokenType> types, std::span<const float> scores,
                  const std::string& where, BpeSpec& spec);

// Scores by which pieces merge as `spec`, a tokenizer.json's model, merges them. Throws
// kUnsupported, beginning with `where`, unless every text gets the same ids.
std::vector<float> ScoresOf(const BpeSpec& spec, std::span<const GgufTokenType> types,
                            const std::string& where);

}  // namespace pith

#endif  // PITH_TOKENIZE_GGUF_PIECES_H_
