// DrawTokens without sorting: the token up to which weights reach a sum is found by its key, a
// digit at a time, from how much the tokens of each digit weigh together. A row costs some ten
// passes over the vocabulary, whatever the filters.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/draw_tokens.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "ops/draw_tokens.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"
#include "ops/token_weight.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// The largest of a row, NaN where it holds one: that leaves every comparison false, so that it is
// looked for apart.
float LargestLogit(const float* logits, int64_t count) {
  const D d;
  auto largest = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto broken = hn::Zero(d);  // NaN once there was one
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    const auto v = hn::LoadU(d, logits + j);
    largest = hn::IfThenElse(hn::Gt(v, largest), v, largest);
    broken = hn::IfThenElse(hn::IsNaN(v), v, broken);
  }
  HWY_ALIGN float lanes[2 * kLanes];
  hn::Store(largest, d, lanes);
  hn::Store(broken, d, lanes + kLanes);
  for (int64_t i = 0; i < kLanes; ++i) {
    if (std::isnan(lanes[kLanes + i])) return lanes[kLanes + i];
  }
  float most = *std::max_element(lanes, lanes + kLanes);
  for (; j < count; ++j) {
    if (std::isnan(logits[j])) return logits[j];
    most = std::max(most, logits[j]);
  }
  return most;
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(LargestLogit);

namespace {

struct Amount {
  uint64_t tokens = 0;
  uint64_t weight = 0;
};

// The digits of a key, from the first one on.
struct Digit {
  int shift;
  uint32_t count;
};
constexpr std::array<Digit, 3> kDigits = {{{21, 1U << 11}, {10, 1U << 11}, {0, 1U << 10}}};

class Ranking {
 public:
  Ranking(const float* logits, int64_t count, double largest, const DrawRule& rule) {
    keys_.resize(count);
    weights_.resize(count);
    for (int64_t j = 0; j < count; ++j) {
      const double gap = (logits[j] - largest) / rule.temperature;
      keys_[j] = RankKey(logits[j]);
      weights_[j] = TokenWeight(gap);
      total_ += weights_[j];
      if (gap >= rule.lowest_gap) likely_ += weights_[j];
    }
  }

  uint64_t total() const { return total_; }
  uint64_t likely() const { return likely_; }  // of the tokens that min_p leaves

  struct Place {
    int32_t id;
    uint64_t weight;  // of all tokens up to it
  };
  // The first token up to which there are so many tokens, or so much weight; at least 1, and no
  // more than there is.
  Place Reaching(uint64_t Amount::*what, uint64_t wanted) const {
    Amount before;
    uint32_t key = 0;
    for (const Digit& digit : kDigits) {
      const std::vector<Amount>& sums = Sums(digit, key);
      uint32_t d = digit.count - 1;
      for (; before.*what + sums[d].*what < wanted; --d) {
        before.tokens += sums[d].tokens;
        before.weight += sums[d].weight;
      }
      key |= d << digit.shift;
    }
    return AmongEquals(key, before, what, wanted);
  }

 private:
  // Of the tokens whose key begins as `key` does, by their next digit.
  const std::vector<Amount>& Sums(const Digit& digit, uint32_t key) const {
    thread_local std::vector<Amount> sums;
    sums.assign(digit.count, {});
    const uint64_t same = ~uint64_t{0} << digit.shift << std::countr_zero(digit.count);
    for (size_t j = 0; j < keys_.size(); ++j) {
      if (((keys_[j] ^ key) & same) != 0) continue;
      Amount& sum = sums[keys_[j] >> digit.shift & (digit.count - 1)];
      sum.tokens += 1;
      sum.weight += weights_[j];
    }
    return sums;
  }

  // Equal logits have equal weights, and rank by their ids.
  Place AmongEquals(uint32_t key, Amount before, uint64_t Amount::*what, uint64_t wanted) const {
    for (size_t j = 0; j < keys_.size(); ++j) {
      if (keys_[j] != key) continue;
      before.tokens += 1;
      before.weight += weights_[j];
      if (before.*what >= wanted) return {static_cast<int32_t>(j), before.weight};
    }
    Throw(ErrorCode::kInternal, "draw: fewer tokens than were counted");
  }

  static thread_local std::vector<uint32_t> keys_;
  static thread_local std::vector<uint64_t> weights_;
  uint64_t total_ = 0;
  uint64_t likely_ = 0;
};
thread_local std::vector<uint32_t> Ranking::keys_;
thread_local std::vector<uint64_t> Ranking::weights_;

int32_t Draw(const float* logits, int64_t count, const DrawRule& rule) {
  const float largest = HWY_DYNAMIC_DISPATCH(LargestLogit)(logits, count);
  if (!std::isfinite(largest)) return -1;
  if (rule.temperature == 0) {
    return static_cast<int32_t>(std::find(logits, logits + count, largest) - logits);
  }
  const Ranking ranking(logits, count, largest, rule);
  uint64_t left = ranking.total();
  if (rule.top_k > 0) left = ranking.Reaching(&Amount::tokens, rule.top_k).weight;
  if (rule.top_p < 1) left = ranking.Reaching(&Amount::weight, ShareOf(left, rule.top_p)).weight;
  left = std::min(left, ranking.likely());
  return ranking.Reaching(&Amount::weight, DrawBelow(left, rule.random) + 1).id;
}

}  // namespace

void DrawTokens(const Exec& exec, const DrawTokensArgs& args) {
  const MatView<float>& logits = args.logits;
  ParallelFor(ThreadsFor(exec, 10 * logits.rows * logits.cols), logits.rows, [&](int64_t i) {
    float* const row = logits.Row(i);
    const DrawRow& by = args.rows[i];
    for (const int32_t id : by.seen) {
      row[id] = row[id] > 0 ? row[id] / by.penalty : row[id] * by.penalty;
    }
    args.out[i] = Draw(row, logits.cols, args.rules[i]);
  });
}

}  // namespace pith::cpu
#endif
