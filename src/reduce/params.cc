#include "reduce/params.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "core/error.h"
#include "pith/reduction.h"

namespace pith {
namespace {

template <class T>
bool ParseWhole(std::string_view text, T& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop == text.data() + text.size();
}

}  // namespace

const std::string* ParamReader::Find(const std::string& key) const {
  const auto it = params_->find(key);
  return it == params_->end() ? nullptr : &it->second;
}

void ParamReader::Fail(const std::string& key, std::string_view expected) const {
  const std::string* value = Find(key);
  Throw(ErrorCode::kInvalidArgument, method_, ": ", key, ": got '", value ? *value : "",
        "', expected ", expected);
}

int64_t ParamReader::Int(const std::string& key, int64_t min, int64_t max, int64_t fallback) const {
  const std::string* text = Find(key);
  if (!text) return fallback;
  int64_t value = 0;
  if (!ParseWhole(*text, value) || value < min || value > max) {
    Fail(key, StrCat("a whole number from ", min, " to ", max));
  }
  return value;
}

double ParamReader::Number(const std::string& key, double min, double max, double fallback) const {
  const std::string* text = Find(key);
  if (!text) return fallback;
  double value = 0;
  if (!ParseWhole(*text, value) || !(value >= min && value <= max)) {
    Fail(key, StrCat("a number from ", min, " to ", max));
  }
  return value;
}

size_t ParamReader::Choice(const std::string& key, const std::vector<std::string_view>& names,
                           size_t fallback) const {
  const std::string* text = Find(key);
  if (!text) return fallback;
  const auto it = std::ranges::find(names, *text);
  if (it == names.end()) {
    std::string expected(names[0]);
    for (size_t i = 1; i < names.size(); ++i) {
      expected += (i + 1 < names.size() ? ", " : " or ") + std::string(names[i]);
    }
    Fail(key, expected);
  }
  return it - names.begin();
}

std::string ParamReader::Text(const std::string& key, const std::string& fallback) const {
  const std::string* text = Find(key);
  return text ? *text : fallback;
}

std::vector<int> ParamReader::Layers(const std::string& key, int64_t n_layer) const {
  std::vector<int> layers;
  const std::string* text = Find(key);
  if (!text) return layers;
  const std::string expected =
      StrCat("layers from 0 to ", n_layer - 1, ", each once, such as 5+7+9 or 5-7+9");
  for (size_t begin = 0; begin <= text->size();) {
    const size_t end = std::min(text->find('+', begin), text->size());
    const std::string_view item = std::string_view(*text).substr(begin, end - begin);
    const size_t dash = std::min(item.find('-'), item.size());
    int first = 0, last = 0;
    if (!ParseWhole(item.substr(0, dash), first) ||
        !ParseWhole(dash < item.size() ? item.substr(dash + 1) : item, last) || first < 0 ||
        first > last || last >= n_layer) {
      Fail(key, expected);
    }
    for (int layer = first; layer <= last; ++layer) layers.push_back(layer);
    if (static_cast<int64_t>(layers.size()) > n_layer) Fail(key, expected);
    begin = end + 1;
  }
  std::ranges::sort(layers);
  if (std::ranges::adjacent_find(layers) != layers.end()) Fail(key, expected);
  return layers;
}

std::string JoinSites(std::span<const int> sites) {
  std::string text;
  for (const int layer : sites) text += StrCat(text.empty() ? "" : "+", layer);
  return text;
}

}  // namespace pith
