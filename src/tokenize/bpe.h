// Byte-pair encoding of one word at a time.
#ifndef PITH_TOKENIZE_BPE_H_
#define PITH_TOKENIZE_BPE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pith {

struct Merge {
  int32_t left, right, merged;  // token ids; the rank is the place in the list
};

// Lets unordered_map<string, …> be searched by string_view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
template <class T>
using StringMap = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;

// Open-addressed map from a pair of ids to what they merge into. At most half full.
class MergeTable {
 public:
  static constexpr int32_t kNone = INT32_MAX;
  struct Entry {
    int32_t left, right;
    int32_t rank;  // kNone: free
    int32_t merged;
  };

  explicit MergeTable(const std::vector<Merge>& merges);

  // The entry of the pair, or one with rank kNone.
  const Entry& Find(int32_t left, int32_t right) const { return entries_[Place(left, right)]; }

 private:
  // Where the pair is, or would be put.
  size_t Place(int32_t left, int32_t right) const {
    for (size_t i = Hash(left, right);; i = (i + 1) & mask_) {
      const Entry& entry = entries_[i];
      if ((entry.left == left && entry.right == right) || entry.rank == kNone) return i;
    }
  }
  size_t Hash(int32_t left, int32_t right) const {
    const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
    return (key * 0x9E3779B97F4A7C15u >> 32) & mask_;
  }

  std::vector<Entry> entries_;
  size_t mask_;
};

// One thread's memory for Bpe: a cache of short words, and what a long word's merges need. Serves
// any number of Bpe objects in turn. 2 MiB once used.
class BpeScratch {
 private:
  friend class Bpe;

  // Key: the word's bytes, zero-padded, the length in the last byte, and which Bpe made it.
  // One cache line.
  static constexpr size_t kMaxWord = 15;
  static constexpr size_t kMaxIds = 10;
  struct alignas(64) CachedWord {
    uint64_t key[2] = {0, 0};
    uint32_t owner = 0;  // 0: free
    uint32_t count = 0;
    int32_t ids[kMaxIds];
  };
  static constexpr size_t kCacheSize = size_t{1} << 15;

  // A doubly linked list over the word's bytes; a symbol that was merged away has length 0.
  struct Symbol {
    int32_t id;
    uint32_t previous, next;  // kEnd at the edges
    uint32_t length;
  };
  struct Candidate {
    int32_t rank;
    uint32_t left;    // index of the left symbol
    uint32_t length;  // of both, in bytes: tells candidates that are out of date
    int32_t merged;
  };

  std::vector<CachedWord> cache_;
  std::vector<int32_t> short_ids_;
  std::vector<int32_t> short_ranks_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

// Const and thread-safe after construction.
class Bpe {
 public:
  // `byte_ids`: the token of each single byte, or -1 for a byte that never occurs in UTF-8.
  // `whole_words` (by bytes, not by byte-level characters): words found here are not merged.
  Bpe(const std::vector<Merge>& merges, const std::array<int32_t, 256>& byte_ids,
      StringMap<int32_t> whole_words);

  // Appends the ids of `word` (UTF-8 bytes): pairs are merged by rank, equal ranks from the left.
  // O(n log n) in the word's length.
  void EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;

 private:
  void Merge(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;
  void MergeShort(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;
  void MergeLong(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;

  uint32_t owner_;  // tells cached words of different objects apart
  MergeTable table_;
  std::array<int32_t, 256> byte_ids_;
  StringMap<int32_t> whole_words_;
};

}  // namespace pith

#endif  // PITH_TOKENIZE_BPE_H_
