// Where rows are removed, and how many: sites, keep ratios and integer lengths.
#ifndef PITH_REDUCE_SCHEDULE_H_
#define PITH_REDUCE_SCHEDULE_H_

#include <cstdint>
#include <vector>

#include "pith/reduction.h"
#include "reduce/facts.h"

namespace pith {

enum class FlopsCount : uint8_t {
  kBlocks,  // the layers alone; where all are alike, the mean number of tokens over layers
  kFull,    // and the head, over the surviving rows
};

// How much a layer's row counts beside one of the first layer, by their work.
struct WorkWeights {
  std::vector<double> layers;
  double head = 0;  // 0 for kBlocks

  int64_t n_layer() const { return static_cast<int64_t>(layers.size()); }
  // Of layers after `from` up to and including `to`.
  double Between(int64_t from, int64_t to) const;
  double Total() const { return Between(-1, n_layer() - 1) + head; }
};
WorkWeights WeightsOf(const ModelFacts& facts, FlopsCount count);

struct SiteLength {
  int layer = 0;    // −1: before the first layer
  int64_t in = 0;   // rows that enter the site
  int64_t out = 0;  // rows that leave it
};

struct Schedule {
  std::vector<SiteLength> sites;  // increasing layers
  double realised = 0;            // reduction that the integer lengths give
};

// Which rows a method can do without at one site.
enum class Limit : uint8_t {
  kHalf,    // half of the unprotected ones, since UTRC needs a target outside the removed half
  kAllBut,  // all unprotected ones, as long as a row is left
};
int64_t MaxRemovable(Limit limit, int64_t rows, int64_t protected_tail);

// How keep ratios become whole numbers of rows.
enum class Rounding : uint8_t {
  kCumulative,  // site k, counted from 1, aims at floor(keep^k · tokens + 1/2)
  kCeilChain,   // each site aims at ceil(keep · rows that enter it), as the published code does
};

// Share of the work saved with keep ratio `keep` at each site, before rounding: docs/reductions.md,
// "From a wanted reduction to lengths".
double ShareSaved(const std::vector<int>& sites, const WorkWeights& weights, double keep);

// The largest keep ratio in [min_keep, 1] whose ShareSaved is at least `wanted`, which must be
// within reach.
double SolveKeep(const std::vector<int>& sites, const WorkWeights& weights, double wanted,
                 double min_keep);

struct LengthRules {
  Limit limit = Limit::kHalf;
  int64_t protected_rows = 0;  // stay whatever happens
  Rounding rounding = Rounding::kCumulative;
  int64_t extra = 0;  // kCeilChain: rows kept beyond the aim at each site
};

// Integer lengths for `tokens` tokens. With cumulative rounding, a site that was capped by the
// limit is made up for by the next ones.
std::vector<SiteLength> IntegerLengths(const std::vector<int>& sites, double keep, int64_t tokens,
                                       const LengthRules& rules);

// The share of the work over `tokens` that these lengths save; 0 for no tokens.
double Realised(const std::vector<SiteLength>& lengths, int64_t tokens, const WorkWeights& weights);

}  // namespace pith

#endif  // PITH_REDUCE_SCHEDULE_H_
