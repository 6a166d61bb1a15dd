#include "pith/engine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"
#include "engine/impl.h"
#include "model/workspace.h"
#include "reduce/edges.h"
#include "reduce/reduction.h"
#include "reduce/registry.h"
#include "score/score.h"
#include "tokenize/blanks.h"

namespace pith {

const Tokenizer& Engine::Impl::RequireTokenizer() const {
  Require(tokenizer.has_value(), ErrorCode::kNotFound,
          "the model came without a tokenizer.json: text needs one");
  return *tokenizer;
}

PrefillOptions Engine::Impl::Prefilling(const RunControl& control,
                                        const Reduction& reduction) const {
  reduction.impl().CheckModel(model.facts());
  return {.reduction = &reduction.impl().Compiled(),
          .rows_per_chunk = rows_per_chunk,
          .ssd_chunk = ssd_chunk,
          .cancel = control.cancel,
          .progress = control.progress};
}

Engine::Engine(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const ModelInfo& Engine::info() const { return impl_->info; }

const Tokenizer& Engine::tokenizer() const { return impl_->RequireTokenizer(); }

std::vector<int32_t> Engine::Tokenize(std::string_view text, bool bos) const {
  std::vector<int32_t> ids = impl_->RequireTokenizer().Encode(text);
  if (bos) {
    Require(impl_->info.end_of_text.has_value(), ErrorCode::kNotFound,
            "bos: neither config.json nor tokenizer.json names an end-of-text token");
    ids.insert(ids.begin(), *impl_->info.end_of_text);
  }
  return ids;
}

std::string Engine::Detokenize(std::span<const int32_t> ids) const {
  return impl_->RequireTokenizer().Decode(ids);
}

GenerateResult Engine::Generate(std::span<const int32_t> prompt,
                                const GenerateOptions& options) const {
  return NewSession().Generate(prompt, options);
}

std::vector<ScoreResult> Engine::Score(std::span<const ScoreItem> items,
                                       const ScoreOptions& options, ScoreStats* stats) const {
  return options.reduction.by_length() ? impl_->ScoreByLength(items, options, stats)
                                       : impl_->Score(items, options, stats);
}

ScoreItem Engine::EncodePair(std::string_view context, std::string_view continuation,
                             bool bos) const {
  const size_t length = LengthWithoutTrailingBlanks(context);
  const std::string moved = StrCat(context.substr(length), continuation);
  context = context.substr(0, length);
  ScoreItem item;
  item.context = Tokenize(context, bos);
  const std::vector<int32_t> whole = Tokenize(StrCat(context, moved), bos);
  const size_t from = std::min(item.context.size(), whole.size());
  item.continuation.assign(whole.begin() + static_cast<std::ptrdiff_t>(from), whole.end());
  return item;
}

PerplexityResult Engine::Perplexity(std::span<const int32_t> ids, const RunControl& control) const {
  return ScoreDocument(impl_->model, impl_->exec, ids, impl_->Prefilling(control, Reduction()));
}

namespace {

// The plan's lengths and what they save: as scheduled, or as a text gave them.
void SetLengths(const ModelFacts& facts, const Schedule& schedule, PlanReport& report) {
  report.sites.clear();
  for (const SiteLength& site : schedule.sites) {
    report.sites.push_back({site.layer, site.in, site.out});
  }
  report.realised = schedule.realised;
  if (report.skim) {  // no row goes: the layers' work is counted instead, the head's stays
    report.realised_blocks = schedule.realised;
    report.realised_full = schedule.realised / (1 + facts.head / facts.LayersWork());
  } else {
    const auto realised = [&](FlopsCount count) {
      return Realised(schedule.sites, report.tokens, WeightsOf(facts, count));
    };
    report.realised_blocks = realised(FlopsCount::kBlocks);
    report.realised_full = realised(FlopsCount::kFull);
  }
  report.reduced_gflop = report.dense_gflop * (1 - report.realised_full);
}

PlanReport MakePlanReport(const ModelFacts& facts, const Reduction& reduction, int64_t tokens) {
  const CompiledReduction& compiled = reduction.impl().Compiled();
  PlanReport report{.reduce = reduction.text(), .tokens = tokens, .sites = {}};
  if (const Skim* const skim = compiled.skim()) {
    const Skim::Bounds bounds = skim->Realised(tokens);
    const FarRegion region = skim->Region(tokens);
    report.skim = SkimBounds{.far = region.far,
                             .chunk = region.chunk,
                             .realised_all_pairs = bounds.all_pairs,
                             .realised_no_pairs = bounds.no_pairs};
  }
  if (const Removal* const removal = compiled.removal()) {
    report.keep = removal->keep;
    report.protected_tail = removal->protected_tail;
  }
  report.dense_gflop = 1e-9 * static_cast<double>(tokens) * (facts.LayersWork() + facts.head);
  SetLengths(facts, compiled.Lengths(tokens), report);
  return report;
}

// What a prefill shows at a site, in the words of the interface.
SiteObserver Watch(const std::function<void(const SiteSight&)>& on_site) {
  return [&on_site](const SiteView& site, const Plan& plan) {
    std::vector<SiteEdge> edges;
    for (const Edge& edge : *site.edges_seen) {
      edges.push_back({edge.row, edge.match.target, edge.match.similarity});
    }
    std::vector<int32_t> removed;
    for (const Plan::Removed& r : plan.removed) removed.push_back(r.row);
    on_site({.layer = site.layer,
             .rows = site.rows,
             .protected_tail = site.protected_tail,
             .importance = site.importance,
             .edges = edges,
             .removed = removed});
  };
}

// Per layer the masks of its heads.
std::vector<std::vector<std::vector<uint8_t>>> ByHead(const FarReport& far) {
  const int64_t chunks = CountChunks(far.region);
  std::vector<std::vector<std::vector<uint8_t>>> layers;
  for (const std::vector<uint8_t>& needed : far.needed) {
    auto& heads = layers.emplace_back();
    for (auto it = needed.begin(); it != needed.end(); it += chunks) {
      heads.emplace_back(it, it + chunks);
    }
  }
  return layers;
}

}  // namespace

Reduction Engine::Compile(std::string_view text, const CompileOptions& options) const {
  const ReductionSpec spec = ReductionSpec::Parse(text);
  Require(options.may_read_files || FilesOf(spec, FindMethod(spec.method)).empty(),
          ErrorCode::kInvalidArgument, "reduction '", text,
          "': names a file, which is not read here");
  return CompileReduction(spec, impl_->model.facts(), options.sites,
                          options.full_flops ? FlopsCount::kFull : FlopsCount::kBlocks);
}

PlanReport Engine::Plan(int64_t tokens, const Reduction& reduction) const {
  Require(tokens >= 1, ErrorCode::kInvalidArgument, "length: got ", tokens,
          ", expected at least 1");
  reduction.impl().CheckModel(impl_->model.facts());
  return MakePlanReport(impl_->model.facts(), reduction.For(tokens), tokens);
}

InspectReport Engine::Inspect(std::span<const int32_t> ids, const Reduction& reduction,
                              const InspectOptions& options) const {
  const auto tokens = static_cast<int64_t>(ids.size());
  InspectReport report{.plan = Plan(tokens, reduction), .tokens = {}};
  const Reduction here = reduction.For(tokens);
  PrefillOptions prefill = impl_->Prefilling(options.control, here);
  if (options.on_site) prefill.on_site = Watch(options.on_site);
  for (const int32_t id : ids) report.tokens.push_back({.id = id});
  StatePool pool(impl_->model, impl_->exec, 1);
  Sequence sequence{.slot = pool.Take()};
  Workspace workspace;
  const SequenceInput input{ids, &sequence, WantRows::kNone};
  const PrefillResult result =
      Prefill(impl_->model, impl_->exec, pool, {&input, 1}, prefill, workspace,
              [](std::span<const OutputRow>, MatView<const float>) {});
  if (result.maps.empty()) return report;
  SetLengths(impl_->model.facts(), result.schedules[0], report.plan);
  if (!result.far.empty()) {
    for (int64_t p = 0; p < result.far[0].region.far; ++p) report.tokens[p].far = true;
    report.far_writes = ByHead(result.far[0]);
  }
  for (size_t p = 0; p < ids.size(); ++p) {
    const TokenMap::Fate& fate = result.maps[0].fate(static_cast<int64_t>(p));
    report.tokens[p].site = fate.site;
    report.tokens[p].merged_into = fate.target;
    report.tokens[p].merged_hidden = fate.merged_hidden;
    report.tokens[p].merged_residual = fate.merged_residual;
  }
  return report;
}

}  // namespace pith
