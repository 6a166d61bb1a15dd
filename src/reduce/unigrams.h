// How often each token of a vocabulary occurs in some text, and how rare that makes it.
#ifndef PITH_REDUCE_UNIGRAMS_H_
#define PITH_REDUCE_UNIGRAMS_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace pith {

class Unigrams {
 public:
  // counts[id] ≥ 0, at least one above 0.
  explicit Unigrams(std::vector<double> counts);
  // docs/formats/unigrams.md. Throws as ReadFile does, and kCorruptData for a file that is none.
  static Unigrams Read(const std::filesystem::path& path);

  // −log((count + 1) / (total + size of the table)); an id beyond the table counts 0.
  float Rarity(int32_t id) const;

 private:
  std::vector<double> counts_;
  double total_ = 0;
};

// out[i] = rarity of the token at positions[i] of `context`. Without a table, −log of the token's
// share of the context itself.
void TokenRarity(const Unigrams* table, std::span<const int32_t> context,
                 std::span<const int32_t> positions, std::span<float> out);

}  // namespace pith

#endif  // PITH_REDUCE_UNIGRAMS_H_
