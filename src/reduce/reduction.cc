#include "reduce/reduction.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/error.h"
#include "reduce/auto.h"
#include "reduce/params.h"
#include "reduce/registry.h"

namespace pith {
namespace {

std::vector<int> CheckedSites(std::vector<int> sites, int64_t n_layer) {
  std::ranges::sort(sites);
  for (size_t i = 0; i < sites.size(); ++i) {
    const bool twice = i > 0 && sites[i] == sites[i - 1];
    Require(sites[i] >= 0 && sites[i] < n_layer && !twice, ErrorCode::kInvalidArgument,
            "sites: got ", sites[i], twice ? " twice" : "", ", expected layers from 0 to ",
            n_layer - 1, ", each once");
  }
  return sites;
}

// One overload a kind of method: what `impl.spec` is on the model of `impl.facts`.
struct Compiler {
  Reduction::Impl& impl;
  FlopsCount count;

  void operator()(const NoneMethod&) const {
    Require(!impl.spec.reduction, ErrorCode::kInvalidArgument, "reduction '", impl.spec.ToString(),
            "': expected none without a wanted reduction");
    impl.compiled.emplace();
  }
  void operator()(const SkimMethod&) const {
    RequireBlocks(!impl.spec.reduction, "skim's");
    impl.compiled.emplace(Skim(impl.spec, *impl.facts, {impl.spec.method, impl.spec.params}));
  }
  void operator()(const AutoMethod&) const {
    RequireBlocks(false, "its");
    constexpr int64_t kAnyLength = int64_t{1} << 40;
    ResolveAuto(impl.spec, *impl.facts, kAnyLength);  // throws where no length reaches it
  }
  void operator()(const RemovalMethod& method) const {
    impl.compiled.emplace(CompileRemoval(impl.spec, method, *impl.facts, impl.sites, count));
    if (!impl.sites.empty() && !method.before_layers) {
      impl.spec.params["sites"] = JoinSites(impl.sites);
    }
  }

  void RequireBlocks(bool any_count, const char* whose) const {
    Require(any_count || count == FlopsCount::kBlocks, ErrorCode::kInvalidArgument, "reduction '",
            impl.spec.ToString(), "': ", whose, " share counts the blocks, expected flops=blocks");
  }
};

std::shared_ptr<Reduction::Impl> Compile(const ReductionSpec& spec, const Method& method,
                                         const ModelFacts& facts, const std::vector<int>& sites,
                                         FlopsCount count) {
  Require(!spec.reduction || (*spec.reduction >= 0 && *spec.reduction < 1),
          ErrorCode::kInvalidArgument, spec.method, ": wanted reduction: got ",
          spec.reduction.value_or(0), ", expected a share of at least 0 and less than 1");
  if (!IsAuto(spec)) CheckKeys(spec, method);  // `auto` says why it takes none
  auto impl = std::make_shared<Reduction::Impl>();
  impl->spec = spec;
  impl->facts = facts;
  impl->sites = CheckedSites(sites, facts.n_layer());
  std::visit(Compiler{*impl, count}, method.how);
  impl->text = impl->spec.ToString();
  impl->files = FilesOf(impl->spec, method);
  return impl;
}

// An identity.
std::string OfNoOther() {
  static std::atomic<int64_t> made = 0;
  return StrCat("#", ++made);
}

}  // namespace

Reduction CompileReduction(const ReductionSpec& spec, const ModelFacts& facts,
                           const std::vector<int>& sites, FlopsCount count) {
  const auto impl = Compile(spec, FindMethod(spec.method), facts, sites, count);
  impl->identity = impl->files.empty()
                       ? StrCat(impl->text, count == FlopsCount::kFull ? " full " : " blocks ",
                                JoinSites(impl->sites))
                       : OfNoOther();
  return Reduction(impl);
}

Reduction CompileReduction(const ReductionSpec& spec, const Method& method, const ModelFacts& facts,
                           const std::vector<int>& sites, FlopsCount count) {
  const auto impl = Compile(spec, method, facts, sites, count);
  impl->identity = OfNoOther();
  return Reduction(impl);
}

Schedule CompiledReduction::Lengths(int64_t tokens) const {
  PITH_CHECK(tokens >= 0);
  if (removal() != nullptr) return removal()->Lengths(tokens);
  Schedule schedule;
  if (skim() != nullptr) schedule.realised = skim()->Realised(tokens).all_pairs;
  return schedule;
}

void Reduction::Impl::CheckModel(const ModelFacts& model) const {
  if (!facts) return;
  ModelFacts other = *facts;
  other.state = model.state;  // one model may be held in several ways
  Require(other == model, ErrorCode::kInvalidArgument, "reduction '", text,
          "': got one compiled for another model, expected one of this engine's");
  if (!compiled) {
    ResolveAuto(spec, model, 0);  // checks all that does not depend on the length
  } else if (compiled->skim() != nullptr) {
    RequireStatesForSkim(spec, model);
  }
}

const CompiledReduction& Reduction::Impl::Compiled() const {
  PITH_CHECK(compiled.has_value());
  return *compiled;
}

Reduction::Reduction() {
  static const std::shared_ptr<const Impl> none = std::make_shared<Impl>(
      Impl{.spec = {}, .text = "none", .facts = {}, .compiled = CompiledReduction(), .sites = {}});
  impl_ = none;
}

Reduction::Reduction(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

const std::string& Reduction::text() const { return impl_->text; }
const std::string& Reduction::method() const { return impl_->spec.method; }
std::optional<double> Reduction::wanted() const { return impl_->spec.reduction; }
std::vector<std::string> Reduction::files() const { return impl_->files; }
bool Reduction::none() const { return !by_length() && impl_->compiled->none(); }
bool Reduction::by_length() const { return !impl_->compiled.has_value(); }

Reduction Reduction::For(int64_t tokens) const {
  if (!by_length()) return *this;
  return CompileReduction(ResolveAuto(impl_->spec, *impl_->facts, tokens), *impl_->facts,
                          impl_->sites);
}

}  // namespace pith
