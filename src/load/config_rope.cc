#include "load/config_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace pith {
namespace {

constexpr double kTheta = 10000;  // where a file does not say

// The keys of one scaling, in an object of the file or, without one, all at their defaults.
struct Scaling {
  std::string type = "default";
  double theta = kTheta;
  double partial = 1;
  double factor = 1;
  double low = 1;
  double high = 4;
  double original = 0;
  double attention = 0;  // 0: not given
  double mscale = 0;
  double mscale_all = 0;
  double fast = 32;
  double slow = 1;
  bool truncate = true;
};

// A number above 0.
double Positive(ConfigFields& fields, const char* key, double fallback) {
  const double value = fields.Has(key) ? fields.Number(key, fallback) : fallback;
  if (!(value > 0 && std::isfinite(value))) fields.Fail(key, "a finite number above 0");
  return value;
}

void ReadLlama3(ConfigFields& fields, Scaling& s) {
  s.low = Positive(fields, "low_freq_factor", 0);
  s.high = Positive(fields, "high_freq_factor", 0);
  if (!(s.high > s.low)) fields.Fail("high_freq_factor", "a number above low_freq_factor");
}

void ReadYarn(ConfigFields& fields, Scaling& s) {
  const auto optional = [&](const char* key, double& value) {
    if (fields.Has(key)) value = Positive(fields, key, 0);
  };
  optional("attention_factor", s.attention);
  optional("mscale", s.mscale);
  optional("mscale_all_dim", s.mscale_all);
  optional("beta_fast", s.fast);
  optional("beta_slow", s.slow);
  s.truncate = fields.Bool("truncate", true);
}

void ReadObject(ConfigFields& fields, double max_positions, Scaling& s) {
  const bool old_name = fields.Has("type");
  const char* type_key = fields.Has("rope_type") || !old_name ? "rope_type" : "type";
  s.type = fields.String(type_key, "default");
  s.theta = Positive(fields, "rope_theta", s.theta);
  s.partial = Positive(fields, "partial_rotary_factor", s.partial);
  const bool stretched = s.type == "llama3" || s.type == "yarn";
  if (!stretched && s.type != "default" && s.type != "linear") {
    fields.Unsupported(type_key,
                       "one that is the same for every length: default, linear, llama3 or yarn");
  }
  if (s.type != "default") s.factor = Positive(fields, "factor", 0);
  if (stretched) s.original = Positive(fields, "original_max_position_embeddings", max_positions);
  if (s.type == "llama3") ReadLlama3(fields, s);
  if (s.type == "yarn") ReadYarn(fields, s);
  fields.Finish({});
}

// Llama 3.1's: long waves are slowed by the factor, short ones stay, those between are mixed.
double Llama3(const Scaling& s, double frequency) {
  const double wave = 2 * std::numbers::pi / frequency;
  if (wave < s.original / s.high) return frequency;
  if (wave > s.original / s.low) return frequency / s.factor;
  const double smooth = (s.original / wave - s.low) / (s.high - s.low);
  return (1 - smooth) * frequency / s.factor + smooth * frequency;
}

// YaRN (Peng et al. 2023, §3.2): by how often a pair turns within the original length.
std::vector<double> Yarn(const Scaling& s, std::vector<double> frequencies, int64_t dim) {
  const auto d = static_cast<double>(dim);
  const auto turning = [&](double turns) {  // the pair that turns so often
    return d * std::log(s.original / (turns * 2 * std::numbers::pi)) / (2 * std::log(s.theta));
  };
  double low = turning(s.fast);
  double high = turning(s.slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, d - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / s.factor * ramp + frequencies[i] * (1 - ramp);
  }
  return frequencies;
}

double YarnFactor(const Scaling& s) {
  const auto scaled = [&](double mscale) {
    return s.factor <= 1 ? 1.0 : 0.1 * mscale * std::log(s.factor) + 1;
  };
  if (s.attention > 0) return s.attention;
  if (s.mscale > 0 && s.mscale_all > 0) return scaled(s.mscale) / scaled(s.mscale_all);
  return scaled(1);
}

}  // namespace

std::vector<double> RopeFrequencies(double theta, int64_t dim) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(dim);
    frequencies.push_back(1.0F / static_cast<float>(std::pow(theta, double{exponent})));
  }
  return frequencies;
}

void ReadRope(ConfigFields& top, double partial, int64_t max_positions, AttentionConfig& heads) {
  Scaling s;
  s.theta = Positive(top, "rope_theta", kTheta);
  s.partial =
      top.Has("partial_rotary_factor") ? Positive(top, "partial_rotary_factor", 1) : partial;
  const Json* parameters = top.Find("rope_parameters");
  const Json* scaling = top.Find("rope_scaling");
  if (parameters != nullptr && scaling != nullptr) {
    top.Fail("rope_scaling", "nothing where rope_parameters is given");
  }
  const Json* object = parameters != nullptr ? parameters : scaling;
  if (object != nullptr) {
    const char* key = parameters != nullptr ? "rope_parameters" : "rope_scaling";
    if (!object->is_object()) top.Fail(key, "an object");
    ConfigFields fields(*object, top.source(), StrCat(key, "."));
    ReadObject(fields, static_cast<double>(max_positions), s);
  }
  const auto dim = static_cast<int64_t>(static_cast<double>(heads.head_dim) * s.partial);
  if (dim < 2 || dim > heads.head_dim || dim % 2 != 0) {
    top.Fail("partial_rotary_factor", StrCat("an even number of a head's ", heads.head_dim,
                                             " numbers that rotate, at least 2"));
  }
  heads.rope = RopeFrequencies(s.theta, dim);
  heads.rope_theta = s.theta;
  if (s.type == "linear") {
    for (double& f : heads.rope) f /= s.factor;
  } else if (s.type == "llama3") {
    for (double& f : heads.rope) f = Llama3(s, f);
  } else if (s.type == "yarn") {
    heads.rope = Yarn(s, std::move(heads.rope), dim);
    heads.rope_factor = static_cast<float>(YarnFactor(s));
  }
  for (double& f : heads.rope) f = static_cast<float>(f);
}

void SkipRope(ConfigFields& top) {
  for (const char* key :
       {"rope_theta", "rope_parameters", "rope_scaling", "partial_rotary_factor"}) {
    top.Has(key);
  }
}

}  // namespace pith
