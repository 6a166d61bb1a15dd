// Drops whole spans of original positions, those of lowest score first: contiguous moves, and no
// similarity matrix. What a span says stays together, or goes together.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "reduce/draw.h"
#include "reduce/edges.h"
#include "reduce/options.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

struct Options {
  SiteNeeds needs;  // importance from kNone: random
  double sign = 1;  // −1: a large mean goes first
  int64_t span, first;
  uint64_t seed;
};

struct Span {
  int32_t begin, end;  // rows
  double score;
};

class SpanDrop : public ReductionPolicy {
 public:
  explicit SpanDrop(const Options& options) : options_(options) {}
  SiteNeeds Needs() const override { return options_.needs; }

  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <=
               MaxRemovable(Limit::kAllBut, site.rows, site.protected_tail + options_.first));
    std::vector<Span> spans = Spans(site);
    if (options_.needs.importance_from == Source::kNone) Shuffle(site, spans);
    std::ranges::stable_sort(spans, {}, &Span::score);
    std::vector<int32_t> rows;
    for (const Span& span : spans) {
      for (int32_t row = span.begin; row < span.end; ++row) {
        if (static_cast<int64_t>(rows.size()) < remove) rows.push_back(row);
      }
    }
    std::ranges::sort(rows);
    return PrunePlan(rows);
  }

 private:
  // Rows of one span of original positions that may go, with the mean of their scores.
  std::vector<Span> Spans(const SiteView& site) const {
    std::vector<Span> spans;
    int64_t current = -1;
    for (int32_t row = 0; row < site.rows - site.protected_tail; ++row) {
      if (site.positions[row] < options_.first) continue;
      const int64_t id = site.positions[row] / options_.span;
      if (id != current) spans.push_back({row, row, 0});
      current = id;
      spans.back().end = row + 1;
      spans.back().score += RankOf(site, row);
    }
    for (Span& span : spans) {
      span.score *= options_.sign / (span.end - span.begin);
      if (!std::isfinite(span.score)) span.score = -std::numeric_limits<double>::infinity();
    }
    return spans;
  }

  void Shuffle(const SiteView& site, std::vector<Span>& spans) const {
    const auto n = static_cast<int64_t>(spans.size());
    const std::vector<int32_t> draw = Draw(DrawKey(options_.seed, site), n, n);
    for (int64_t i = 0; i < n; ++i) spans[draw[i]].score = static_cast<double>(i);
  }

  Options options_;
};

PolicySetup MakeSpanDrop(const ParamReader& params) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  constexpr ImportanceKind kKinds[] = {ImportanceKind::kRarity, ImportanceKind::kDelta,
                                       ImportanceKind::kTailQuery};
  constexpr Source kSources[] = {Source::kTokens, Source::kScan, Source::kScan, Source::kNone};
  const size_t score = params.Choice("score", {"rarity", "delta", "tail-query", "random"}, 0);
  Options o;
  o.needs.importance_from = kSources[score];
  if (score < 3) o.needs.importance = kKinds[score];
  o.needs.unigrams = ReadTable(params);
  if (o.needs.unigrams && score != 0) params.Fail("table", "it only with score=rarity");
  o.sign = score == 1 ? -1 : 1;
  o.span = params.Int("span", 1, kMax, 32);
  o.first = params.Int("first", 0, kMax, 32);
  o.seed = ReadSeed(params);
  return {.policy = std::make_shared<SpanDrop>(o), .protected_head = o.first};
}

}  // namespace

Method SpanDropMethod() {
  return {.name = "span-drop",
          .summary = "drops whole spans of tokens, those of lowest score first",
          .keys = {{"score", "rarity",
                    "what keeps a span: rarity of its tokens, delta (small mean Δ), tail-query "
                    "(keys like the tail's queries), or random"},
                   {"span", "32", "original positions in a span"},
                   {"first", "32", "first tokens of the context that are left as they are"},
                   {"table", "none",
                    "file of unigram counts for rarity; none: those of the context", true}},
          .how = RemovalMethod{.limit = Limit::kAllBut,
                               .one_site = true,
                               .blocks = false,
                               .protect = 256,
                               .make = &MakeSpanDrop}};
}

}  // namespace pith
