// `auto@N%`: the reduction that a study supports for a kind of model and a length of context.
//
// The study's findings are data (models/auto.json, docs/formats/auto.md): for each kind of model a
// list of steps, mildest first. How they become a reduction for another depth and length is code.
#ifndef PITH_REDUCE_AUTO_H_
#define PITH_REDUCE_AUTO_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pith/reduction_spec.h"
#include "reduce/facts.h"

namespace pith {

inline bool IsAuto(const ReductionSpec& spec) { return spec.method == "auto"; }

// What was measured.
struct AutoRules {
  struct Context {
    int64_t from = 0;  // tokens
    int64_t window = 0;
    std::optional<int64_t> chunk;  // absent: skim's own
  };
  struct Step {
    std::string method;                       // "skim" or "span-drop"
    std::map<std::string, std::string> keys;  // of the method
    double last_full = 0;  // skim: the earliest last full layer that kept recall, of `layers`
    double written = 0;    // skim: tokens whose writes in all heads a horizon leaves, any length
    int64_t from = 0;      // the shortest context
    int64_t protect = 0;   // span-drop: tokens that its own keys protect
  };
  double layers = 0;              // of the models that were studied
  std::vector<Context> contexts;  // increasing `from`, the first from 0
  std::map<std::string, std::vector<Step>> kinds;

  // Throws kCorruptData, naming `source` and the field.
  static AutoRules Parse(std::string_view json, const std::string& source);
  // Those of the study, which are part of the program.
  static const AutoRules& Ours();
};

// The skim, or on Mamba-1 the span-drop, that `auto@N%` stands for in a context of `tokens`
// (docs/reductions.md has the rules). A context that is too short for N gets the most that the
// study supports at its length, down to `none`: that shows in the realised reduction. `spec` is an
// `auto`. Throws kInvalidArgument without N, with options, for a kind of model that was not
// studied, and for more than the study supports at any length, naming that.
ReductionSpec ResolveAuto(const ReductionSpec& spec, const ModelFacts& facts, int64_t tokens,
                          const AutoRules& rules = AutoRules::Ours());

}  // namespace pith

#endif  // PITH_REDUCE_AUTO_H_
