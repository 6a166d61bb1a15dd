#include "cli/flags.h"

#include <algorithm>

#include "cli/io.h"
#include "cli/text.h"
#include "core/error.h"
#include "core/nearest.h"
#include "core/notes.h"
#include "core/processors.h"
#include "pith/reduction_spec.h"

namespace pith::cli {
namespace {

// One value an occurrence: the words after it are not swallowed.
CLI::Option* AddList(CLI::App& verb, const std::string& name, std::vector<int>& values,
                     const std::string& description) {
  return verb.add_option(name, values, description)->allow_extra_args(false)->delimiter(',');
}

bool TakesSeed(const std::string& method) {
  for (const MethodInfo& known : ListReductions()) {
    if (known.name != method) continue;
    return std::ranges::any_of(known.keys, [](const auto& key) { return key.name == "seed"; });
  }
  return false;
}

// cuda:N passes as cuda; Engine::Load says what is wrong with N.
CLI::Validator DeviceNames() {
  const CLI::Validator names = OneOf({"cpu", "reference", "cuda"});
  const auto check = [names](std::string& got) {
    std::string name = got.starts_with("cuda:") ? "cuda" : got;
    return names(name);
  };
  return {check, names.get_description()};
}

}  // namespace

void ModelFlags::Declare(CLI::App& verb, bool required, bool all_devices) {
  verb.add_option("--model", model,
                  "Directory with config.json, weights and tokenizer.json, or a GGUF file")
      ->required(required)
      ->type_name("PATH")
      ->group("Model");
  verb.add_option("--tokenizer", tokenizer, "tokenizer.json to use instead of the model's")
      ->type_name("FILE")
      ->group("Model");
  DeclareEngine(verb, engine, all_devices);
  DeclareWeights(verb, engine);
}

void DeclareWeights(CLI::App& verb, EngineOptions& engine) {
  verb.add_option("--weights", engine.weights,
                  "What the matrices of products are rounded to as they are loaded")
      ->check(OneOf({"stored", "int8", "int4"}))
      ->type_name("")
      ->capture_default_str()
      ->group("Model");
}

void DeclareEngine(CLI::App& verb, EngineOptions& engine, bool all) {
  verb.add_option("--device", engine.device,
                  StrCat("Where to compute; cuda:N is the Nth GPU, from 0",
                         all ? ", cuda:all every GPU" : ""))
      ->check(DeviceNames())
      ->type_name("")
      ->capture_default_str()
      ->group("Model");
  verb.add_option("--dtype", engine.dtype, "What matrix products read; f32 is the precise one")
      ->check(OneOf({"f32", "bf16", "f16", "fp8"}))
      ->type_name("")
      ->capture_default_str()
      ->group("Model");
  verb.add_option("--state-dtype", engine.state_dtype,
                  "What states are held as; bf16 and f16 on a GPU only")
      ->check(OneOf({"f32", "bf16", "f16"}))
      ->type_name("")
      ->capture_default_str()
      ->group("Model");
  verb.add_option("--threads", engine.threads, "Threads; 0: all processors")
      ->check(CLI::Range(0, 1024))
      ->type_name("N")
      ->capture_default_str()
      ->group("Model");
  verb.add_flag_callback("--pin", PinThreads, "Bind each thread to a processor (Linux)")
      ->group("Model");
}

Engine ModelFlags::Load(bool verify) const {
  EngineOptions options = engine;
  options.verify_weights = verify;
  return LoadEngine(model, options, tokenizer);
}

void ShowWarnings(const Engine& engine) {
  for (const std::string& warning : engine.info().warnings) {
    WriteError(StrCat("pith: warning: ", warning, "\n"));
  }
}

Engine LoadEngine(const std::string& model, const EngineOptions& options,
                  const std::string& tokenizer) {
  Engine loaded = Engine::Load(model, options, tokenizer);
  ShowWarnings(loaded);
  return loaded;
}

std::vector<Engine> OnEachDevice(EngineOptions options,
                                 const std::function<Engine(const EngineOptions&)>& load) {
  std::vector<Engine> engines;
  for (const std::string& device : DevicesOf(options.device)) {
    options.device = device;
    engines.push_back(load(options));
    options.verify_weights = false;
  }
  return engines;
}

std::vector<Engine> LoadEngines(const std::string& model, const EngineOptions& options,
                                const std::string& tokenizer) {
  std::vector<Engine> engines = OnEachDevice(
      options, [&](const EngineOptions& one) { return Engine::Load(model, one, tokenizer); });
  ShowWarnings(engines[0]);
  return engines;
}

void DeclareBos(CLI::App& verb, bool& bos) {
  verb.add_flag("--bos", bos, "Put the end-of-text token before the text (off by default)")
      ->group("Model");
}

CLI::Validator OneOf(const std::vector<std::string>& names) {
  std::string listed;
  for (const std::string& name : names) listed += (listed.empty() ? "{" : ",") + name;
  listed += "}";
  const auto check = [names, listed](std::string& got) -> std::string {
    if (std::ranges::find(names, got) != names.end()) return "";
    return StrCat("got '", Excerpt(got), "', expected one of ", listed, DidYouMean(got, names));
  };
  return {check, listed};
}

void DeclareVerbose(CLI::App& verb) {
  verb.add_flag_callback(
          "-v,--verbose",
          [] {
            ListenToNotes(
                [](const std::string& note) { WriteError(StrCat("pith: note: ", note, "\n")); });
          },
          "Say more on standard error, as what was skipped in a file")
      ->group("Output");
}

void SeedFlag::Declare(CLI::App& verb) {
  verb.add_option("--seed", seed, "Seed of sampling and of random reductions (default 0)")
      ->type_name("N");
}

void ReductionFlags::Declare(CLI::App& verb) {
  verb.add_option("--reduce", reduce,
                  "none, METHOD[@N%][:key=value,...] or @FILE; see pith plan --list")
      ->type_name("R")
      ->capture_default_str()
      ->group("Reduction");
  AddList(verb, "--sites", sites, "Layers after which to reduce, as 5,7,9 (default: the method's)")
      ->type_name("L,...")
      ->group("Reduction");
  verb.add_option("--flops", flops, "What @N% counts: the layers alone, or the head too")
      ->check(OneOf({"blocks", "full"}))
      ->type_name("")
      ->capture_default_str()
      ->group("Reduction");
}

ReductionText ReductionFlags::Resolve(const SeedFlag& seed) const {
  ReductionSpec spec = ReductionSpec::ParseOrRead(reduce);
  if (seed.seed && TakesSeed(spec.method)) {
    spec.params.emplace("seed", std::to_string(*seed.seed));
  }
  return {.text = spec.ToString(), .options = {.sites = sites, .full_flops = flops == "full"}};
}

void OutputFlags::Declare(CLI::App& verb) {
  verb.add_flag("--json", json, "Print JSON")->group("Output");
  verb.add_option("--output", output, "Write to FILE, which appears whole or not at all")
      ->type_name("FILE")
      ->group("Output");
  verb.add_flag("-q,--quiet", quiet, "No summary or progress on standard error")->group("Output");
}

void TextFlags::Declare(CLI::App& verb, const std::string& name, const std::string& file_name,
                        const std::string& what) {
  name_ = "--" + name;
  file_name_ = "--" + file_name;
  CLI::Option* inline_text = verb.add_option(name_, text, what + ", given here")->type_name("TEXT");
  verb.add_option(file_name_, file, what + ", read from a file; - for standard input")
      ->type_name("FILE")
      ->excludes(inline_text);
}

std::string TextFlags::Source() const {
  if (text) return name_;
  return file_name_ + " " + (from_stdin() ? "-" : *file);
}

std::string TextFlags::Read(const Context& context) const {
  Require(given(), ErrorCode::kInvalidArgument, name_, " TEXT or ", file_name_,
          " FILE is required");
  return text ? *text : ReadInput(*file, *context.cancel);
}

}  // namespace pith::cli
