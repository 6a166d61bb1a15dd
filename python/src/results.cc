// What calls hand back, as plain objects with read-only attributes.
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "module.h"
#include "pith/engine.h"
#include "pith/results.h"

namespace nb = nanobind;

namespace pith::python {
namespace {

void BindInfo(nb::module_& module) {
  nb::class_<ModelInfo>(module, "ModelInfo", "What a model's files hold.")
      .def_ro("description", &ModelInfo::description)
      .def_ro("kind", &ModelInfo::kind)
      .def_ro("format", &ModelInfo::format)
      .def_ro("parameters", &ModelInfo::parameters)
      .def_ro("stored_types", &ModelInfo::stored_types)
      .def_ro("n_layer", &ModelInfo::n_layer)
      .def_ro("d_model", &ModelInfo::d_model)
      .def_ro("vocab_size", &ModelInfo::vocab_size)
      .def_ro("state_bytes", &ModelInfo::state_bytes)
      .def_ro("end_of_text", &ModelInfo::end_of_text)
      .def_ro("warnings", &ModelInfo::warnings)
      .def_ro("has_horizon", &ModelInfo::has_horizon);
}

void BindTexts(nb::module_& module) {
  nb::class_<PrefillReport>(module, "PrefillReport", "What reading did to a context.")
      .def_ro("tokens", &PrefillReport::tokens, "Tokens read.")
      .def_ro("rows_left", &PrefillReport::rows_left, "Rows that reached the last layer.")
      .def_ro("realised", &PrefillReport::realised, "Share of the layers' work that was saved.")
      .def_ro("seconds", &PrefillReport::seconds);
  nb::class_<GenerateResult>(module, "Generation", "A text that was written.")
      .def_ro("text", &GenerateResult::text, "Without the stop text.")
      .def_ro("ids", &GenerateResult::ids, "Every token drawn, the end-of-text token included.")
      .def_ro("finish", &GenerateResult::finish,
              "\"end-of-text\", \"stop\", \"length\", \"cancelled\" or \"stopped\".")
      .def_ro("prefill", &GenerateResult::prefill)
      .def_ro("decode_seconds", &GenerateResult::decode_seconds);
  nb::class_<TokenLogprob>(module, "TokenLogprob")
      .def_ro("id", &TokenLogprob::id)
      .def_ro("logprob", &TokenLogprob::logprob, "In nats.")
      .def_ro("top_id", &TokenLogprob::top_id, "The most likely token in its place.")
      .def_ro("top_logprob", &TokenLogprob::top_logprob);
  nb::class_<ScoreResult>(module, "Score", "How likely a continuation is after its context.")
      .def_ro("logprob", &ScoreResult::logprob, "Sum over its tokens, in nats.")
      .def_ro("tokens", &ScoreResult::tokens, "Tokens that were scored.")
      .def_ro("greedy", &ScoreResult::greedy, "Whether each was the most likely token.")
      .def_ro("greedy_tokens", &ScoreResult::greedy_tokens)
      .def_ro("context_tokens", &ScoreResult::context_tokens)
      .def_ro("context_rows", &ScoreResult::context_rows)
      .def_ro("realised", &ScoreResult::realised)
      .def_ro("token_logprobs", &ScoreResult::token_logprobs);
  nb::class_<PerplexityResult>(module, "Perplexity")
      .def_ro("nll", &PerplexityResult::nll, "Mean nats a predicted token.")
      .def_ro("ppl", &PerplexityResult::ppl)
      .def_ro("tokens", &PerplexityResult::tokens);
}

void BindPlans(nb::module_& module) {
  nb::class_<SiteRows>(module, "SiteRows")
      .def_ro("layer", &SiteRows::layer)
      .def_ro("rows_in", &SiteRows::in)
      .def_ro("rows_out", &SiteRows::out);
  nb::class_<PlanReport>(module, "PlanReport", "What a reduction does to a length.")
      .def_ro("reduce", &PlanReport::reduce)
      .def_ro("tokens", &PlanReport::tokens)
      .def_ro("sites", &PlanReport::sites)
      .def_ro("keep", &PlanReport::keep)
      .def_ro("protected_tail", &PlanReport::protected_tail)
      .def_ro("realised", &PlanReport::realised)
      .def_ro("realised_full", &PlanReport::realised_full)
      .def_ro("dense_gflop", &PlanReport::dense_gflop)
      .def_ro("reduced_gflop", &PlanReport::reduced_gflop);
  nb::class_<TokenFate>(module, "TokenFate", "What became of one token.")
      .def_ro("id", &TokenFate::id)
      .def_ro("far", &TokenFate::far, "It only wrote state in the skimmed layers.")
      .def_ro("site", &TokenFate::site, "Index into the plan's sites; -1: kept to the end.")
      .def_ro("merged_into", &TokenFate::merged_into, "Position; -1: it was not merged.")
      .def_ro("merged_hidden", &TokenFate::merged_hidden)
      .def_ro("merged_residual", &TokenFate::merged_residual);
  nb::class_<InspectReport>(module, "InspectReport")
      .def_ro("plan", &InspectReport::plan)
      .def_ro("tokens", &InspectReport::tokens)
      .def_ro("far_writes", &InspectReport::far_writes,
              "Under skim, for each layer [heads][chunks], 1 where the write was made.");
}

}  // namespace

void BindResults(nb::module_& module) {
  BindInfo(module);
  BindTexts(module);
  BindPlans(module);
}

}  // namespace pith::python
