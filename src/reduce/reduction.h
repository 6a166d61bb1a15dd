// A reduction, checked and ready to run on a model.
#ifndef PITH_REDUCE_REDUCTION_H_
#define PITH_REDUCE_REDUCTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pith/reduction.h"
#include "pith/reduction_spec.h"
#include "reduce/facts.h"
#include "reduce/removal.h"
#include "reduce/schedule.h"
#include "reduce/skim.h"

namespace pith {

struct Method;  // registry.h

struct NoReduction {};

// What is done to a context, whatever its length.
class CompiledReduction {
 public:
  CompiledReduction() = default;  // nothing
  explicit CompiledReduction(Removal removal) : how_(std::move(removal)) {}
  explicit CompiledReduction(Skim skim) : how_(std::move(skim)) {}

  bool none() const { return std::holds_alternative<NoReduction>(how_); }
  const Removal* removal() const { return std::get_if<Removal>(&how_); }  // null: it is none
  const Skim* skim() const { return std::get_if<Skim>(&how_); }           // likewise

  // Rows at each site of a context of `tokens`, and what is saved: under skim, with all pairs
  // written.
  Schedule Lengths(int64_t tokens) const;

 private:
  std::variant<NoReduction, Removal, Skim> how_;
};

struct Reduction::Impl {
  ReductionSpec spec;                         // canonical
  std::string text;                           // its spelling
  std::optional<ModelFacts> facts;            // of the model; absent: `none`, for any model
  std::optional<CompiledReduction> compiled;  // absent under `auto`
  std::vector<int> sites;                     // as given; `auto` passes them on
  std::vector<std::string> files = {};        // that it was made from
  // Two of one model with the same one do the same to the same context. Texts are not enough: they
  // say neither which work `@N%` counts nor what a file held or a policy of the caller's own does.
  std::string identity = {};

  // Throws kInvalidArgument where it was compiled for another model, and kUnsupported where this
  // one cannot run it as it is held.
  void CheckModel(const ModelFacts& model) const;
  // Not under `auto`, which is no reduction before For.
  const CompiledReduction& Compiled() const;
};

// `sites` override the method's and the spec's sites; empty: as they say. They are checked, and
// then without effect, where the method has no sites to choose (`none`, `truncate`).
// Throws kInvalidArgument for an unknown method (listing the known ones), an unknown key of the
// method (listing its keys), a value out of range, a site outside the model or twice, and a wanted
// reduction beyond what the method reaches at any length, naming the maximum. Throws kUnsupported
// for `skim`, and for `auto`, which may choose it, on a model whose states are not f32.
Reduction CompileReduction(const ReductionSpec& spec, const ModelFacts& facts,
                           const std::vector<int>& sites = {},
                           FlopsCount count = FlopsCount::kBlocks);
// The same by a method that need not be one of Methods().
Reduction CompileReduction(const ReductionSpec& spec, const Method& method, const ModelFacts& facts,
                           const std::vector<int>& sites, FlopsCount count);

}  // namespace pith

#endif  // PITH_REDUCE_REDUCTION_H_
