// JSON from files that nobody vouches for: bounded depth, and readers that name file and field.
#ifndef PITH_CORE_JSON_H_
#define PITH_CORE_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace pith {

// What is read: keys are kept sorted, so that an object of many keys costs n log n.
using Json = nlohmann::json;
// What is written: keys stand in the order in which they were added, each added in O(n).
using OrderedJson = nlohmann::ordered_json;

// Parses one JSON text. `source` is the file's name in messages. Accepts Infinity, -Infinity and
// NaN, which Python writes, as numbers. Throws kCorruptData on malformed text, on nesting deeper
// than `max_depth` and on duplicate keys in one object.
Json ParseJson(std::string_view text, std::string_view source, int max_depth = 64);

// Writes JSON that is safe to show (core/printable.h): unsafe characters are escaped as \uXXXX,
// bytes that are not UTF-8 become U+FFFD, infinities null. `indent` -1: one line.
std::string JsonText(const OrderedJson& json, int indent = -1);

// An object's field, read with a check of its type and range. Messages read
// "FILE: FIELD: got VALUE, expected …". `object` must outlive the reader.
class JsonReader {
 public:
  // Throws kCorruptData unless `object` is an object. `path` prefixes field names ("ssm_cfg.").
  JsonReader(const Json& object, std::string source, std::string path = "");

  bool Has(const char* field) const;  // present and not null
  // Without a fallback, an absent or null field throws.
  int64_t Int(const char* field, int64_t min, int64_t max) const;
  int64_t Int(const char* field, int64_t min, int64_t max, int64_t fallback) const;
  double Number(const char* field, double fallback) const;  // may be infinite; NaN throws
  bool Bool(const char* field, bool fallback) const;
  std::string String(const char* field) const;
  std::string String(const char* field, const std::string& fallback) const;
  const Json& Field(const char* field) const;  // throws where absent or null
  const Json& object() const { return *object_; }
  const std::string& source() const { return source_; }

  // Throws `code` with "FILE: FIELD: got VALUE, expected EXPECTED".
  [[noreturn]] void Fail(const char* field, std::string_view expected) const;

 private:
  const Json* object_;
  std::string source_;
  std::string path_;
};

}  // namespace pith

#endif  // PITH_CORE_JSON_H_
