#include "generate/sampler.h"

#include <cmath>

#include "core/error.h"

namespace pith {
namespace {

void RequireRange(bool ok, const char* name, double got, const char* expected) {
  Require(ok, ErrorCode::kInvalidArgument, name, ": got ", got, ", expected ", expected);
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options, int64_t vocab_size)
    : options_(options), seen_(vocab_size, false), random_(options.seed) {
  RequireRange(options.temperature >= 0 && std::isfinite(options.temperature), "temperature",
               options.temperature, "a number of at least 0");
  RequireRange(options.top_k >= 0, "top-k", static_cast<double>(options.top_k), "at least 0");
  RequireRange(options.top_p > 0 && options.top_p <= 1, "top-p", options.top_p,
               "more than 0 and at most 1");
  RequireRange(options.min_p >= 0 && options.min_p <= 1, "min-p", options.min_p, "0 to 1");
  RequireRange(options.repetition_penalty >= 1e-3 && options.repetition_penalty <= 1e6,
               "repetition-penalty", options.repetition_penalty, "0.001 to 1000000");
  if (options.repetition_penalty != 1) seen_ids_.reserve(vocab_size);  // steps allocate nothing
}

void Sampler::Observe(std::span<const int32_t> ids) {
  if (options_.repetition_penalty == 1) return;
  for (const int32_t id : ids) {
    if (seen_[id]) continue;
    seen_[id] = true;
    seen_ids_.push_back(id);
  }
}

DrawRow Sampler::Next() {
  const bool greedy = options_.greedy || options_.temperature == 0;
  return {.seen = seen_ids_,
          .penalty = static_cast<float>(options_.repetition_penalty),
          .temperature = greedy ? 0 : options_.temperature,
          .top_k = options_.top_k,
          .top_p = options_.top_p,
          .min_p = options_.min_p,
          // The upper 53 bits: the same everywhere, unlike std::uniform_real_distribution.
          .random = greedy ? 0 : random_() >> 11};
}

int32_t Sampler::RequireSound(int32_t drawn) {
  Require(drawn >= 0, ErrorCode::kCorruptData,
          "the model's logits are NaN or infinite: are its weights damaged?");
  return drawn;
}

}  // namespace pith
