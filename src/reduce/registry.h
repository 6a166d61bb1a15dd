// The reduction methods by name, with what users can set.
#ifndef PITH_REDUCE_REGISTRY_H_
#define PITH_REDUCE_REGISTRY_H_

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pith/reduction_spec.h"
#include "reduce/params.h"
#include "reduce/policy.h"
#include "reduce/schedule.h"

namespace pith {

struct MethodKey {
  std::string_view name;
  std::string_view fallback;  // the value that holds without it
  std::string_view meaning;   // with the values it takes
  bool file = false;          // the value names a file that is read
};

// Every row stays.
struct NoneMethod {};
// Rows keep their places and take roles (skim.h).
struct SkimMethod {};
// Another method's reduction, by the length of the context (auto.h).
struct AutoMethod {};
// Rows leave at sites.
struct RemovalMethod {
  Limit limit = Limit::kHalf;
  bool before_layers = false;  // its only site is −1
  bool one_site = false;       // unless told otherwise, it acts at the first default site only
  bool blocks = true;          // it can be planned in blocks (blocks.h); needs Limit::kHalf
  int64_t protect = -1;        // last tokens protected unless told otherwise; −1: d_conv
  // Reads its own keys and `seed`; throws kInvalidArgument.
  std::function<PolicySetup(const ParamReader& params)> make;
};

struct Method {
  std::string_view name;
  std::string_view summary;
  std::vector<MethodKey> keys = {};  // its own; AllKeys adds the common ones
  std::variant<NoneMethod, SkimMethod, AutoMethod, RemovalMethod> how;

  const RemovalMethod* removal() const { return std::get_if<RemovalMethod>(&how); }
};

const std::vector<Method>& Methods();

// Throws kInvalidArgument, listing the known names.
const Method& FindMethod(std::string_view name);

// The files that compiling `spec` reads. Front ends that take specs from a network must refuse
// those that have any.
std::vector<std::string> FilesOf(const ReductionSpec& spec, const Method& method);

// The common keys that apply to the method, then its own.
std::vector<MethodKey> AllKeys(const Method& method);

// Throws kInvalidArgument for a key that is none of AllKeys(method), listing them.
void CheckKeys(const ReductionSpec& spec, const Method& method);

}  // namespace pith

#endif  // PITH_REDUCE_REGISTRY_H_
