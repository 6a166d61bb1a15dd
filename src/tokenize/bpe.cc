// Training a byte-pair encoding ranked pairs of tokens by how often they stood side by side;
// encoding replays that ranking. A word starts as one token a character, and the neighbours of
// lowest rank merge, the leftmost first, until no neighbours are a known pair. Looking at all pairs
// again after each merge would be quadratic in the word's length, which a text without blanks turns
// into minutes. So a long word keeps its candidates in a heap and its tokens in a linked list: a
// merge touches two neighbours, and candidates that it makes obsolete stay in the heap until they
// come up and are seen to be too old. A short word, which nearly all are, is scanned instead, since
// 48 ranks beside each other cost less than a heap. And most words of a text have been seen before:
// words of up to 15 bytes are kept with their ids, in a table that never grows.
#include "tokenize/bpe.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "tokenize/byte_level.h"
#include "tokenize/component.h"

namespace pith {
namespace {

constexpr uint32_t kEnd = UINT32_MAX;
// Up to here a scan for the lowest rank costs less than a heap.
constexpr size_t kMaxShortWord = 48;
// Scratch of longer words is given back.
constexpr size_t kMaxKeptSymbols = size_t{1} << 14;

std::array<int32_t, 256> IdsOfBytes(const StringMap<int32_t>& vocab, std::string (*spell)(int)) {
  std::array<int32_t, 256> ids;
  for (int byte = 0; byte < 256; ++byte) {
    const auto it = vocab.find(spell(byte));
    ids[byte] = it == vocab.end() ? -1 : it->second;
  }
  return ids;
}

std::array<int32_t, 256> ByteLevelIds(const StringMap<int32_t>& vocab) {
  return IdsOfBytes(vocab, [](int byte) { return ByteLevelChar(static_cast<uint8_t>(byte)); });
}

bool OccursInUtf8(int byte) { return byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4); }

// The byte that occurs in UTF-8 and has no token, or -1.
int MissingByte(const std::array<int32_t, 256>& ids) {
  for (int byte = 0; byte < 256; ++byte) {
    if (ids[byte] < 0 && OccursInUtf8(byte)) return byte;
  }
  return -1;
}

// The vocabulary's byte-level strings as the bytes that they stand for.
StringMap<int32_t> AsBytes(const StringMap<int32_t>& vocab) {
  StringMap<int32_t> words;
  for (const auto& [token, id] : vocab) {
    const std::string bytes = ByteLevelDecode(token);
    std::string spelt;
    for (const char byte : bytes) spelt += ByteLevelChar(static_cast<uint8_t>(byte));
    if (spelt == token) words.emplace(bytes, id);
  }
  return words;
}

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges)
    : entries_(std::bit_ceil(2 * merges.size() + 2), Entry{-1, -1, kNone, -1}),
      mask_(entries_.size() - 1) {
  for (const Merge& merge : merges) {
    entries_[Place(merge.left, merge.right)] = {merge.left, merge.right, merge.rank, merge.merged};
  }
}

bool Bpe::TakesBytes(const BpeSpec& spec) {
  return spec.prefix.empty() && spec.suffix.empty() && MissingByte(ByteLevelIds(spec.vocab)) < 0;
}

std::string Bpe::FallbackSpelling(int byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

int Bpe::MissingFallback(const BpeSpec& spec) {
  return MissingByte(IdsOfBytes(spec.vocab, FallbackSpelling));
}

Bpe::Bpe(const BpeSpec& spec, WordText text)
    : table_(spec.merges),
      bytes_(text == WordText::kBytes),
      byte_ids_(ByteLevelIds(spec.vocab)),
      ignore_merges_(spec.ignore_merges),
      affixes_(!spec.prefix.empty() || !spec.suffix.empty()),
      fuse_unk_(spec.fuse_unk),
      byte_fallback_(spec.byte_fallback),
      fallback_ids_(IdsOfBytes(spec.vocab, FallbackSpelling)),
      unk_token_(spec.unk_token),
      prefix_(spec.prefix),
      suffix_(spec.suffix),
      source_(spec.source) {
  static std::atomic<uint32_t> counter{0};
  owner_ = ++counter;
  if (text != WordText::kCharacters && !unk_token_ && !byte_fallback_ && !affixes_) {
    const int missing = MissingByte(byte_ids_);
    Require(missing < 0, ErrorCode::kUnsupported, source_, ": model.vocab: no token for the byte ",
            missing, " (\"", ByteLevelChar(static_cast<uint8_t>(std::max(missing, 0))),
            "\"), and neither unk_token nor byte_fallback");
  }
  if (unk_token_) {
    const auto it = spec.vocab.find(*unk_token_);
    if (it != spec.vocab.end()) unk_id_ = it->second;
  }
  if (ignore_merges_ || affixes_) strings_ = bytes_ ? AsBytes(spec.vocab) : spec.vocab;
  if (bytes_) return;
  byte_ids_.fill(kNone);
  for (const auto& [token, id] : spec.vocab) {
    const CodePoint c = DecodeUtf8(token.data());
    if (static_cast<size_t>(c.length) != token.size()) continue;
    c.value < 256 ? byte_ids_[c.value] = id : character_ids_[c.value] = id;
  }
}

void Bpe::EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (word.size() > BpeScratch::kMaxWord) return Merge(word, scratch, out);
  uint64_t key[2] = {0, 0};
  std::memcpy(key, word.data(), word.size());
  key[1] |= static_cast<uint64_t>(word.size()) << 56;
  if (scratch.cache_.empty()) scratch.cache_.resize(BpeScratch::kCacheSize);
  const uint64_t hash =
      (key[0] ^ std::rotl(key[1] * 0x9E3779B97F4A7C15u, 29) ^ owner_) * 0xD6E8FEB86659FD93u;
  auto& cached = scratch.cache_[hash >> 49];
  static_assert(BpeScratch::kCacheSize == size_t{1} << (64 - 49));

  if (cached.key[0] == key[0] && cached.key[1] == key[1] && cached.owner == owner_) {
    out.insert(out.end(), cached.ids, cached.ids + cached.count);
    return;
  }
  const size_t before = out.size();
  Merge(word, scratch, out);
  const size_t count = out.size() - before;
  if (count > BpeScratch::kMaxIds) return;
  std::copy(out.begin() + before, out.end(), cached.ids);
  cached.key[0] = key[0];
  cached.key[1] = key[1];
  cached.owner = owner_;
  cached.count = static_cast<uint32_t>(count);
}

void Bpe::Merge(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (ignore_merges_) {
    const auto found = strings_.find(word);
    if (found != strings_.end()) return out.push_back(found->second);
  }
  auto& ids = scratch.ids_;
  ids.clear();
  if (bytes_) {
    for (const char byte : word) ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
  } else {
    AppendCharacters(word, ids);
  }
  ids.size() <= kMaxShortWord ? MergeShort(scratch, out) : MergeLong(scratch, out);
}

std::string Bpe::Spelling(std::string_view character, bool first, bool last) const {
  std::string spelling = first ? "" : prefix_;
  spelling += character;
  if (last) spelling += suffix_;
  return spelling;
}

int32_t Bpe::CharacterId(std::string_view character, bool first, bool last) const {
  if (affixes_) {
    const auto it = strings_.find(Spelling(character, first, last));
    return it == strings_.end() ? kNone : it->second;
  }
  const int32_t c = DecodeUtf8(character.data()).value;
  if (c < 256) return byte_ids_[c];
  const auto it = character_ids_.find(c);
  return it == character_ids_.end() ? kNone : it->second;
}

bool Bpe::AppendFallback(std::string_view spelling, std::vector<int32_t>& ids) const {
  const auto id_of = [&](char byte) { return fallback_ids_[static_cast<uint8_t>(byte)]; };
  const bool all = std::all_of(spelling.begin(), spelling.end(),
                               [&](char byte) { return id_of(byte) != kNone; });
  if (!all) return false;
  for (const char byte : spelling) ids.push_back(id_of(byte));
  return true;
}

int32_t Bpe::UnknownId() const {
  Require(unk_id_ != kNone, ErrorCode::kCorruptData, source_, ": model.unk_token: got ",
          Shown(Json(*unk_token_)), ", which is not in model.vocab, but this text needs it");
  return unk_id_;
}

void Bpe::AppendCharacters(std::string_view word, std::vector<int32_t>& ids) const {
  // As in the `tokenizers` package an unknown character is written when the next one is not one of
  // its run, but after bytes that stand between.
  bool unknown = false;
  const auto flush = [&] {
    if (unknown) ids.push_back(UnknownId());
    unknown = false;
  };
  for (size_t i = 0, next = 0; i < word.size(); i = next) {
    next = i + DecodeUtf8(word.data() + i).length;
    const std::string_view character = word.substr(i, next - i);
    const bool first = i == 0, last = next == word.size();
    const int32_t id = CharacterId(character, first, last);
    if (id != kNone) {
      flush();
      ids.push_back(id);
      continue;
    }
    if (byte_fallback_ && AppendFallback(Spelling(character, first, last), ids)) continue;
    if (!unk_token_) continue;  // the package leaves the character out
    if (!fuse_unk_) flush();
    unknown = true;
  }
  flush();
}

void Bpe::MergeShort(BpeScratch& scratch, std::vector<int32_t>& out) const {
  auto& ids = scratch.ids_;
  auto& ranks = scratch.ranks_;  // ranks[i]: of the pair (i, i + 1); the last is kNone
  ranks.assign(ids.size(), MergeTable::kNone);
  const auto update = [&](size_t i) {
    ranks[i] = i + 1 < ids.size() ? table_.Find(ids[i], ids[i + 1]).rank : MergeTable::kNone;
  };
  for (size_t i = 0; i + 1 < ids.size(); ++i) update(i);
  while (true) {
    const auto best = std::min_element(ranks.begin(), ranks.end());
    if (best == ranks.end() || *best == MergeTable::kNone) break;
    const size_t i = static_cast<size_t>(best - ranks.begin());
    ids[i] = table_.Find(ids[i], ids[i + 1]).merged;
    ids.erase(ids.begin() + i + 1);
    ranks.erase(ranks.begin() + i + 1);
    update(i);
    if (i > 0) update(i - 1);
  }
  out.insert(out.end(), ids.begin(), ids.end());
}

void Bpe::MergeLong(BpeScratch& scratch, std::vector<int32_t>& out) const {
  auto& ids = scratch.ids_;
  Require(ids.size() < kEnd, ErrorCode::kUnsupported, "text has one word of ", ids.size(),
          " characters, expected less than 2^32");
  auto& symbols = scratch.symbols_;
  auto& heap = scratch.heap_;
  const auto size = static_cast<uint32_t>(ids.size());
  symbols.clear();
  heap.clear();
  const auto later = [](const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
    return std::pair(a.rank, a.left) > std::pair(b.rank, b.left);
  };
  const auto offer = [&](uint32_t left) {
    const uint32_t right = symbols[left].next;
    if (right == kEnd) return false;
    const auto& entry = table_.Find(symbols[left].id, symbols[right].id);
    if (entry.rank == MergeTable::kNone) return false;
    heap.push_back({entry.rank, left, symbols[left].length + symbols[right].length, entry.merged});
    return true;
  };
  const auto push = [&](uint32_t left) {
    if (offer(left)) std::push_heap(heap.begin(), heap.end(), later);
  };

  for (uint32_t i = 0; i < size; ++i) {
    symbols.push_back({ids[i], i == 0 ? kEnd : i - 1, i + 1 == size ? kEnd : i + 1, 1});
  }
  for (uint32_t i = 0; i < size; ++i) offer(i);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.left];
    // A symbol only ever grows, so an equal length means the same two symbols.
    if (left.length == 0 || left.next == kEnd) continue;
    auto& right = symbols[left.next];
    if (left.length + right.length != best.length) continue;
    left.id = best.merged;
    left.length = best.length;
    left.next = right.next;
    right.length = 0;
    if (left.next != kEnd) symbols[left.next].previous = best.left;
    push(best.left);
    if (left.previous != kEnd) push(left.previous);
  }
  for (uint32_t i = 0; i != kEnd; i = symbols[i].next) out.push_back(symbols[i].id);
  if (size <= kMaxKeptSymbols) return;
  ids = {};
  symbols = {};
  heap = {};
}

}  // namespace pith
