#include "reduce/skim.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "pith/reduction.h"

namespace pith {
namespace {

constexpr double kThreshold = 1e-2;

}  // namespace

SkimDefaults SkimDefaultsFor(int64_t tokens) {
  constexpr int64_t kLongContext = 512;
  if (tokens < kLongContext) return {.window = 16, .chunk = 16};
  return {.window = 256, .chunk = 64};
}

void RequireStatesForSkim(const ReductionSpec& spec, const ModelFacts& facts) {
  Require(facts.state == DType::kF32, ErrorCode::kUnsupported, "reduction '", spec.ToString(),
          "': got a model with state-dtype ", Name(facts.state), ", expected f32: skim ",
          "writes far rows into states of f32 only");
}

Skim::Skim(const ReductionSpec& spec, const ModelFacts& facts, const ParamReader& params)
    : row_work_(facts.LayersWork()) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  RequireStatesForSkim(spec, facts);
  ReadHorizon(spec, facts, params);
  protect_ = params.Int("protect", 0, kMax, facts.d_conv());
  if (params.Has("window")) window_ = params.Int("window", 0, kMax, 0);
  if (params.Has("chunk")) chunk_ = params.Int("chunk", 1, 4096, 0);
  full_.assign(facts.n_layer(), false);
  if (spec.reduction) {
    Require(!params.Has("full") && !window_, ErrorCode::kInvalidArgument, "reduction '",
            spec.ToString(), "': got @N% and full or window, expected one or the other");
    SetWanted(*spec.reduction, facts);
  } else if (params.Has("full")) {
    for (const int layer : params.Layers("full", facts.n_layer())) full_[layer] = true;
  } else {
    std::fill_n(full_.begin(), facts.n_layer() / 2, true);
  }
  for (int64_t l = 0; l < facts.n_layer(); ++l) {
    if (full_[l]) continue;
    const LayerWork& layer = facts.layers[l];
    skimmed_work_ += layer.full;
    all_ += (layer.full - layer.FarWritten()) / row_work_;
    none_ += (layer.full - layer.far) / row_work_;
  }
}

void Skim::ReadHorizon(const ReductionSpec& spec, const ModelFacts& facts,
                       const ParamReader& params) {
  for (const char* key : {"horizon", "mass"}) {
    if (!facts.has_horizon() && params.Has(key)) {
      params.Fail(key,
                  "no horizon for a model without Mamba-2 layers, which alone can leave far "
                  "writes out");
    }
  }
  if (params.Has("mass")) {
    Require(!params.Has("horizon"), ErrorCode::kInvalidArgument, "reduction '", spec.ToString(),
            "': got both horizon and mass, expected one of them");
    horizon_.mass = params.Number("mass", 0, 1, 0);
  } else if (facts.has_horizon()) {
    horizon_.threshold = params.Number("horizon", 0, 1, kThreshold);
  }
}

// The latest layer after which skimming all tokens, all pairs written, saves enough.
void Skim::SetWanted(double wanted, const ModelFacts& facts) {
  constexpr double kSlack = 1e-9;  // absorbs that `wanted` is a rounded decimal
  wanted_ = wanted;
  full_.assign(facts.n_layer(), true);
  double saved = 0;
  for (int64_t l = facts.n_layer() - 1; l > 0 && saved < wanted - kSlack; --l) {
    saved += (facts.layers[l].full - facts.layers[l].FarWritten()) / row_work_;
    full_[l] = false;
  }
  Require(wanted - kSlack <= saved, ErrorCode::kInvalidArgument, "skim: wanted reduction: got ",
          100 * wanted, "%, expected at most ", std::floor(1000 * saved) / 10,
          "%, what is saved with only layer 0 in full and all pairs written");
}

FarRegion Skim::Region(int64_t tokens) const {
  const SkimDefaults defaults = SkimDefaultsFor(tokens);
  int64_t window = window_.value_or(defaults.window);
  if (wanted_) {
    const double far = all_ > 0 ? *wanted_ * static_cast<double>(tokens) / all_ : 0;
    window = tokens - static_cast<int64_t>(std::ceil(far - 1e-9));
  }
  // The last token's row gives the next token, so it is near whatever the window.
  window = std::max({window, protect_, int64_t{1}});
  return {.far = skimmed_work_ > 0 ? std::max<int64_t>(0, tokens - window) : 0,
          .chunk = chunk_.value_or(defaults.chunk)};
}

Skim::Bounds Skim::Realised(int64_t tokens) const {
  if (tokens == 0) return {};
  const double share = static_cast<double>(Region(tokens).far) / static_cast<double>(tokens);
  return {.all_pairs = share * all_, .no_pairs = share * none_};
}

double Skim::RealisedBy(double far_work, int64_t tokens) const {
  if (tokens == 0) return 0;
  const double full = skimmed_work_ * static_cast<double>(Region(tokens).far);
  return (full - far_work) / (row_work_ * static_cast<double>(tokens));
}

}  // namespace pith
