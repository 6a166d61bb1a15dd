// One object of a tokenizer.json: reads its fields, refuses what pith does not know.
#ifndef PITH_TOKENIZE_COMPONENT_H_
#define PITH_TOKENIZE_COMPONENT_H_

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/json.h"

namespace pith {

// `value` as JSON in ASCII, cut where it is long: for messages.
std::string Shown(const Json& value);

// Text that stands in a setting (a replacement, a pattern) has at most so many bytes.
inline constexpr size_t kMaxSettingBytes = size_t{1} << 16;

class Component {
 public:
  // `path` leads to the object and ends in a dot ("normalizer.normalizers[1].") or is empty.
  // Throws kCorruptData unless `object` is an object. `object` must outlive the component.
  Component(const Json& object, std::string source, std::string path);

  const JsonReader& operator*() const { return reader_; }
  const JsonReader* operator->() const { return &reader_; }
  const std::string& path() const { return path_; }
  std::string Type() const { return reader_.String("type"); }
  // "FILE: PATH.FIELD"
  std::string Where(std::string_view field) const;

  // Refuses all fields but these: one that pith does not know may change ids.
  void Only(std::initializer_list<std::string_view> known) const;
  [[noreturn]] void Unsupported(const std::string& field, std::string_view expected) const;

  Component Child(const char* field) const;
  // Calls `visit` on each element of an array, which must be an object.
  void ForEach(const char* field, const std::function<void(const Component&)>& visit) const;
  const Json& Array(const char* field) const;
  // A string of at most kMaxSettingBytes.
  std::string Setting(const char* field) const;
  std::string Setting(const char* field, const std::string& fallback) const;
  // A string of exactly one code point.
  std::string Character(const char* field) const;

 private:
  JsonReader reader_;
  std::string path_;
};

// One type of component: its name, and how it is made from its fields.
template <class Made>
struct ComponentType {
  std::string_view name;
  Made (*make)(const Component&);
};

// Makes `component` by its type. Throws kUnsupported naming the known types where it is none of
// them.
template <class Made>
Made MakeComponent(const Component& component, std::span<const ComponentType<Made>> types) {
  const std::string type = component.Type();
  std::string known = "\"Sequence\"";
  for (const ComponentType<Made>& candidate : types) {
    if (candidate.name == type) return candidate.make(component);
    known += StrCat(", \"", candidate.name, "\"");
  }
  component.Unsupported("type", known);
}

// Calls `visit` on `component` or, where it is a Sequence, on the parts of it, however they nest.
void VisitSequence(const Component& component, const char* list,
                   const std::function<void(const Component&)>& visit);

}  // namespace pith

#endif  // PITH_TOKENIZE_COMPONENT_H_
