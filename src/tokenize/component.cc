#include "tokenize/component.h"

#include <algorithm>
#include <utility>

#include "core/utf8.h"

namespace pith {

std::string Shown(const Json& value) {
  constexpr size_t kShown = 60;
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > kShown ? text.substr(0, kShown) + "..." : text;
}

Component::Component(const Json& object, std::string source, std::string path)
    : reader_(object, std::move(source), path), path_(std::move(path)) {}

std::string Component::Where(std::string_view field) const {
  return StrCat(reader_.source(), ": ", path_, field);
}

void Component::Only(std::initializer_list<std::string_view> known) const {
  for (const auto& item : reader_.object().items()) {
    const bool is_known = std::find(known.begin(), known.end(), item.key()) != known.end();
    if (!is_known) Unsupported(item.key(), "no such field");
  }
}

void Component::Unsupported(const std::string& field, std::string_view expected) const {
  const auto it = reader_.object().find(field);
  std::string name = Shown(Json(field));
  name = name.substr(1, name.size() - 2);  // escaped, without its quotes
  Throw(ErrorCode::kUnsupported, Where(name), ": got ",
        it == reader_.object().end() ? "nothing" : Shown(*it), ", pith supports ", expected);
}

Component Component::Child(const char* field) const {
  return Component(reader_.Field(field), reader_.source(), StrCat(path_, field, "."));
}

const Json& Component::Array(const char* field) const {
  if (!reader_.Field(field).is_array()) reader_.Fail(field, "an array");
  return reader_.Field(field);
}

void Component::ForEach(const char* field,
                        const std::function<void(const Component&)>& visit) const {
  size_t index = 0;
  for (const Json& part : Array(field)) {
    visit(Component(part, reader_.source(), StrCat(path_, field, "[", index++, "].")));
  }
}

std::string Component::Setting(const char* field) const {
  std::string text = reader_.String(field);
  if (text.size() > kMaxSettingBytes) reader_.Fail(field, StrCat(kMaxSettingBytes, " bytes"));
  return text;
}

std::string Component::Setting(const char* field, const std::string& fallback) const {
  return reader_.Has(field) ? Setting(field) : fallback;
}

std::string Component::Character(const char* field) const {
  std::string text = Setting(field);
  if (text.empty() || NextUtf8(text).length != text.size()) reader_.Fail(field, "one character");
  return text;
}

void VisitSequence(const Component& component, const char* list,
                   const std::function<void(const Component&)>& visit) {
  if (component.Type() != "Sequence") return visit(component);
  component.Only({"type", list});
  component.ForEach(list, [&](const Component& part) { VisitSequence(part, list, visit); });
}

}  // namespace pith
