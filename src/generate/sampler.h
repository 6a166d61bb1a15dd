// How the tokens of a text are drawn.
#ifndef PITH_GENERATE_SAMPLER_H_
#define PITH_GENERATE_SAMPLER_H_

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "ops/draw_tokens.h"
#include "pith/options.h"

namespace pith {

// One text's part of DrawTokens (ops/draw_tokens.h), which filters and draws. The same seed,
// options and logits give the same tokens on every machine and device.
class Sampler {
 public:
  // Throws kInvalidArgument for an option out of range, naming it.
  Sampler(const SamplingOptions& options, int64_t vocab_size);

  // Tells the repetition penalty of tokens that the text holds.
  void Observe(std::span<const int32_t> ids);

  // What the next token is drawn by, with the next random number. Holds until Observe.
  DrawRow Next();

  // What DrawTokens gave. Throws kCorruptData for logits that are NaN or without a finite maximum,
  // which only broken weights give.
  static int32_t RequireSound(int32_t drawn);

 private:
  SamplingOptions options_;
  std::vector<bool> seen_;         // by id
  std::vector<int32_t> seen_ids_;  // each once; empty where nothing is penalised
  std::mt19937_64 random_;
};

}  // namespace pith

#endif  // PITH_GENERATE_SAMPLER_H_
