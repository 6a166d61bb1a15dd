#include "reduce/registry.h"

#include <algorithm>

#include "core/error.h"
#include "reduce/policies/policies.h"

namespace pith {

const std::vector<Method>& Methods() {
  static const std::vector<Method> methods = {
      {.name = "none", .summary = "every token, unreduced"},
      UtrcMethod(),
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
  for (const Method& method : methods) {
    known += (known.empty() ? "" : ", ") + std::string(method.name);
  }
  Throw(ErrorCode::kInvalidArgument, "reduction method: got '", name, "', expected one of ", known);
}

std::vector<MethodKey> AllKeys(const Method& method) {
  if (!method.make) return {};
  std::vector<MethodKey> keys = {
      {"keep", "solved from @N%", "share of rows kept at each site, in place of @N%"}};
  if (!method.before_layers) {
    keys.push_back({"sites", "by depth", "layers after which rows go, such as 5+7+9 or 5-7+9"});
  }
  keys.push_back({"protect", "d_conv", "last tokens of the context that are left as they are"});
  keys.push_back({"seed", "0", "seed of whatever the method draws"});
  keys.insert(keys.end(), method.keys.begin(), method.keys.end());
  return keys;
}

}  // namespace pith
