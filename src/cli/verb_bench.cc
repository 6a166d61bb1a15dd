// pith bench: how fast a model reads and writes here, and what memory that takes.
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "cli/bench_report.h"
#include "cli/demo_report.h"
#include "cli/eval_run.h"
#include "cli/eval_text.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "eval/report/html.h"
#include "pith/bench.h"
#include "pith/reduction_spec.h"

namespace pith::cli {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kMostTexts = 4096;

struct BenchFlags {
  std::string model;
  std::string shape;
  std::string weights;
  EngineOptions engine;
  OutputFlags output;
  std::string html;
  std::vector<std::string> prompts = {"512"};
  std::vector<std::string> batches = {"1"};
  std::vector<std::string> reductions = {"none"};
  int64_t decode = 32;
  bool score = false;
  BenchOptions options;
};

// The numbers of a list, whichever way it was given: with commas, repeated, or both.
std::vector<int64_t> ParseCounts(const char* option, const std::vector<std::string>& texts,
                                 int64_t most) {
  std::vector<int64_t> counts;
  for (std::string_view text : texts) {
    for (bool more = true; more;) {
      const size_t comma = text.find(',');
      more = comma != text.npos;
      const std::string_view part = text.substr(0, comma);
      int64_t count = 0;
      const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), count);
      Require(
          error == std::errc() && end == part.data() + part.size() && count >= 1 && count <= most,
          ErrorCode::kInvalidArgument, option, ": got ", Quoted(part),
          ", expected whole numbers from 1 to ", most, " with commas between");
      counts.push_back(count);
      if (more) text.remove_prefix(comma + 1);
    }
  }
  return counts;
}

struct BenchGrid {
  std::vector<int64_t> prompts;
  std::vector<int64_t> batches;
  std::vector<std::string> reductions;

  explicit BenchGrid(const BenchFlags& flags)
      : prompts(ParseCounts("--prompt", flags.prompts, kMostTokens)),
        batches(ParseCounts("--batch", flags.batches, kMostTexts)) {
    for (const std::string& text : flags.reductions) {
      for (const std::string& one : SplitMethods(text, "--reduce")) {
        reductions.push_back(ReductionSpec::ParseOrRead(one).ToString());
      }
    }
  }

  // Reductions of one prompt and batch stand side by side.
  std::vector<BenchCase> Cases(const Engine& engine, const BenchFlags& flags) const {
    std::vector<Reduction> compiled;
    for (const std::string& text : reductions) compiled.push_back(engine.Compile(text));
    std::vector<BenchCase> cases;
    for (const int64_t batch : batches) {
      for (const int64_t prompt : prompts) {
        for (const Reduction& reduction : compiled) {
          cases.push_back({.reduction = reduction,
                           .prompt = prompt,
                           .batch = batch,
                           .decode = flags.score ? 0 : flags.decode,
                           .score = flags.score});
        }
      }
    }
    return cases;
  }
};

// How the weights of --shape are drawn; int8 and int4 are rounded from bf16.
std::string DrawnAs(const BenchFlags& flags) { return flags.weights == "f32" ? "f32" : "bf16"; }

// One option says how weights are drawn and what they are rounded to.
void ResolveWeights(BenchFlags& flags) {
  const bool drawn = flags.weights == "f32" || flags.weights == "bf16";
  if (flags.weights.empty()) flags.weights = flags.shape.empty() ? "stored" : "bf16";
  Require(flags.shape.empty() ? !drawn : flags.weights != "stored", ErrorCode::kInvalidArgument,
          "--weights: got ", flags.weights, ", expected ",
          flags.shape.empty() ? "stored, int8 or int4 with --model (f32 and bf16 are for --shape)"
                              : "f32, bf16, int8 or int4 with --shape (stored is for --model)");
  if (flags.weights.starts_with("int")) flags.engine.weights = flags.weights;
}

std::vector<Engine> MakeEngines(const BenchFlags& flags) {
  EngineOptions options = flags.engine;
  options.verify_weights = false;
  if (flags.shape.empty()) return LoadEngines(flags.model, options, "");
  return OnEachDevice(options, [&](const EngineOptions& one) {
    return Engine::FromShape(flags.shape, one, DrawnAs(flags));
  });
}

int RunBench(BenchFlags flags, const Context& context) {
  Require(flags.model.empty() != flags.shape.empty(), ErrorCode::kInvalidArgument,
          "bench: --model DIR or --shape NAME is required");
  ResolveWeights(flags);
  const BenchGrid grid(flags);
  Output output(flags.output.output);
  if (!flags.html.empty()) PrepareFile(flags.html);
  const std::vector<Engine> engines = MakeEngines(flags);
  const Engine& engine = engines[0];
  const std::vector<BenchCase> cases = grid.Cases(engine, flags);
  ProgressBar bar("measuring", flags.output.quiet);
  BenchOptions options = flags.options;
  options.control = bar.Control(context.cancel);
  const BenchReport report = Engine::MeasureTogether(engines, cases, options);
  bar.Clear();
  const BenchSubject subject{.command = context.command,
                             .model = flags.model,
                             .shape = flags.shape,
                             .weights = flags.weights == "stored" ? "" : flags.weights,
                             .engine = flags.engine,
                             .info = engine.info(),
                             .options = flags.options};
  if (flags.output.json) {
    output.WriteJson(BenchJson(subject, report));
  } else {
    output.Write(BenchText(subject, report));
  }
  output.Commit();
  if (!flags.html.empty()) {
    Report page = BenchPage(subject, report);
    page.footer = ReportFooter(flags.engine, context);
    WriteWhole(flags.html, ToHtml(page));
  }
  if (report.complete) return kExitOk;
  WriteError(StrCat("pith: cancelled: ", report.rows.size(), " of ", cases.size(),
                    " rows have at least one repeat\n"));
  return kExitCancelled;
}

// One value an occurrence: the words after it are not swallowed.
CLI::Option* AddList(CLI::App& verb, const std::string& name, std::vector<std::string>& values,
                     const std::string& description) {
  return verb.add_option(name, values, description)
      ->allow_extra_args(false)
      ->type_name("N,...")
      ->group("Grid");
}

void DeclareGrid(CLI::App& verb, BenchFlags& flags) {
  AddList(verb, "--prompt", flags.prompts, "Tokens of a prompt (default 512)");
  AddList(verb, "--batch", flags.batches,
          "Prompts that are read and continued together (default 1)");
  AddList(verb, "--reduce", flags.reductions,
          "Reductions of the prompts (default none); see pith plan --list")
      ->type_name("R,...");
  verb.add_option("--decode", flags.decode, "Tokens that each text is continued by; 0: none")
      ->check(CLI::Range(int64_t{0}, kMostTokens))
      ->type_name("N")
      ->capture_default_str()
      ->group("Grid");
  verb.add_flag("--score", flags.score,
                "Score every token of the prompts instead, and write nothing; prefill is that")
      ->group("Grid");
  verb.add_option("--repeats", flags.options.repeats, "Timed repeats; one more is not timed")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str()
      ->group("Grid");
  verb.add_option("--seed", flags.options.seed, "Seed of the prompts' tokens")
      ->type_name("N")
      ->capture_default_str()
      ->group("Grid");
}

void Declare(CLI::App& verb, BenchFlags& flags) {
  CLI::Option* model = verb.add_option("--model", flags.model,
                                       "Directory with config.json and weights, or a GGUF file")
                           ->type_name("PATH")
                           ->group("Model");
  verb.add_option("--shape", flags.shape, "A published model's shape, with random weights")
      ->check(OneOf(ListShapes()))
      ->type_name("NAME")
      ->excludes(model)
      ->group("Model");
  verb.add_option("--weights", flags.weights,
                  "What weights are: with --shape f32 or bf16 (its default), and with --model "
                  "stored (its default); with either int8 or int4")
      ->check(OneOf({"stored", "f32", "bf16", "int8", "int4"}))
      ->type_name("")
      ->group("Model");
  DeclareEngine(verb, flags.engine, true);
  DeclareGrid(verb, flags);
  verb.add_option("--html", flags.html, "Page with the table and plots")
      ->type_name("FILE")
      ->group("Output");
  flags.output.Declare(verb);
}

}  // namespace

void AddBench(CLI::App& app, Context& context) {
  AddVerb<BenchFlags>(
      app, context, "bench", "Speed of prefill and decode, and memory, over a grid",
      "  pith bench --model models/pith-27m-mamba2 --prompt 512,2048 --reduce none,utrc@30%,skim\n"
      "  pith bench --shape mamba2-2.7b --batch 1,16 --decode 64 --html out/bench.html\n"
      "  pith bench --shape mamba-130m --weights f32 --prompt 512 --decode 0 --json\n"
      "  pith bench --shape mamba2-130m --weights int8 --prompt 512 --decode 64\n",
      Declare, RunBench);
}

}  // namespace pith::cli
