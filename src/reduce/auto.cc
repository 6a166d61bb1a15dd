#include "reduce/auto.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "core/error.h"
#include "reduce/schedule.h"
#include "reduce/skim.h"

namespace pith {
namespace {

// What was measured on models of 24 layers: `earliest` is the earliest last full layer that kept
// recall. Far writes that a horizon leaves are about as many whatever the length: those of
// `written` tokens in all heads.
struct Step {
  const char* key;  // the horizon; null: none (Mamba-1)
  const char* value;
  double earliest;  // of 24 layers
  double written;
};
constexpr Step kMamba2Steps[] = {{"horizon", "1e-2", 11, 590}, {"mass", "0.1", 9, 390}};
constexpr Step kMamba1Steps[] = {{nullptr, nullptr, 13, 0}};
// Beyond, where spans cannot be dropped; recall then suffers.
constexpr Step kMamba1Last[] = {{nullptr, nullptr, 9, 0}};

int64_t EarliestLayer(const Step& step, const ModelConfig& config) {
  return std::lround(step.earliest / 24 * static_cast<double>(config.n_layer));
}

int64_t Window(int64_t tokens) { return tokens < kLongContext ? 16 : 256; }

// Share of the blocks' work over a context of `tokens` that skim saves with layers 0 … last full.
double Saved(const Step& step, const ModelConfig& config, int64_t tokens, int64_t last) {
  const LayerWork work = WorkPerToken(config);
  const double far =
      static_cast<double>(std::max<int64_t>(0, tokens - std::max(Window(tokens), config.d_conv)));
  if (far == 0) return 0;
  const double needed = std::min(1.0, step.written / far);
  const double cost =
      work.far + work.far_b + work.far_head * needed * static_cast<double>(config.n_heads);
  const auto layers = static_cast<double>(config.n_layer);
  return far / static_cast<double>(tokens) * (layers - 1 - static_cast<double>(last)) / layers *
         (1 - cost / work.full);
}

ReductionSpec SkimSpec(const Step& step, int64_t tokens, int64_t last) {
  ReductionSpec spec{.method = "skim", .reduction = {}, .params = {}};
  spec.params["full"] = StrCat("0-", last);
  spec.params["window"] = std::to_string(Window(tokens));
  if (step.key == nullptr) return spec;
  spec.params[step.key] = step.value;
  if (tokens < kLongContext) spec.params["chunk"] = "16";
  return spec;
}

struct Choice {
  ReductionSpec spec;  // `none` while nothing was found
  double saved = 0;
};

// The latest layer, with the first horizon, that reaches `wanted` no earlier than the study allows;
// else what saves the most.
Choice FindSkim(std::span<const Step> steps, const ModelConfig& config, double wanted,
                int64_t tokens) {
  Choice best;
  int64_t last = config.n_layer - 2;
  for (const Step& step : steps) {
    const int64_t earliest = EarliestLayer(step, config);
    for (last = std::max(last, earliest); last >= earliest; --last) {
      const double saved = Saved(step, config, tokens, last);
      if (saved > best.saved) best = {SkimSpec(step, tokens, last), saved};
      if (saved >= wanted) return best;
    }
    last = earliest;
  }
  return best;
}

// Mamba-1 beyond skim's reach: spans at one site, the first 32 and the last 256 tokens protected.
Choice FindSpans(const ModelConfig& config, double wanted, int64_t tokens) {
  constexpr int64_t kProtected = 32 + 256;
  if (tokens < kLongContext) return {};
  const auto layers = static_cast<double>(config.n_layer);
  const double after = layers - 1 - DefaultSites(config.n_layer).front();
  const double most =
      after / layers * static_cast<double>(tokens - kProtected) / static_cast<double>(tokens);
  const double saved = std::min(wanted, most);
  return {{.method = "span-drop", .reduction = saved, .params = {{"score", "delta"}}}, saved};
}

Choice Find(const ModelConfig& config, double wanted, int64_t tokens) {
  if (config.kind == BlockKind::kMamba2) return FindSkim(kMamba2Steps, config, wanted, tokens);
  Choice skim = FindSkim(kMamba1Steps, config, wanted, tokens);
  if (skim.saved >= wanted) return skim;
  Choice spans = FindSpans(config, wanted, tokens);
  Choice last = FindSkim(kMamba1Last, config, wanted, tokens);
  return spans.saved >= wanted || spans.saved > last.saved ? spans : last;
}

}  // namespace

ReductionSpec ResolveAuto(const ReductionSpec& spec, const ModelConfig& config, int64_t tokens) {
  PITH_CHECK(IsAuto(spec));
  Require(spec.reduction.has_value(), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': expected how much, as in auto@30%");
  Require(spec.params.empty(), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': expected no options: auto chooses them");
  const double wanted = *spec.reduction;
  if (wanted == 0) return {};
  constexpr int64_t kAnyLength = int64_t{1} << 30;
  const double most = Find(config, 1, kAnyLength).saved;
  Require(wanted <= most, ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
          "': wanted reduction: got ", 100 * wanted, "%, expected at most ",
          std::floor(1000 * most) / 10,
          "%, what our study supports for any length; skim@N% goes further, without that support");
  return tokens < 1 ? ReductionSpec() : Find(config, wanted, tokens).spec;
}

}  // namespace pith
