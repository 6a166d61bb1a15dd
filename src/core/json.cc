#include "core/json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"

namespace pith {
namespace {

// Python's json writes Infinity, -Infinity and NaN bare. Outside of strings they become strings
// with a mark in front, "\u0001Infinity", which no file holds in earnest, and are read back as
// numbers.
constexpr std::string_view kWords[] = {"-Infinity", "Infinity", "NaN"};
constexpr char kMark = '\x01';

std::string QuoteNonFinite(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < text.size()) out += text[++i];
      if (c == '"') in_string = false;
      continue;
    }
    size_t matched = 0;
    for (const std::string_view word : kWords) {
      if (text.substr(i, word.size()) == word) matched = word.size();
      if (matched != 0) break;
    }
    if (matched == 0) {
      out += c;
      in_string = c == '"';
      continue;
    }
    out.append("\"\\u0001").append(text.substr(i, matched)).append("\"");
    i += matched - 1;
  }
  return out;
}

double NonFinite(std::string_view word) {
  if (word == "Infinity") return std::numeric_limits<double>::infinity();
  if (word == "-Infinity") return -std::numeric_limits<double>::infinity();
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

Json ParseJson(std::string_view text, std::string_view source, int max_depth) {
  std::vector<std::set<std::string>> keys;
  const auto on_event = [&](int depth, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    Require(depth <= max_depth, ErrorCode::kCorruptData, source, ": JSON is nested deeper than ",
            max_depth, " levels");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key) {
      Require(keys.back().insert(value.get<std::string>()).second, ErrorCode::kCorruptData, source,
              ": JSON key \"", Excerpt(value.get<std::string>()), "\" stands twice in one object");
    }
    if (event == Event::value && value.is_string()) {
      const auto& string = value.get_ref<const std::string&>();
      const std::string_view word = std::string_view(string).substr(string.starts_with(kMark));
      if (word.size() < string.size() && std::ranges::count(kWords, word) > 0) {
        value = NonFinite(word);
      }
    }
    return true;
  };
  try {
    return Json::parse(QuoteNonFinite(text), on_event);
  } catch (const Json::exception& e) {
    Throw(ErrorCode::kCorruptData, source, ": not valid JSON: ", e.what());
  }
}

std::string JsonText(const OrderedJson& json, int indent) {
  const std::string text = json.dump(indent, ' ', false, OrderedJson::error_handler_t::replace);
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(&text[at]);
    // Everything outside of strings is ASCII, and line feeds stand only there.
    if (c.value != '\n' && IsUnsafeToShow(c.value)) {
      char escape[16];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c.value));
      out += escape;
    } else {
      out.append(text, at, c.length);
    }
    at += c.length;
  }
  return out;
}

JsonReader::JsonReader(const Json& object, std::string source, std::string path)
    : object_(&object), source_(std::move(source)), path_(std::move(path)) {
  Require(object.is_object(), ErrorCode::kCorruptData, source_, ": ",
          path_.empty() ? "top level" : path_, ": expected a JSON object");
}

bool JsonReader::Has(const char* field) const {
  const auto it = object_->find(field);
  return it != object_->end() && !it->is_null();
}

const Json& JsonReader::Field(const char* field) const {
  if (!Has(field)) Throw(ErrorCode::kCorruptData, source_, ": ", path_, field, ": missing");
  return *object_->find(field);
}

void JsonReader::Fail(const char* field, std::string_view expected) const {
  const std::string got = Has(field) ? Excerpt(object_->find(field)->dump()) : "nothing";
  Throw(ErrorCode::kCorruptData, source_, ": ", path_, field, ": got ", got, ", expected ",
        expected);
}

int64_t JsonReader::Int(const char* field, int64_t min, int64_t max) const {
  const Json& value = Field(field);
  const std::string expected = StrCat("an integer from ", min, " to ", max);
  if (!value.is_number_integer()) Fail(field, expected);
  // Unsigned values above int64's range must not wrap into it.
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(max)) {
    Fail(field, expected);
  }
  const int64_t number = value.get<int64_t>();
  if (number < min || number > max) Fail(field, expected);
  return number;
}

int64_t JsonReader::Int(const char* field, int64_t min, int64_t max, int64_t fallback) const {
  return Has(field) ? Int(field, min, max) : fallback;
}

double JsonReader::Number(const char* field, double fallback) const {
  if (!Has(field)) return fallback;
  const Json& value = *object_->find(field);
  if (!value.is_number() || std::isnan(value.get<double>())) Fail(field, "a number");
  return value.get<double>();
}

bool JsonReader::Bool(const char* field, bool fallback) const {
  if (!Has(field)) return fallback;
  if (!object_->find(field)->is_boolean()) Fail(field, "true or false");
  return object_->find(field)->get<bool>();
}

std::string JsonReader::String(const char* field) const {
  if (!Field(field).is_string()) Fail(field, "a string");
  return Field(field).get<std::string>();
}

std::string JsonReader::String(const char* field, const std::string& fallback) const {
  return Has(field) ? String(field) : fallback;
}

}  // namespace pith
