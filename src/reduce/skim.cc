#include "reduce/skim.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace pith {
namespace {

constexpr int64_t kWindow = 256;
constexpr int64_t kChunk = 64;
constexpr int64_t kShortWindow = 16;
constexpr int64_t kShortChunk = 16;
constexpr double kThreshold = 1e-2;

double FarWork(const LayerWork& work, const ModelConfig& config, bool written) {
  if (!written) return work.far;
  return work.far + work.far_b + work.far_head * static_cast<double>(config.n_heads);
}

}  // namespace

LayerWork WorkPerToken(const ModelConfig& config) {
  const auto d = static_cast<double>(config.d_model);
  const auto di = static_cast<double>(config.d_inner);
  const auto n = static_cast<double>(config.d_state);
  const auto k = static_cast<double>(config.d_conv);
  const auto r = static_cast<double>(config.dt_rank);
  if (config.kind == BlockKind::kMamba1) {
    return {.full = 2 * d * di + k * di + di * (r + 2 * n) + r * di + 3 * di * n + di * d,
            .far = d * di + k * di + di * (r + n) + r * di + 2 * di * n};
  }
  const auto heads = static_cast<double>(config.n_heads);
  const auto p = static_cast<double>(config.head_dim);
  const double gn = static_cast<double>(config.n_groups) * n;
  const auto q = static_cast<double>(kChunk);
  return {.full = d * (2 * di + 2 * gn + heads) + k * (di + 2 * gn) + q * gn + q * di + 2 * di * n +
                  di * d,
          .far = d * heads,
          .far_b = gn * (d + k),
          .far_head = p * (d + k + n)};
}

Skim::Skim(const ReductionSpec& spec, const ModelConfig& config, const ParamReader& params) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  const bool mamba1 = config.kind == BlockKind::kMamba1;
  for (const char* key : {"horizon", "mass"}) {
    if (mamba1 && params.Has(key)) {
      params.Fail(key, "no horizon for Mamba-1, whose Δ depends on all of x");
    }
  }
  const LayerWork work = WorkPerToken(config);
  all_ = FarWork(work, config, true) / work.full;
  none_ = FarWork(work, config, false) / work.full;
  protect_ = params.Int("protect", 0, kMax, config.d_conv);
  if (params.Has("window")) window_ = params.Int("window", 0, kMax, 0);
  if (params.Has("chunk")) chunk_ = params.Int("chunk", 1, 4096, 0);
  if (params.Has("mass")) {
    Require(!params.Has("horizon"), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
            "': got both horizon and mass, expected one of them");
    horizon_.mass = params.Number("mass", 0, 1, 0);
  }
  if (!mamba1 && !horizon_.mass) horizon_.threshold = params.Number("horizon", 0, 1, kThreshold);
  full_.assign(config.n_layer, false);
  if (spec.reduction) {
    Require(!params.Has("full") && !window_, ErrorCode::kInvalidArgument, "reduction '",
            spec.ToString(), "': got @N% and full or window, expected one or the other");
    SetWanted(*spec.reduction, config);
  } else if (params.Has("full")) {
    for (const int layer : params.Layers("full", config.n_layer)) full_[layer] = true;
  } else {
    std::fill_n(full_.begin(), config.n_layer / 2, true);
  }
  frozen_layers_ = std::ranges::count(full_, false);
}

// The latest layer after which skimming all tokens, all pairs written, saves enough.
void Skim::SetWanted(double wanted, const ModelConfig& config) {
  const auto layers = static_cast<double>(config.n_layer);
  const double most = (layers - 1) / layers * (1 - all_);
  Require(wanted <= most, ErrorCode::kInvalidArgument, "skim: wanted reduction: got ", 100 * wanted,
          "%, expected at most ", std::floor(1000 * most) / 10,
          "%, what is saved with only layer 0 in full and all pairs written");
  const auto frozen = static_cast<int64_t>(std::ceil(wanted * layers / (1 - all_) - 1e-9));
  std::fill_n(full_.begin(), config.n_layer - frozen, true);
  wanted_ = wanted;
}

FarRegion Skim::Region(int64_t tokens) const {
  const bool is_short = tokens < kLongContext;
  int64_t window = window_.value_or(is_short ? kShortWindow : kWindow);
  if (wanted_) {
    const double per_far =
        (1 - all_) * static_cast<double>(frozen_layers_) / static_cast<double>(full_.size());
    const double far = per_far > 0 ? *wanted_ * static_cast<double>(tokens) / per_far : 0;
    window = tokens - static_cast<int64_t>(std::ceil(far - 1e-9));
  }
  // The last token's row gives the next token, so it is near whatever the window.
  window = std::max({window, protect_, int64_t{1}});
  return {.far = frozen_layers_ > 0 ? std::max<int64_t>(0, tokens - window) : 0,
          .chunk = chunk_.value_or(is_short ? kShortChunk : kChunk)};
}

Skim::Bounds Skim::Realised(int64_t tokens) const {
  if (tokens == 0) return {};
  const double share = static_cast<double>(Region(tokens).far) / static_cast<double>(tokens) *
                       static_cast<double>(frozen_layers_) / static_cast<double>(full_.size());
  return {.all_pairs = share * (1 - all_), .no_pairs = share * (1 - none_)};
}

}  // namespace pith
