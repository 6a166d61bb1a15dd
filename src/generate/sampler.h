// From logits to a token.
#ifndef PITH_GENERATE_SAMPLER_H_
#define PITH_GENERATE_SAMPLER_H_

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "pith/options.h"

namespace pith {

// Filters apply in this order: repetition penalty, temperature, top-k, top-p, min-p. The same seed,
// options and logits give the same tokens on every machine.
class Sampler {
 public:
  // Throws kInvalidArgument for an option out of range, naming it.
  Sampler(const SamplingOptions& options, int64_t vocab_size);

  // Tells the repetition penalty of tokens that the text holds.
  void Observe(std::span<const int32_t> ids);

  // Whether Sample takes the largest of the logits as they are.
  bool TakesMostLikely() const {
    return (options_.greedy || options_.temperature == 0) && options_.repetition_penalty == 1;
  }
  // Throws kCorruptData where logits are not `sound`.
  static void RequireSound(bool sound);

  // Draws a token. Leaves penalised logits behind. Throws kCorruptData for logits that are NaN or
  // without a finite maximum, which only broken weights give.
  int32_t Sample(std::span<float> logits);

 private:
  struct Candidate {
    float value;  // logit, then probability
    int32_t id;
  };
  void Penalise(std::span<float> logits) const;
  void KeepLikely(std::span<const float> logits);
  int32_t Draw();

  SamplingOptions options_;
  std::vector<bool> seen_;
  std::vector<Candidate> candidates_;
  std::mt19937_64 random_;
};

}  // namespace pith

#endif  // PITH_GENERATE_SAMPLER_H_
