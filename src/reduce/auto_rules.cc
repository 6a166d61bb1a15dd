// Reads the study's findings (docs/formats/auto.md). The program's own are compiled in, and are
// checked like any file.
#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "core/error.h"
#include "core/json.h"
#include "reduce/auto.h"
#include "reduce/auto_json.h"
#include "reduce/registry.h"

namespace pith {
namespace {

constexpr int64_t kMax = std::numeric_limits<int32_t>::max();

void CheckFields(const JsonReader& reader, std::initializer_list<const char*> known) {
  for (const auto& [name, value] : reader.object().items()) {
    if (std::ranges::find(known, name) == known.end()) reader.Fail(name.c_str(), "no such field");
  }
}

double PositiveNumber(const JsonReader& reader, const char* field, double max) {
  reader.Field(field);
  const double value = reader.Number(field, 0);
  if (!(value > 0 && value <= max)) reader.Fail(field, StrCat("a number above 0, at most ", max));
  return value;
}

const Json& List(const JsonReader& reader, const char* field) {
  const Json& list = reader.Field(field);
  if (!list.is_array() || list.empty()) reader.Fail(field, "a list that is not empty");
  return list;
}

std::vector<AutoRules::Context> ReadContexts(const JsonReader& top) {
  std::vector<AutoRules::Context> contexts;
  for (const Json& json : List(top, "contexts")) {
    const JsonReader at(json, top.source(), StrCat("contexts[", contexts.size(), "]."));
    CheckFields(at, {"from", "window", "chunk"});
    AutoRules::Context context{.from = at.Int("from", 0, kMax),
                               .window = at.Int("window", 1, kMax)};
    if (at.Has("chunk")) context.chunk = at.Int("chunk", 1, 4096);
    if (contexts.empty() ? context.from != 0 : context.from <= contexts.back().from) {
      at.Fail("from", "increasing numbers, the first 0");
    }
    contexts.push_back(context);
  }
  return contexts;
}

std::map<std::string, std::string> ReadKeys(const JsonReader& at, const Method& method) {
  std::map<std::string, std::string> keys;
  if (!at.Has("keys")) return keys;
  const Json& json = at.Field("keys");
  if (!json.is_object()) at.Fail("keys", "an object of texts");
  const std::vector<MethodKey> known = AllKeys(method);
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string() || std::ranges::find(known, key, &MethodKey::name) == known.end()) {
      at.Fail("keys", StrCat("texts by keys of ", method.name));
    }
    keys[key] = value.get<std::string>();
  }
  return keys;
}

AutoRules::Step ReadStep(const JsonReader& at, double layers) {
  AutoRules::Step step{.method = at.String("method"), .keys = {}};
  const bool skim = step.method == "skim";
  if (!skim && step.method != "span-drop") at.Fail("method", "skim or span-drop");
  step.keys = ReadKeys(at, FindMethod(step.method));
  step.from = at.Int("from", 0, kMax, 0);
  if (skim) {
    CheckFields(at, {"method", "keys", "from", "last_full", "written"});
    step.last_full = PositiveNumber(at, "last_full", layers);
    if (at.Has("written")) step.written = PositiveNumber(at, "written", kMax);
    const bool horizon = step.keys.contains("horizon") || step.keys.contains("mass");
    if (horizon != at.Has("written")) at.Fail("written", "a number exactly where a horizon is set");
  } else {
    CheckFields(at, {"method", "keys", "from", "protected"});
    step.protect = at.Int("protected", 0, kMax);
    if (step.from <= step.protect) at.Fail("from", "more tokens than are protected");
  }
  return step;
}

}  // namespace

AutoRules AutoRules::Parse(std::string_view json, const std::string& source) {
  const Json parsed = ParseJson(json, source);
  const JsonReader top(parsed, source);
  CheckFields(top, {"format", "source", "layers", "contexts", "kinds"});
  if (top.String("format") != "pith-auto-1") top.Fail("format", "pith-auto-1");
  AutoRules rules;
  rules.layers = PositiveNumber(top, "layers", 1e6);
  rules.contexts = ReadContexts(top);
  const JsonReader kinds(top.Field("kinds"), source, "kinds.");
  for (const auto& [kind, list] : kinds.object().items()) {
    std::vector<Step>& steps = rules.kinds[kind];
    for (const Json& step : List(kinds, kind.c_str())) {
      const JsonReader at(step, source, StrCat("kinds.", kind, "[", steps.size(), "]."));
      steps.push_back(ReadStep(at, rules.layers));
    }
  }
  return rules;
}

const AutoRules& AutoRules::Ours() {
  static const AutoRules rules = Parse(kAutoJson, "models/auto.json");
  return rules;
}

}  // namespace pith
