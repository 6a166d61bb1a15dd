#include "load/config_fields.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"

namespace pith {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A bound as a number, or as transformers 5 writes infinity: {"__float__": "Infinity"}.
double Bound(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_object() && value.size() == 1 && value.contains("__float__")) {
    const Json& word = value["__float__"];
    if (word == "Infinity") return kInfinity;
    if (word == "-Infinity") return -kInfinity;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

ConfigFields::ConfigFields(const Json& object, std::string source, std::string path)
    : object_(&object), reader_(object, std::move(source), path), path_(std::move(path)) {}

bool ConfigFields::IsNull(const char* key) const {
  const auto it = object_->find(key);
  return it != object_->end() && it->is_null();
}

bool ConfigFields::Has(const char* key) {
  read_.insert(key);
  return reader_.Has(key);
}

int64_t ConfigFields::Size(const char* key, int64_t max) {
  read_.insert(key);
  return reader_.Int(key, 1, max);
}

int64_t ConfigFields::Size(const char* key, int64_t fallback, int64_t max) {
  return Has(key) ? Size(key, max) : fallback;
}

float ConfigFields::Epsilon(const char* key, float fallback) {
  const double value = Number(key, fallback);
  if (!(value >= 0 && value <= 1)) Fail(key, "a number from 0 to 1");
  return static_cast<float>(value);
}

double ConfigFields::Number(const char* key, double fallback) {
  read_.insert(key);
  return reader_.Number(key, fallback);
}

bool ConfigFields::Bool(const char* key, bool fallback) {
  read_.insert(key);
  return reader_.Bool(key, fallback);
}

std::string ConfigFields::String(const char* key, const std::string& fallback) {
  read_.insert(key);
  return reader_.String(key, fallback);
}

const Json* ConfigFields::Find(const char* key) { return Has(key) ? &reader_.Field(key) : nullptr; }

int64_t ConfigFields::DtRank(const char* key, int64_t d_model) {
  const Json* value = Find(key);
  if (value == nullptr || *value == "auto") return (d_model + 15) / 16;
  if (!value->is_number_integer()) Fail(key, "\"auto\" or an integer");
  return Size(key);
}

int64_t ConfigFields::InnerWidth(const char* key, int64_t d_model) {
  const double expand = Number(key, 2);
  const double width = std::floor(expand * static_cast<double>(d_model));
  if (!(width >= 1 && width <= static_cast<double>(kMaxDim))) {
    Fail(key, "a number whose product with the model width is from 1 to 2^20");
  }
  return static_cast<int64_t>(width);
}

void ConfigFields::DtLimit(const char* key, Mamba2Config& config) {
  const Json* pair = Find(key);
  if (pair == nullptr) return;
  if (!pair->is_array() || pair->size() != 2) Fail(key, "a pair of numbers [min, max]");
  const double min = Bound((*pair)[0]);
  const double max = Bound((*pair)[1]);
  if (!(min < kInfinity && min <= max)) Fail(key, "a pair of numbers [min, max], min <= max");
  // softplus is positive, so a lower bound below 0 is none.
  config.dt_min = static_cast<float>(std::max(min, 0.0));
  config.dt_max = static_cast<float>(max);
  if (!std::isfinite(config.dt_min) || !(config.dt_min <= config.dt_max)) {
    Fail(key, "a pair of numbers [min, max], min <= max, max >= 0");
  }
}

std::vector<int32_t> ConfigFields::TokenIds(const char* key, int64_t vocab_size) {
  const Json* value = Find(key);
  if (value == nullptr) return {};
  const std::string expected = StrCat("a token id below ", vocab_size, ", or a list of them");
  std::vector<int32_t> ids;
  for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size) Fail(key, expected);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void ConfigFields::Unsupported(const char* key, std::string_view expected) {
  Throw(ErrorCode::kUnsupported, reader_.source(), ": ", path_, key, ": got ",
        Excerpt(reader_.Field(key).dump()), ", which is not supported; expected ", expected);
}

void ConfigFields::Finish(
    std::initializer_list<std::span<const std::string_view>> without_effect) const {
  for (const auto& [key, value] : reader_.object().items()) {
    const bool known =
        read_.contains(key) || std::ranges::any_of(without_effect, [&key = key](auto list) {
          return std::ranges::find(list, key) != list.end();
        });
    Require(known, ErrorCode::kUnsupported, reader_.source(), ": ", path_, Excerpt(key),
            ": this option is not known to pith");
  }
}

}  // namespace pith
