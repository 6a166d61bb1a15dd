#include "reduce/registry.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/nearest.h"
#include "pith/reduction.h"
#include "reduce/policies/policies.h"

namespace pith {

namespace {

Method MakeSkim() {
  return {.name = "skim",
          .summary = "far tokens stop being processed and only write state, where it arrives",
          .keys = {{"full", "first half", "layers that all tokens pass in full, such as 0-11"},
                   {"window", "256 (16 under 512 tokens)",
                    "last tokens of the context that pass all layers"},
                   {"horizon", "0.01 (Mamba-2)",
                    "write a chunk where its decay to the end is at least this"},
                   {"mass", "off", "in place of horizon: leave out this share of each head's mass"},
                   {"chunk", "64 (16 under 512 tokens)", "tokens per chunk of far writes"},
                   {"protect", "d_conv", "last tokens that are never far"}},
          .how = SkimMethod{}};
}

}  // namespace

const std::vector<Method>& Methods() {
  static const std::vector<Method> methods = {
      {.name = "none", .summary = "every token, unreduced", .how = NoneMethod{}},
      MakeSkim(),
      {.name = "auto",
       .summary = "what our study supports for the model and the length of context",
       .how = AutoMethod{}},
      UtrcMethod(),
      UtrcPublishedMethod(),
      EvitMethod(),
      PumerMethod(),
      TomeMethod(),
      LtmpMethod(),
      SpanDropMethod(),
      TruncateMethod(),
      PrefixDropMethod(),
      PrefixThinMethod(),
      RandomMethod(),
      StrideMethod(),
  };
  return methods;
}

const Method& FindMethod(std::string_view name) {
  const std::vector<Method>& methods = Methods();
  const auto it = std::ranges::find(methods, name, &Method::name);
  if (it != methods.end()) return *it;
  std::string known;
  std::vector<std::string> names;
  for (const Method& method : methods) {
    names.emplace_back(method.name);
    known += (known.empty() ? "" : ", ") + names.back();
  }
  Throw(ErrorCode::kInvalidArgument, "reduction method: got '", name, "', expected one of ", known,
        DidYouMean(name, names));
}

std::vector<std::string> FilesOf(const ReductionSpec& spec, const Method& method) {
  std::vector<std::string> files;
  for (const MethodKey& key : method.keys) {
    const auto it = spec.params.find(std::string(key.name));
    if (key.file && it != spec.params.end() && it->second != key.fallback) {
      files.push_back(it->second);
    }
  }
  return files;
}

std::vector<MethodKey> AllKeys(const Method& method) {
  const RemovalMethod* const removal = method.removal();
  if (removal == nullptr) return method.keys;
  std::vector<MethodKey> keys = {
      {"keep", "solved from @N%", "share of rows kept at each site, in place of @N%"}};
  if (!removal->before_layers) {
    keys.push_back({"sites", removal->one_site ? "the first by depth" : "by depth",
                    "layers after which rows go, such as 5+7+9 or 5-7+9"});
  }
  keys.push_back({"protect", removal->protect < 0 ? "d_conv" : "256",
                  "last tokens of the context that are left as they are"});
  keys.push_back({"seed", "0", "seed of whatever the method draws"});
  keys.push_back({"lengths", "cumulative", "published: ceil(keep · rows) at each site"});
  if (removal->blocks && !removal->before_layers) {
    keys.push_back({"block", "0", "rows that are planned together, an even number; 0: all"});
  }
  keys.insert(keys.end(), method.keys.begin(), method.keys.end());
  return keys;
}

void CheckKeys(const ReductionSpec& spec, const Method& method) {
  const std::vector<MethodKey> keys = AllKeys(method);
  for (const auto& [key, value] : spec.params) {
    if (std::ranges::find(keys, key, &MethodKey::name) != keys.end()) continue;
    std::string known;
    for (const MethodKey& k : keys) known += (known.empty() ? "" : ", ") + std::string(k.name);
    Throw(ErrorCode::kInvalidArgument, spec.method, ": option: got '", key, "', expected ",
          known.empty() ? "no options" : "one of " + known);
  }
}

std::vector<MethodInfo> ListReductions() {
  std::vector<MethodInfo> list;
  for (const Method& method : Methods()) {
    MethodInfo info{
        .name = std::string(method.name), .description = std::string(method.summary), .keys = {}};
    for (const MethodKey& key : AllKeys(method)) {
      info.keys.push_back(
          {std::string(key.name), std::string(key.fallback), std::string(key.meaning)});
    }
    list.push_back(std::move(info));
  }
  return list;
}

}  // namespace pith
