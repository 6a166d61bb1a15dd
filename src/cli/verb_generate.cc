// pith generate: continues a prompt, or a saved state.
#include <exception>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"

namespace pith::cli {
namespace {

struct GenerateFlags {
  ModelFlags model;
  ReductionFlags reduction;
  SeedFlag seed;
  OutputFlags output;
  TextFlags prompt;
  GenerateOptions options;
  std::string save_state;
  std::string load_state;
  bool bos = false;
  bool ignore_eos = false;
};

OrderedJson ToJson(const GenerateResult& result, const ModelInfo& info) {
  OrderedJson json = {{"text", result.text},
                      {"ids", result.ids},
                      {"finish", result.finish},
                      {"end_of_text", nullptr},
                      {"prompt_tokens", result.prefill.tokens},
                      {"rows_left", result.prefill.rows_left},
                      {"realised", result.prefill.realised},
                      {"prefill_seconds", result.prefill.seconds},
                      {"decode_seconds", result.decode_seconds}};
  if (info.end_of_text) {
    json["end_of_text"] = {{"id", *info.end_of_text}, {"source", info.end_of_text_source}};
  }
  return json;
}

std::string Summary(const GenerateResult& result, const ModelInfo& info) {
  const PrefillReport& prefill = result.prefill;
  const auto generated = static_cast<int64_t>(result.ids.size());
  std::string finish = result.finish;
  if (finish == "end-of-text") {
    finish += StrCat(" (id ", result.ids.back(), ", from ", info.end_of_text_source, ")");
  }
  Fields fields;
  fields.Add("prompt",
             StrCat(Grouped(prefill.tokens), " tokens, ", Grouped(prefill.rows_left),
                    " left (realised ", Percent(prefill.realised), "), ", Fixed(prefill.seconds, 2),
                    " s, ", PerSecond(prefill.tokens, prefill.seconds)));
  fields.Add("output", StrCat(Grouped(generated), " tokens, ", Fixed(result.decode_seconds, 2),
                              " s, ", PerSecond(generated, result.decode_seconds)));
  fields.Add("ended by", finish);
  return fields.ToString();
}

std::vector<int32_t> EncodePrompt(const GenerateFlags& flags, const Engine& engine,
                                  const std::string& prompt) {
  if (!flags.prompt.given() && !flags.bos) return {};
  std::vector<int32_t> ids = engine.Tokenize(prompt, flags.bos);
  Require(!ids.empty() || !flags.load_state.empty(), ErrorCode::kInvalidArgument,
          flags.prompt.Source(), ": empty prompt, expected at least one token (or --bos)");
  return ids;
}

// Runs its steps one after another even when one of them fails: a reader that went away or a full
// disk must not cost the saved state, nor a state that cannot be written the text.
class Steps {
 public:
  template <class Step>
  bool Try(Step step) {
    try {
      step();
      return true;
    } catch (...) {
      if (!failure_) failure_ = std::current_exception();
      return false;
    }
  }
  bool failed() const { return failure_ != nullptr; }
  void Rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::exception_ptr failure_;
};

int RunGenerate(const GenerateFlags& flags, const Context& context) {
  GenerateOptions options = flags.options;
  const ReductionText reduction = flags.reduction.Resolve(flags.seed);
  options.sampling.seed = flags.seed.seed.value_or(0);
  options.stop_at_end_of_text = !flags.ignore_eos;
  const bool needs_prompt = flags.load_state.empty() && !flags.bos;
  const std::string prompt =
      flags.prompt.given() || needs_prompt ? flags.prompt.Read(context) : std::string();
  if (!flags.save_state.empty()) CheckWritable(flags.save_state);
  Output output(flags.output.output);

  const Engine engine = flags.model.Load();
  options.reduction = reduction.Compile(engine);
  const std::vector<int32_t> ids = EncodePrompt(flags, engine, prompt);
  Session session =
      flags.load_state.empty() ? engine.NewSession() : engine.LoadSession(flags.load_state);
  ProgressBar bar("generating", flags.output.quiet);
  Steps steps;
  options.control = bar.Control(context.cancel);
  if (!flags.output.json) {
    options.on_text = [&](std::string_view text) {
      bar.Disable();
      return steps.Try([&] { output.Write(text); });
    };
  }
  const GenerateResult result = session.Generate(ids, options);
  bar.Clear();
  if (!steps.failed()) {
    steps.Try([&] {
      flags.output.json ? output.WriteJson(ToJson(result, engine.info())) : output.Write("\n");
      output.Commit();
    });
  }
  if (!flags.save_state.empty()) steps.Try([&] { session.Save(flags.save_state); });
  if (!flags.output.quiet && !flags.output.json) WriteError(Summary(result, engine.info()));
  steps.Rethrow();
  return result.finish == "cancelled" ? kExitCancelled : kExitOk;
}

void DeclareSampling(CLI::App& verb, SamplingOptions& sampling, SeedFlag& seed) {
  CLI::Option* greedy =
      verb.add_flag("--greedy", sampling.greedy, "Always the most likely token")->group("Sampling");
  const auto add = [&](const char* name, auto& value, const char* description) {
    return verb.add_option(name, value, description)
        ->type_name("X")
        ->capture_default_str()
        ->group("Sampling");
  };
  add("--temperature", sampling.temperature, "Divide logits by X; lower is closer to greedy")
      ->excludes(greedy);
  add("--top-k", sampling.top_k, "Keep the X most likely tokens; 0: all")->excludes(greedy);
  add("--top-p", sampling.top_p, "Keep the most likely tokens with this much probability")
      ->excludes(greedy);
  add("--min-p", sampling.min_p, "Drop tokens less likely than X times the most likely one")
      ->excludes(greedy);
  add("--repetition-penalty", sampling.repetition_penalty, "Above 1: lower tokens already there");
  seed.Declare(verb);
}

void Declare(CLI::App& verb, GenerateFlags& flags) {
  flags.prompt.Declare(verb, "prompt", "prompt-file", "Prompt");
  verb.add_option("--max-tokens", flags.options.max_tokens, "Most tokens to generate")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->type_name("N")
      ->capture_default_str();
  verb.add_option("--stop", flags.options.stop, "End before this text; may be repeated")
      ->allow_extra_args(false)
      ->type_name("TEXT");
  verb.add_flag("--ignore-eos", flags.ignore_eos, "Go on after the end-of-text token");
  verb.add_option("--save-state", flags.save_state, "Save the text read and written so far")
      ->type_name("FILE");
  verb.add_option("--load-state", flags.load_state, "Go on from a saved state; prompt optional")
      ->type_name("FILE");
  DeclareSampling(verb, flags.options.sampling, flags.seed);
  flags.reduction.Declare(verb);
  flags.model.Declare(verb);
  DeclareBos(verb, flags.bos);
  flags.output.Declare(verb);
}

}  // namespace

void AddGenerate(CLI::App& app, Context& context) {
  AddVerb<GenerateFlags>(
      app, context, "generate", "Continue a prompt; text appears as it is made",
      "  pith generate --model models/pith-27m-mamba2 --prompt 'Once upon a time' --greedy\n"
      "  pith generate --model models/pith-27m-mamba2 --prompt-file long.txt --reduce utrc@30% \\\n"
      "      --max-tokens 64 --temperature 0.8 --top-p 0.95 --seed 7\n"
      "  cat long.txt | pith generate --model models/pith-13m-mamba1 --prompt-file - --json\n"
      "  pith generate --model models/pith-27m-mamba2 --prompt-file long.txt --save-state s.pith\n"
      "  pith generate --model models/pith-27m-mamba2 --load-state s.pith --prompt ' And then'\n",
      Declare, RunGenerate);
}

}  // namespace pith::cli
