// The search walks from the mildest reduction to the strongest and takes the first that is expected
// to save what is wanted. Mildest means: as many full layers as possible, and of one layer the
// horizon that leaves more writes. Each step may start no later than where the step before it
// stopped, because a stronger horizon with more full layers was never what the study compared.
//
// What a horizon saves depends on the text. Most heads forget within tens of tokens, so the writes
// that arrive are about as many whatever the length: the estimate is a number of tokens, not a
// share.
#include "reduce/auto.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "reduce/schedule.h"
#include "reduce/skim.h"

namespace pith {
namespace {

struct Choice {
  ReductionSpec spec;  // `none` while nothing was found
  double saved = 0;
};

// The search for one model and one length.
class Search {
 public:
  Search(const AutoRules& rules, const ModelFacts& facts, int64_t tokens)
      : rules_(rules), facts_(facts), tokens_(tokens), last_(facts.n_layer() - 2) {
    for (const AutoRules::Context& context : rules.contexts) {
      if (tokens >= context.from) context_ = &context;
    }
  }

  Choice Find(const std::vector<AutoRules::Step>& steps, double wanted) {
    for (const AutoRules::Step& step : steps) {
      if (tokens_ < step.from) continue;
      step.method == "skim" ? TrySkim(step, wanted) : TrySpans(step, wanted);
      if (best_.saved >= wanted) break;
    }
    return best_;
  }

 private:
  void TrySkim(const AutoRules::Step& step, double wanted) {
    const int64_t earliest =
        std::lround(step.last_full / rules_.layers * static_cast<double>(facts_.n_layer()));
    for (last_ = std::max(last_, earliest); last_ >= earliest; --last_) {
      const double saved = SkimSaves(step);
      if (saved > best_.saved) best_ = {SkimSpec(step), saved};
      if (best_.saved >= wanted) return;
    }
    last_ = earliest;
  }

  // Share of the layers' work over the context with layers 0 … last_ full.
  double SkimSaves(const AutoRules::Step& step) const {
    const double far = static_cast<double>(
        std::max<int64_t>(0, tokens_ - std::max(context_->window, facts_.d_conv())));
    if (far == 0) return 0;
    const double written = std::min(1.0, step.written / far);
    double saved = 0;
    for (int64_t l = last_ + 1; l < facts_.n_layer(); ++l) {
      const LayerWork& layer = facts_.layers[l];
      saved += layer.full - layer.far - layer.far_group * static_cast<double>(layer.groups) -
               layer.far_head * written * static_cast<double>(layer.heads);
    }
    return far / static_cast<double>(tokens_) * saved / facts_.LayersWork();
  }

  ReductionSpec SkimSpec(const AutoRules::Step& step) const {
    ReductionSpec spec{.method = step.method, .reduction = {}, .params = step.keys};
    spec.params["full"] = StrCat("0-", last_);
    spec.params["window"] = std::to_string(context_->window);
    // Without a horizon every write is made, and the chunk has no meaning.
    if (!step.keys.empty() && context_->chunk) {
      spec.params["chunk"] = std::to_string(*context_->chunk);
    }
    return spec;
  }

  // Spans go at one site, the first by depth.
  void TrySpans(const AutoRules::Step& step, double wanted) {
    const WorkWeights weights = WeightsOf(facts_, FlopsCount::kBlocks);
    const double after =
        weights.Between(DefaultSites(facts_.n_layer()).front(), facts_.n_layer() - 1);
    const double most = after / weights.Total() * static_cast<double>(tokens_ - step.protect) /
                        static_cast<double>(tokens_);
    const double saved = std::min(wanted, most);
    if (saved <= best_.saved) return;
    best_ = {{.method = step.method, .reduction = saved, .params = step.keys}, saved};
  }

  const AutoRules& rules_;
  const ModelFacts& facts_;
  const int64_t tokens_;
  const AutoRules::Context* context_ = nullptr;
  int64_t last_;  // the last full layer that the search has come to
  Choice best_;
};

}  // namespace

ReductionSpec ResolveAuto(const ReductionSpec& spec, const ModelFacts& facts, int64_t tokens,
                          const AutoRules& rules) {
  PITH_CHECK(IsAuto(spec));
  Require(spec.reduction.has_value(), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': expected how much, as in auto@30%");
  Require(spec.params.empty(), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': expected no options: auto chooses them");
  const double wanted = *spec.reduction;
  if (wanted == 0) return {};
  const auto steps = rules.kinds.find(facts.kind);
  Require(steps != rules.kinds.end(), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': got a model of kind ", facts.kind, ", expected one that our study covers");
  // Even where this length would not be skimmed: another one of the same run might be.
  const auto skims = [](const AutoRules::Step& step) { return step.method == "skim"; };
  if (std::ranges::any_of(steps->second, skims)) RequireStatesForSkim(spec, facts);
  constexpr int64_t kAnyLength = int64_t{1} << 30;
  const double most = Search(rules, facts, kAnyLength).Find(steps->second, 1).saved;
  Require(wanted <= most, ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': wanted reduction: got ", 100 * wanted, "%, expected at most ",
          std::floor(1000 * most) / 10,
          "%, what our study supports for any length; skim@N% goes further, without that support");
  return tokens < 1 ? ReductionSpec()
                    : Search(rules, facts, tokens).Find(steps->second, wanted).spec;
}

}  // namespace pith
