// Merging by score is merging by rank, with one rank for all pairs that make the same piece: so a
// piece's merges are all its cuts into two pieces, and the model needs no second algorithm.
//
// Back from ranks to scores. Whatever stands around a piece, it is made of its characters as if it
// stood alone: no merge crosses its edges, since it stands there in the end, and those inside come
// in the same order. So each piece is made by one pair only, always the same, and other pairs that
// would make it never merge. Two models with the same pieces therefore give the same ids to every
// text if pieces come in the same order and each piece, encoded by itself, becomes the same ids:
// the shortest piece that the two made of different pairs would be made of two halves that both
// models arrive at, and where only one of them can go on, ids differ.
#include "tokenize/gguf_pieces.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "core/utf8.h"
#include "tokenize/component.h"

namespace pith {
namespace {

constexpr size_t kMaxPiece = 512;
constexpr size_t kMaxMerges = size_t{1} << 22;

bool IsCharacter(std::string_view text) {
  return static_cast<size_t>(DecodeUtf8(text.data()).length) == text.size();
}

std::string Quoted(std::string_view text) { return Shown(Json(text)); }

// One half of a piece.
struct Half {
  int32_t id;   // -1: no token
  bool occurs;  // whether a text can come to hold it
};

Half Find(std::string_view text, std::span<const GgufTokenType> types, const BpeSpec& spec) {
  const auto it = spec.vocab.find(text);
  if (it == spec.vocab.end()) return {-1, IsCharacter(text)};
  return {it->second, IsCharacter(text) || IsPiece(types[static_cast<size_t>(it->second)])};
}

// The merges that make `piece`.
void AddCuts(std::string_view piece, int32_t id, int32_t rank, std::span<const GgufTokenType> types,
             const std::string& where, BpeSpec& spec) {
  Require(piece.size() <= kMaxPiece, ErrorCode::kCorruptData, where, "[", id, "]: got ",
          piece.size(), " bytes, expected at most ", kMaxPiece);
  size_t cut = 0;
  while (true) {
    cut += static_cast<size_t>(DecodeUtf8(piece.data() + cut).length);
    if (cut == piece.size()) return;
    const Half left = Find(piece.substr(0, cut), types, spec);
    if (!left.occurs) continue;
    const Half right = Find(piece.substr(cut), types, spec);
    if (!right.occurs) continue;
    if (left.id < 0 || right.id < 0) {  // no Require: its message would be made for each merge
      Throw(ErrorCode::kUnsupported, where, "[", id, "]: got ", Quoted(piece), ", but ",
            Quoted(left.id < 0 ? piece.substr(0, cut) : piece.substr(cut)), " is no token");
    }
    spec.merges.push_back({left.id, right.id, id, rank});
  }
}

std::vector<const std::string*> NamesOf(const BpeSpec& spec, size_t size) {
  std::vector<const std::string*> names(size);
  for (const auto& [token, id] : spec.vocab) names[static_cast<size_t>(id)] = &token;
  return names;
}

}  // namespace

void MergeByScore(std::span<const GgufTokenType> types, std::span<const float> scores,
                  const std::string& where, BpeSpec& spec) {
  const std::vector<const std::string*> names = NamesOf(spec, types.size());
  // An added token is found before anything merges, but for one with a mark that a blank became.
  const auto merges = [&](int32_t id) {
    return names[id] != nullptr && IsPiece(types[id]) &&
           (types[id] == GgufTokenType::kNormal || names[id]->find("▁") != std::string::npos);
  };
  std::vector<int32_t> order;
  for (int32_t id = 0; id < std::ssize(types); ++id) {
    if (merges(id)) order.push_back(id);
  }
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  spec.merges.clear();
  int32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && scores[order[i]] != scores[order[i - 1]]) ++rank;
    AddCuts(*names[order[i]], order[i], rank, types, where, spec);
    Require(spec.merges.size() <= kMaxMerges, ErrorCode::kCorruptData, where,
            ": got pieces that merge in more than ", kMaxMerges, " ways");
  }
}

std::vector<float> ScoresOf(const BpeSpec& spec, std::span<const GgufTokenType> types,
                            const std::string& where) {
  const std::vector<const std::string*> names = NamesOf(spec, types.size());
  std::vector<float> scores(types.size(), 0.0f);  // those of bytes and control tokens stay 0
  std::vector<bool> made(types.size());
  float next = 0.0f;
  int32_t last = -1;
  for (const Merge& merge : spec.merges) {
    for (const int32_t id : {merge.left, merge.right, merge.merged}) {
      if (!IsPiece(types[id])) {
        Throw(ErrorCode::kUnsupported, where, ": merges: ", Quoted(*names[id]),
              " is a special token or a byte, which GGUF files do not merge");
      }
    }
    if (merge.merged == last) continue;
    last = merge.merged;
    if (made[last]) {
      Throw(ErrorCode::kUnsupported, where, ": merges: those that make ", Quoted(*names[last]),
            " are apart, where GGUF files have one score for them");
    }
    made[last] = true;
    scores[last] = next--;
  }
  for (size_t id = 0; id < types.size(); ++id) {
    if (IsPiece(types[id]) && !made[id]) scores[id] = next;
  }
  BpeSpec scored = spec;
  MergeByScore(types, scores, where, scored);
  const Bpe by_rank(spec, WordText::kCharacters), by_score(scored, WordText::kCharacters);
  BpeScratch scratch;
  std::vector<int32_t> expected, got;
  for (size_t id = 0; id < types.size(); ++id) {
    if (names[id] == nullptr || !IsPiece(types[id])) continue;
    expected.clear();
    got.clear();
    by_rank.EncodeWord(*names[id], scratch, expected);
    by_score.EncodeWord(*names[id], scratch, got);
    if (got != expected) {
      Throw(ErrorCode::kUnsupported, where, ": merges: ", Quoted(*names[id]),
            " becomes other tokens where any two that are one in the vocabulary merge, as they do "
            "in GGUF files");
    }
  }
  return scores;
}

}  // namespace pith
