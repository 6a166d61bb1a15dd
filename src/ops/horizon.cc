// A far token writes into the state of every head, and by the end of the far region the head has
// decayed what it wrote. Where so little is left that no later token can notice, the write need not
// be made at all, and neither x nor B need be computed for it. Two rules say what counts as little:
// a threshold on the decay alone, which each chunk meets for itself, and a share of the head's
// whole mass, which is spent on the lightest chunks first. Chunks are judged as a whole, because
// work is saved by leaving out products over many rows, not single rows of a product. The decay of
// what the state held before stays exact under either rule: only writes are left out.
#include "ops/horizon.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace pith {
namespace {

// The mass: the least chunks go while together they hold at most `share` of the head's total.
std::vector<uint8_t> NeededByMass(std::span<const double> mass, double share) {
  std::vector<size_t> order(mass.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t c) { return mass[c]; });
  const double limit = share * std::accumulate(mass.begin(), mass.end(), 0.0);
  std::vector<uint8_t> needed(mass.size(), 1);
  double sum = 0;
  for (const size_t c : order) {
    sum += mass[c];
    if (sum > limit) break;
    needed[c] = 0;
  }
  return needed;
}

}  // namespace

std::vector<uint8_t> NeededChunks(const Horizon& horizon, std::span<const double> decay,
                                  std::span<const double> mass) {
  PITH_CHECK(decay.size() == mass.size());
  if (horizon.mass) return NeededByMass(mass, *horizon.mass);
  std::vector<uint8_t> needed;
  for (const double d : decay) needed.push_back(d >= horizon.threshold ? 1 : 0);
  return needed;
}

}  // namespace pith
