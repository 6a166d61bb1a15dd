// pith's C++ interface: load a model once, then generate, score and inspect from any thread.
#ifndef PITH_ENGINE_H_
#define PITH_ENGINE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pith/error.h"
#include "pith/options.h"
#include "pith/policy.h"
#include "pith/reduction.h"
#include "pith/results.h"

namespace pith {

// One layer of a model, in words.
struct LayerInfo {
  std::string kind;    // "Mamba-2", "attention", "MLP", ...
  bool mixes = false;  // rows meet there; they do not in MLPs and experts
};

// What a model's files hold, for people and for JSON.
struct ModelInfo {
  std::string description;  // several lines
  std::string kind;         // "mamba1", "mamba2", "transformer" or "hybrid"
  std::string format;       // "mamba_ssm", "gguf" or transformers' model_type
  int64_t parameters = 0;
  std::map<std::string, int64_t> stored_types;  // as the files hold them, with counts of tensors
  int64_t n_layer = 0;
  int64_t d_model = 0;
  int64_t vocab_size = 0;              // rows of the embedding
  int64_t state_bytes = 0;             // of one sequence, whatever its length
  int64_t state_bytes_per_token = 0;   // and so much more for each token that it read (attention)
  std::optional<int32_t> end_of_text;  // the token that ends generation
  std::string end_of_text_source;      // where it was found: "config.json", "tokenizer.json", ...
  std::vector<std::string> warnings;   // about weights and vocabulary
  bool has_horizon = false;            // skim can leave far writes out in some layer
  std::vector<LayerInfo> layers;       // n_layer of them
};

// What the configuration alone tells of a model.
struct ModelShape {
  std::string kind;  // "mamba1", "mamba2", "transformer" or "hybrid"
  int64_t n_layer = 0;
};
// Reads no weights. Throws pith::Error.
ModelShape ReadModelShape(const std::filesystem::path& model);

// Where a model's tokenizer is: the tokenizer.json of a directory, or the GGUF file itself. Empty
// where it has none.
std::filesystem::path TokenizerOf(const std::filesystem::path& model);

// The devices that an EngineOptions::device stands for, each for an engine of its own: every GPU of
// the machine for "cuda:all" ("cuda" where there is none: loading says so), else the one it names.
std::vector<std::string> DevicesOf(const std::string& device);

class Session;
class Tokenizer;   // pith/tokenizer.h
class Scheduler;   // pith/scheduler.h
struct BenchCase;  // pith/bench.h
struct BenchOptions;
struct BenchReport;

// Const after loading and shared by threads; each call brings its own scratch.
class Engine {
 public:
  // Loads a directory's config.json, weights and, where it exists, tokenizer.json (or `tokenizer`),
  // or all of these from one GGUF file. Throws pith::Error.
  static Engine Load(const std::filesystem::path& model, const EngineOptions& options = {},
                     const std::filesystem::path& tokenizer = {});
  // A model of a published shape (ListShapes, pith/bench.h) with random weights and no tokenizer:
  // for measuring, never for what it says. `weights`: how they are stored, "f32" or "bf16".
  static Engine FromShape(std::string_view name, const EngineOptions& options = {},
                          std::string_view weights = "bf16");
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  const ModelInfo& info() const;

  // These throw kNotFound where the model came without a tokenizer.
  const Tokenizer& tokenizer() const;
  // Never add a BOS token; `bos`
  // puts the end-of-text token first, which the models were trained to see before a document.
  std::vector<int32_t> Tokenize(std::string_view text, bool bos = false) const;
  std::string Detokenize(std::span<const int32_t> ids) const;

  // Reads a prompt of at least one token and continues it.
  GenerateResult Generate(std::span<const int32_t> prompt, const GenerateOptions& options) const;

  // Log-likelihoods of continuations given contexts (scoring mode `context`: the context alone is
  // planned and reduced, every continuation token is read whole and scored). Items with the same
  // context share its prefill. The same numbers for any batch.
  std::vector<ScoreResult> Score(std::span<const ScoreItem> items, const ScoreOptions& options = {},
                                 ScoreStats* stats = nullptr) const;

  // A pair of texts as lm-evaluation-harness encodes it: trailing blanks of the context move to the
  // continuation; the context's ids are those of the context alone.
  ScoreItem EncodePair(std::string_view context, std::string_view continuation,
                       bool bos = false) const;

  // One pass over a document with carried state. Ids: at least two.
  PerplexityResult Perplexity(std::span<const int32_t> ids, const RunControl& control = {}) const;

  // A reduction of this model's contexts from its text (docs/reductions.md), for all the calls that
  // take one. Throws kInvalidArgument where the model cannot be reduced so at any length; also as
  // reading a file that the text names. The calls throw kInvalidArgument for another model's.
  Reduction Compile(std::string_view text, const CompileOptions& options = {}) const;

  // The same by a method of the caller's own; `amount` follows its name as in texts, such as "@30%"
  // or "@30%:protect=64,sites=5+9". Nothing reads its text back. Throws kInvalidArgument also for a
  // source that the model's layers lack, and, from the calls that read a context, for a plan that
  // is none.
  Reduction Compile(const OwnPolicy& policy, std::string_view amount,
                    const CompileOptions& options = {}) const;

  // What a reduction would do to a context of `tokens`, without reading one.
  PlanReport Plan(int64_t tokens, const Reduction& reduction) const;
  // What it does to this context, of at least one token.
  InspectReport Inspect(std::span<const int32_t> ids, const Reduction& reduction,
                        const InspectOptions& options = {}) const;

  // Times each case `repeats` times, in turn over all cases, so that a machine whose speed drifts
  // disturbs all alike. Before that every case runs once untimed, which finds its memory. Prefill
  // ends with the last logits of each prompt; a step reads each text's most likely next token.
  // While this runs, nothing else should run on the device: it would be timed and its memory
  // counted.
  BenchReport Measure(std::span<const BenchCase> cases, const BenchOptions& options) const;
  // The same over several engines of one model, each on a device of its own (DevicesOf) and on a
  // thread of its own. Each case's batch is divided among them. They begin prefill and decode
  // together, and the slowest one's time counts; memory, work and rates are sums.
  static BenchReport MeasureTogether(std::span<const Engine> engines,
                                     std::span<const BenchCase> cases, const BenchOptions& options);

  Session NewSession() const;
  Session LoadSession(const std::filesystem::path& state_file) const;

 private:
  friend class Session;
  friend class Scheduler;
  friend struct ReadingRoom;  // the scheduler's
  struct Impl;
  explicit Engine(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

// One text being read and written. Not shared between threads; copying it forks the text. Keeps
// the engine alive.
class Session {
 public:
  ~Session();
  Session(const Session&);
  Session(Session&&) noexcept;
  Session& operator=(const Session&);
  Session& operator=(Session&&) noexcept;

  // Reads more text, reduced as one context of its own.
  PrefillReport Append(std::span<const int32_t> ids, const Reduction& reduction = {},
                       const RunControl& control = {});
  // Continues the text. Without a `prompt`, a token must have been appended since the session was
  // made or loaded, or the text must end with a generated one.
  GenerateResult Generate(std::span<const int32_t> prompt, const GenerateOptions& options);

  int64_t tokens() const;  // tokens read so far
  // [vocab_size] what follows the last token read, before any softmax. Throws kInvalidArgument
  // where none was read since the session was made or loaded, or the last one was written and is
  // not read yet. Until the session is used again.
  std::span<const float> logits() const;
  // docs/formats/state.md. Everything read and written so far is in the file.
  void Save(const std::filesystem::path& state_file) const;

 private:
  friend class Engine;
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith

#endif  // PITH_ENGINE_H_
