// Option groups that verbs share, so that an option means the same everywhere.
#ifndef PITH_CLI_FLAGS_H_
#define PITH_CLI_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/verbs.h"
#include "pith/engine.h"
#include "pith/options.h"

namespace pith::cli {

// The value is one of `names`; else the error suggests the nearest.
CLI::Validator OneOf(const std::vector<std::string>& names);

// --device --dtype --threads. `all`: the verb takes every GPU of the machine, too.
void DeclareEngine(CLI::App& verb, EngineOptions& engine, bool all = false);

// --weights
void DeclareWeights(CLI::App& verb, EngineOptions& engine);

// Shows the model's warnings on standard error.
void ShowWarnings(const Engine& engine);

// Loads with what the flags say, and shows the model's warnings.
Engine LoadEngine(const std::string& model, const EngineOptions& options,
                  const std::string& tokenizer);

// What `load` makes on each device that `options.device` stands for. Weights are verified once.
std::vector<Engine> OnEachDevice(EngineOptions options,
                                 const std::function<Engine(const EngineOptions&)>& load);
std::vector<Engine> LoadEngines(const std::string& model, const EngineOptions& options,
                                const std::string& tokenizer);

// --model --tokenizer --device --dtype --weights --threads
struct ModelFlags {
  std::string model;
  std::string tokenizer;
  EngineOptions engine;

  void Declare(CLI::App& verb, bool required = true, bool all_devices = false);
  // `verify`: scan the weights for NaN and infinity. Verbs that compute nothing save the time.
  Engine Load(bool verify = true) const;
};

// --bos
void DeclareBos(CLI::App& verb, bool& bos);

// --seed: of sampling and of reduction methods that draw at random.
struct SeedFlag {
  std::optional<uint64_t> seed;

  void Declare(CLI::App& verb);
};

// What the flags ask for: well formed, but for no model yet.
struct ReductionText {
  std::string text;
  CompileOptions options;
  Reduction Compile(const Engine& engine) const { return engine.Compile(text, options); }
};

// --reduce --sites --flops
struct ReductionFlags {
  std::string reduce = "none";
  std::vector<int> sites;
  std::string flops = "blocks";

  void Declare(CLI::App& verb);
  // Reads `@FILE`. A seed that the reduction names itself wins. Throws pith::Error.
  ReductionText Resolve(const SeedFlag& seed) const;
};

// --json --output --quiet
struct OutputFlags {
  bool json = false;
  bool quiet = false;
  std::string output;

  void Declare(CLI::App& verb);
};

// A text given inline (--NAME TEXT) or as a file (--FILE-NAME PATH, `-` for standard input).
struct TextFlags {
  std::optional<std::string> text;
  std::optional<std::string> file;

  // `name` and `file_name` without dashes.
  void Declare(CLI::App& verb, const std::string& name, const std::string& file_name,
               const std::string& what);
  bool given() const { return text.has_value() || file.has_value(); }
  bool from_stdin() const { return file == "-"; }
  // Throws kInvalidArgument where neither was given; else as ReadInput.
  std::string Read(const Context& context) const;
  // Where the text came from, for messages.
  std::string Source() const;

 private:
  std::string name_;
  std::string file_name_;
};

}  // namespace pith::cli

#endif  // PITH_CLI_FLAGS_H_
