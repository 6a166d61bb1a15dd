// Byte-pair encoding of one word at a time.
#ifndef PITH_TOKENIZE_BPE_H_
#define PITH_TOKENIZE_BPE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pith {

struct Merge {
  int32_t left, right, merged;  // token ids
  int32_t rank;                 // the lowest goes first; of equal ones the leftmost pair
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

// What a file says of its model.
struct BpeSpec {
  std::string source;                    // the file's name, for messages
  StringMap<int32_t> vocab;              // tokens as they are spelt in the file
  std::vector<Merge> merges;             // each pair once
  std::optional<std::string> unk_token;  // stands for a character that has no token
  bool fuse_unk = false;                 // one for a run of such characters
  bool byte_fallback = false;  // such a character becomes its bytes, spelt "<0xE9>", if it can
  bool ignore_merges = false;  // a word that is in the vocabulary is not merged
  std::string prefix;          // of each character but a word's first, in the vocabulary
  std::string suffix;          // of a word's last
};

// What a word's text is.
enum class WordText {
  kCharacters,      // characters of the vocabulary
  kByteCharacters,  // the same, each standing for a byte (see byte_level.h)
  kBytes,           // the bytes themselves: the fast way for byte-level vocabularies
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

  // A doubly linked list over the word's first symbols; a symbol that was merged away has length 0.
  struct Symbol {
    int32_t id;
    uint32_t previous, next;  // kEnd at the edges
    uint32_t length;          // in first symbols
  };
  struct Candidate {
    int32_t rank;
    uint32_t left;    // index of the left symbol
    uint32_t length;  // of both: tells candidates that are out of date
    int32_t merged;
  };

  std::vector<CachedWord> cache_;
  std::vector<int32_t> ids_;
  std::vector<int32_t> ranks_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

// Const and thread-safe after construction.
class Bpe {
 public:
  // With `text` kBytes every byte that occurs in UTF-8 needs a token, and there must be neither
  // prefix nor suffix: see TakesBytes.
  Bpe(const BpeSpec& spec, WordText text);

  // Whether words can be given as bytes.
  static bool TakesBytes(const BpeSpec& spec);
  // How byte_fallback spells a byte: "<0xE9>".
  static std::string FallbackSpelling(int byte);
  // The first byte that occurs in UTF-8 and is not in the vocabulary in that spelling, or -1.
  static int MissingFallback(const BpeSpec& spec);

  // Appends the ids of `word`: pairs are merged by rank, equal ranks from the left. O(n log n) in
  // the word's length. Throws kCorruptData where unk_token is needed and has no id.
  void EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;

 private:
  static constexpr int32_t kNone = -1;

  void Merge(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;
  void MergeShort(BpeScratch& scratch, std::vector<int32_t>& out) const;
  void MergeLong(BpeScratch& scratch, std::vector<int32_t>& out) const;
  // The ids of the word's characters, before any merge.
  void AppendCharacters(std::string_view word, std::vector<int32_t>& ids) const;
  int32_t CharacterId(std::string_view character, bool first, bool last) const;
  // Whether the bytes of `spelling` have tokens; appends them if all have.
  bool AppendFallback(std::string_view spelling, std::vector<int32_t>& ids) const;
  // `character` with prefix and suffix.
  std::string Spelling(std::string_view character, bool first, bool last) const;
  int32_t UnknownId() const;

  uint32_t owner_;  // tells cached words of different objects apart
  MergeTable table_;
  bool bytes_;
  std::array<int32_t, 256> byte_ids_;  // kBytes: of each byte. Else: of each code point below 256
  std::unordered_map<int32_t, int32_t> character_ids_;  // of other code points
  StringMap<int32_t> strings_;  // words that are not merged; with an affix, the vocabulary
  bool ignore_merges_, affixes_, fuse_unk_, byte_fallback_;
  std::array<int32_t, 256> fallback_ids_;
  std::optional<std::string> unk_token_;
  int32_t unk_id_ = kNone;
  std::string prefix_, suffix_, source_;
};

}  // namespace pith

#endif  // PITH_TOKENIZE_BPE_H_
