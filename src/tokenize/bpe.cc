#include "tokenize/bpe.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"

namespace pith {
namespace {

constexpr uint32_t kEnd = UINT32_MAX;
// Up to here a scan for the lowest rank costs less than a heap.
constexpr size_t kMaxShortWord = 48;
// Scratch of longer words is given back.
constexpr size_t kMaxKeptSymbols = size_t{1} << 14;

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges)
    : entries_(std::bit_ceil(2 * merges.size() + 2), Entry{-1, -1, kNone, -1}),
      mask_(entries_.size() - 1) {
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    entries_[Place(merge.left, merge.right)] = {merge.left, merge.right, static_cast<int32_t>(rank),
                                                merge.merged};
  }
}

Bpe::Bpe(const std::vector<pith::Merge>& merges, const std::array<int32_t, 256>& byte_ids,
         StringMap<int32_t> whole_words)
    : table_(merges), byte_ids_(byte_ids), whole_words_(std::move(whole_words)) {
  static std::atomic<uint32_t> counter{0};
  owner_ = ++counter;
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
  if (!whole_words_.empty()) {
    const auto found = whole_words_.find(word);
    if (found != whole_words_.end()) return out.push_back(found->second);
  }
  if (word.size() <= kMaxShortWord) return MergeShort(word, scratch, out);
  MergeLong(word, scratch, out);
}

void Bpe::MergeShort(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  auto& ids = scratch.short_ids_;
  auto& ranks = scratch.short_ranks_;  // ranks[i]: of the pair (i, i + 1); the last is kNone
  ids.clear();
  for (const char byte : word) ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
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

void Bpe::MergeLong(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  Require(word.size() < kEnd, ErrorCode::kUnsupported, "text has one word of ", word.size(),
          " bytes, expected less than 4 GiB");
  auto& symbols = scratch.symbols_;
  auto& heap = scratch.heap_;
  const auto size = static_cast<uint32_t>(word.size());
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
    symbols.push_back({byte_ids_[static_cast<uint8_t>(word[i])], i == 0 ? kEnd : i - 1,
                       i + 1 == size ? kEnd : i + 1, 1});
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
  symbols = {};
  heap = {};
}

}  // namespace pith
