#include "generate/sampler.h"

#include <algorithm>
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
}

void Sampler::Observe(std::span<const int32_t> ids) {
  for (const int32_t id : ids) seen_[id] = true;
}

void Sampler::RequireSound(bool sound) {
  Require(sound, ErrorCode::kCorruptData,
          "the model's logits are NaN or infinite: are its weights damaged?");
}

int32_t Sampler::Sample(std::span<float> logits) {
  Penalise(logits);
  const bool broken = std::ranges::any_of(logits, [](float v) { return std::isnan(v); }) ||
                      !std::isfinite(*std::ranges::max_element(logits));
  RequireSound(!broken);
  if (options_.greedy || options_.temperature == 0) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  KeepLikely(logits);
  return Draw();
}

// Keskar et al. 2019 (CTRL): divides positive and multiplies negative logits.
void Sampler::Penalise(std::span<float> logits) const {
  if (options_.repetition_penalty == 1) return;
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  for (size_t i = 0; i < logits.size(); ++i) {
    if (seen_[i]) logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
  }
}

// Leaves in candidates_ what the filters let through, most likely first, with probabilities
// relative to the likeliest.
void Sampler::KeepLikely(std::span<const float> logits) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  }
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.value != b.value ? a.value > b.value : a.id < b.id;
  };
  size_t keep = candidates_.size();
  if (options_.top_k > 0) keep = std::min(keep, static_cast<size_t>(options_.top_k));
  std::partial_sort(candidates_.begin(), candidates_.begin() + keep, candidates_.end(), likelier);
  candidates_.resize(keep);

  const float top = candidates_[0].value;
  double total = 0;
  for (Candidate& c : candidates_) {
    c.value = static_cast<float>(std::exp((c.value - top) / options_.temperature));
    total += c.value;
  }
  double sum = 0;
  keep = 0;
  while (keep < candidates_.size() && (keep == 0 || sum < options_.top_p * total) &&
         candidates_[keep].value >= options_.min_p) {
    sum += candidates_[keep++].value;
  }
  candidates_.resize(keep);
}

int32_t Sampler::Draw() {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.value;
  // The upper 53 bits: the same number everywhere, unlike std::uniform_real_distribution.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  for (const Candidate& c : candidates_) {
    left -= c.value;
    if (left < 0) return c.id;
  }
  return candidates_.back().id;
}

}  // namespace pith
