#include "reduce/draw.h"

#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace pith {
namespace {

// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
uint64_t SplitMix(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Uniform in [0, n): draws beyond the largest multiple of n are thrown away.
uint64_t Below(uint64_t& state, uint64_t n) {
  const uint64_t max = std::numeric_limits<uint64_t>::max();
  const uint64_t limit = max - max % n;
  uint64_t draw = SplitMix(state);
  while (draw >= limit) draw = SplitMix(state);
  return draw % n;
}

}  // namespace

uint64_t DrawKey(uint64_t seed, const SiteView& site) {
  uint64_t key = seed;
  key = SplitMix(key) ^ static_cast<uint64_t>(site.layer);
  key =
      SplitMix(key) ^ (static_cast<uint64_t>(site.rows) | static_cast<uint64_t>(site.block) << 32);
  return SplitMix(key);
}

std::vector<int32_t> Draw(uint64_t key, int64_t n, int64_t count) {
  PITH_CHECK(0 <= count && count <= n && n <= std::numeric_limits<int32_t>::max());
  std::vector<int32_t> numbers(n);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int64_t i = 0; i < count; ++i) std::swap(numbers[i], numbers[i + Below(key, n - i)]);
  numbers.resize(count);
  return numbers;
}

}  // namespace pith
