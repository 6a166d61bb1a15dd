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
#include <span>
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

// Of the calling thread, for all rows: other threads would each grow their own in a later step.
struct Scratch {
  std::vector<uint32_t> keys;     // [rows, vocab]
  std::vector<uint64_t> weights;  // [rows, vocab]
  std::vector<Amount> sums;       // [rows, kDigits[0].count]
};

class Ranking {
 public:
  Ranking(const float* logits, double largest, const DrawRule& rule, std::span<uint32_t> keys,
          std::span<uint64_t> weights, std::span<Amount> sums)
      : keys_(keys), weights_(weights), sums_(sums) {
    for (size_t j = 0; j < keys.size(); ++j) {
      const double gap = (logits[j] - largest) / rule.temperature;
      keys[j] = RankKey(logits[j]);
      weights[j] = TokenWeight(gap);
      total_ += weights[j];
      if (gap >= rule.lowest_gap) likely_ += weights[j];
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
      const std::span<const Amount> sums = Sums(digit, key);
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
  std::span<const Amount> Sums(const Digit& digit, uint32_t key) const {
    const std::span<Amount> sums = sums_.first(digit.count);
    std::ranges::fill(sums, Amount{});
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

  std::span<const uint32_t> keys_;
  std::span<const uint64_t> weights_;
  std::span<Amount> sums_;
  uint64_t total_ = 0;
  uint64_t likely_ = 0;
};

int32_t Draw(const Ranking& ranking, const DrawRule& rule) {
  uint64_t left = ranking.total();
  if (rule.top_k > 0) left = ranking.Reaching(&Amount::tokens, rule.top_k).weight;
  if (rule.top_p < 1) left = ranking.Reaching(&Amount::weight, ShareOf(left, rule.top_p)).weight;
  left = std::min(left, ranking.likely());
  return ranking.Reaching(&Amount::weight, DrawBelow(left, rule.random) + 1).id;
}

}  // namespace

void DrawTokens(const Exec& exec, const DrawTokensArgs& args) {
  thread_local Scratch scratch;
  const int64_t rows = args.logits.rows, vocab = args.logits.cols, sums = kDigits[0].count;
  const bool ranks =
      std::ranges::any_of(args.rules, [](const DrawRule& rule) { return rule.temperature > 0; });
  if (ranks) {
    scratch.keys.resize(rows * vocab);
    scratch.weights.resize(rows * vocab);
    scratch.sums.resize(rows * sums);
  }
  Scratch& mine = scratch;  // not that of the thread that takes a row
  ParallelFor(ThreadsFor(exec, 10 * rows * vocab), rows, [&](int64_t i) {
    float* const row = args.logits.Row(i);
    const DrawRow& by = args.rows[i];
    for (const int32_t id : by.seen) {
      row[id] = row[id] > 0 ? row[id] / by.penalty : row[id] * by.penalty;
    }
    const float largest = HWY_DYNAMIC_DISPATCH(LargestLogit)(row, vocab);
    if (!std::isfinite(largest)) {
      args.out[i] = -1;
    } else if (by.temperature == 0) {
      args.out[i] = static_cast<int32_t>(std::find(row, row + vocab, largest) - row);
    } else {
      const auto part = [&](auto& all, int64_t count) {
        return std::span(all).subspan(i * count, count);
      };
      const Ranking ranking(row, largest, args.rules[i], part(mine.keys, vocab),
                            part(mine.weights, vocab), part(mine.sums, sums));
      args.out[i] = Draw(ranking, args.rules[i]);
    }
  });
}

}  // namespace pith::cpu
#endif
