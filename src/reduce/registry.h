// The reduction methods by name, with what users can set.
#ifndef PITH_REDUCE_REGISTRY_H_
#define PITH_REDUCE_REGISTRY_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "reduce/params.h"
#include "reduce/policy.h"
#include "reduce/schedule.h"
#include "reduce/spec.h"

namespace pith {

struct MethodKey {
  std::string_view name;
  std::string_view fallback;  // the value that holds without it
  std::string_view meaning;   // with the values it takes
  bool file = false;          // the value names a file that is read
};

struct Method {
  std::string_view name;
  std::string_view summary;
  std::vector<MethodKey> keys = {};  // its own; AllKeys adds the common ones
  Limit limit = Limit::kHalf;
  bool before_layers = false;  // its only site is −1
  bool one_site = false;       // unless told otherwise, it acts at the first default site only
  bool blocks = true;          // it can be planned in blocks (blocks.h); needs Limit::kHalf
  int64_t protect = -1;        // last tokens protected unless told otherwise; −1: d_conv
  bool roles = false;          // no policy: rows keep their places and take roles (skim.h)
  // Reads its own keys and `seed`; throws kInvalidArgument. Null for `none`.
  std::shared_ptr<const ReductionPolicy> (*make)(const ParamReader& params) = nullptr;
};

const std::vector<Method>& Methods();

// Throws kInvalidArgument, listing the known names.
const Method& FindMethod(std::string_view name);

// Whether building a Reducer from `spec` reads a file that it names. Front ends that take specs
// from a network must refuse those.
bool ReadsFile(const ReductionSpec& spec);

// The common keys that apply to the method, then its own.
std::vector<MethodKey> AllKeys(const Method& method);

}  // namespace pith

#endif  // PITH_REDUCE_REGISTRY_H_
