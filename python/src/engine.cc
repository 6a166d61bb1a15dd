// Engine and Session: token ids in, results out. Texts, defaults and types are python/pith/'s.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/utf8.h"
#include "module.h"
#include "pith/engine.h"
#include "reductions.h"
#include "run.h"
#include "text_stream.h"

namespace nb = nanobind;
using nb::literals::operator""_a;

namespace pith::python {
namespace {

using Ids = std::vector<int32_t>;
using Path = std::filesystem::path;

void BindOptions(nb::module_& module) {
  nb::class_<EngineOptions>(module, "EngineOptions")
      .def(nb::init<>())
      .def_rw("device", &EngineOptions::device)
      .def_rw("dtype", &EngineOptions::dtype)
      .def_rw("weights", &EngineOptions::weights)
      .def_rw("state_dtype", &EngineOptions::state_dtype)
      .def_rw("threads", &EngineOptions::threads)
      .def_rw("verify_weights", &EngineOptions::verify_weights);
  nb::class_<GenerateOptions>(module, "GenerateOptions")
      .def(nb::init<>())
      .def_rw("max_tokens", &GenerateOptions::max_tokens)
      .def_rw("stop", &GenerateOptions::stop)
      .def_rw("stop_at_end_of_text", &GenerateOptions::stop_at_end_of_text)
      .def_rw("reduction", &GenerateOptions::reduction)
      .def_rw("sampling", &GenerateOptions::sampling);
  nb::class_<SamplingOptions>(module, "SamplingOptions")
      .def(nb::init<>())
      .def_rw("greedy", &SamplingOptions::greedy)
      .def_rw("temperature", &SamplingOptions::temperature)
      .def_rw("top_k", &SamplingOptions::top_k)
      .def_rw("top_p", &SamplingOptions::top_p)
      .def_rw("min_p", &SamplingOptions::min_p)
      .def_rw("repetition_penalty", &SamplingOptions::repetition_penalty)
      .def_rw("seed", &SamplingOptions::seed);
}

Engine Load(const Path& model, const EngineOptions& options, const std::optional<Path>& tokenizer) {
  return Run(
      [&](const RunControl&) { return Engine::Load(model, options, tokenizer.value_or(Path())); });
}

std::vector<ScoreResult> Score(const Engine& engine, const std::vector<std::pair<Ids, Ids>>& pairs,
                               const Reduction& reduction, const std::string& mode, bool logprobs) {
  std::vector<ScoreItem> items;
  for (const auto& [context, continuation] : pairs) items.push_back({context, continuation});
  ScoreOptions options{.reduction = reduction, .mode = ParseScoringMode(mode)};
  options.logprobs = logprobs;
  return Run([&](const RunControl& control) {
    options.control = control;
    return engine.Score(items, options);
  });
}

void BindEngineClass(nb::module_& module) {
  nb::class_<Engine>(module, "Engine")
      .def_static("load", &Load, "model"_a, "options"_a, "tokenizer"_a.none())
      .def_prop_ro("info", &Engine::info, nb::rv_policy::reference_internal)
      .def("tokenize", &Engine::Tokenize, "text"_a, "bos"_a)
      .def("detokenize",
           [](const Engine& e, const Ids& ids) { return ReplaceInvalidUtf8(e.Detokenize(ids)); })
      .def("encode_pair",
           [](const Engine& e, const std::string& context, const std::string& continuation) {
             ScoreItem item = e.EncodePair(context, continuation);
             return std::pair(std::move(item.context), std::move(item.continuation));
           })
      .def("compile",
           [](const Engine& e, const std::string& text, std::vector<int> sites, bool full) {
             return e.Compile(text, {.sites = std::move(sites), .full_flops = full});
           })
      .def("compile_policy",
           [](const Engine& e, nb::object plan, std::string name, const std::string& amount,
              std::string importance, std::string features, bool merges) {
             return e.Compile(MakePolicy(std::move(plan), std::move(name), std::move(importance),
                                         std::move(features), merges),
                              amount);
           })
      .def("score", &Score, "pairs"_a, "reduction"_a, "mode"_a, "logprobs"_a)
      .def("perplexity",
           [](const Engine& e, const Ids& ids) {
             return Run([&](const RunControl& control) { return e.Perplexity(ids, control); });
           })
      .def("plan", &Engine::Plan, "tokens"_a, "reduction"_a)
      .def("inspect",
           [](const Engine& e, const Ids& ids, const Reduction& reduction) {
             return Run([&](const RunControl& control) {
               return e.Inspect(ids, reduction, {.control = control});
             });
           })
      .def("new_session", &Engine::NewSession)
      .def("load_session", &Engine::LoadSession, "path"_a,
           nb::call_guard<nb::gil_scoped_release>());
}

void BindSession(nb::module_& module) {
  nb::class_<Session>(module, "Session")
      .def("append",
           [](Session& s, const Ids& ids, const Reduction& reduction) {
             return Run(
                 [&](const RunControl& control) { return s.Append(ids, reduction, control); });
           })
      .def("generate",
           [](Session& s, const Ids& prompt, GenerateOptions options) {
             return Run([&](const RunControl& control) {
               options.control = control;
               return s.Generate(prompt, options);
             });
           })
      .def(
          "stream",
          [](Session& s, Ids prompt, GenerateOptions options) {
            return new TextStream(s, std::move(prompt), std::move(options));
          },
          nb::keep_alive<0, 1>())
      .def(
          "fork", [](const Session& s) { return Session(s); },
          nb::call_guard<nb::gil_scoped_release>())
      .def("save", &Session::Save, "path"_a, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("tokens", &Session::tokens)
      .def("logits", [](const Session& s) { return CopyLogits(s.logits()); });
}

void BindStream(nb::module_& module) {
  nb::class_<TextStream>(module, "TextStream")
      .def("next", &TextStream::Next, "The next piece of text; none: it has ended.")
      .def("result", &TextStream::Result)
      .def("stop", &TextStream::Stop, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace

void BindEngine(nb::module_& module) {
  BindOptions(module);
  BindStream(module);
  BindSession(module);
  BindEngineClass(module);
}

}  // namespace pith::python
