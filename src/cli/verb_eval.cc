// pith eval: tasks × reductions on one model, interruptible.
#include <filesystem>
#include <string>
#include <vector>

#include "cli/eval_text.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "eval/fingerprint.h"
#include "eval/runner.h"
#include "reduce/spec.h"
#include "score/modes.h"

namespace pith::cli {
namespace {

struct EvalFlags {
  ModelFlags model;
  TaskOptions task;
  std::string data = "data";
  std::string text_file;
  std::vector<std::string> tasks = {"lambada_openai", "hellaswag",     "piqa",
                                    "arc_easy",       "arc_challenge", "winogrande"};
  std::string methods = "none";
  std::string scoring = "context";
  std::string output = "out/eval";
  bool fresh = false;
  bool list = false;
  bool json = false;
  bool quiet = false;
};

int ListThem(bool json) {
  OrderedJson tasks = OrderedJson::array();
  Table table({{"", Align::kLeft}, {"", Align::kLeft}, {"", Align::kLeft}});
  for (const TaskInfo& info : ListTasks()) {
    const auto task = MakeTask(info.name);
    OrderedJson metrics = OrderedJson::array();
    std::string names;
    for (const Metric& metric : task->metrics()) {
      metrics.push_back({{"name", metric.name}, {"meaning", metric.meaning}});
      names += (names.empty() ? "" : ", ") + metric.name;
    }
    tasks.push_back({{"name", info.name}, {"description", info.description}, {"metrics", metrics}});
    table.AddRow({info.name, info.description, names});
  }
  Output out("");
  json ? out.WriteJson(tasks) : out.Write(table.ToString(false));
  return kExitOk;
}

// Bad names cost no loading; those of tasks are checked by MakeTask.
EvalOptions MakeOptions(const EvalFlags& flags) {
  EvalOptions options{.methods = {}, .mode = ParseScoringMode(flags.scoring), .control = {}};
  for (const std::string& method : SplitMethods(flags.methods)) {
    options.methods.push_back(ReductionSpec::ParseOrRead(method).ToString());
  }
  for (const std::string& name : flags.tasks) MakeTask(name);
  return options;
}

std::vector<EvalRow> Measure(const EvalFlags& flags, const Engine& engine,
                             const std::vector<EvalTask>& tasks, EvalOptions options,
                             Journal& journal, const Context& context) {
  ProgressBar bar("evaluating", flags.quiet);
  options.control = bar.Control(context.cancel);
  try {
    return Evaluate(engine, tasks, options, journal);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    bar.Clear();
    Throw(ErrorCode::kCancelled, "cancelled; ", journal.path().string(), " holds ", journal.size(),
          " scored items: the same command", flags.fresh ? " without --fresh" : "",
          " goes on from there");
  }
}

void WriteFile(const std::filesystem::path& path, std::string_view text) {
  Output file(path.string());
  file.Write(text);
  file.Commit();
}

int RunEval(EvalFlags flags, const Context& context) {
  if (flags.list) return ListThem(flags.json);
  Require(!flags.model.model.empty(), ErrorCode::kInvalidArgument, "--model DIR is required");
  const EvalOptions options = MakeOptions(flags);
  flags.task.data = flags.data;
  flags.task.text = flags.text_file;
  const std::filesystem::path directory(flags.output);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  Require(!error, ErrorCode::kIo, flags.output, ": cannot create: ", error.message());
  CheckWritable((directory / "results.json").string());

  const Stopwatch watch;
  const Engine engine = flags.model.Load();
  const OrderedJson fingerprint = Fingerprint(engine, flags.model.engine, flags.model.model,
                                              flags.model.tokenizer, flags.task, options.mode);
  // What cannot be is found before --fresh empties a journal.
  const auto tasks = LoadTasks(engine, flags.tasks, flags.task);
  for (const std::string& method : options.methods) engine.Plan(1, {.reduce = method});
  Journal journal(directory / "journal.jsonl", fingerprint, flags.fresh);
  const size_t before = journal.size();
  const auto rows = Measure(flags, engine, tasks, options, journal, context);

  const OrderedJson results = {{"format", "pith eval 1"},
                               {"run", fingerprint},
                               {"limit", flags.task.limit},
                               {"rows", EvalRowsToJson(rows)}};
  WriteFile(directory / "results.json", results.dump(1) + "\n");
  WriteFile(directory / "results.csv", EvalRowsToCsv(rows));
  Output out("");
  flags.json ? out.WriteJson(results) : out.Write(EvalTables(rows));
  if (!flags.quiet) {
    WriteError(StrCat("scored ", journal.size() - before, " items in ", Fixed(watch.seconds(), 1),
                      " s, ", before, " were in the journal; see ", flags.output,
                      "/results.json and results.csv\n"));
  }
  return kExitOk;
}

void DeclareTexts(CLI::App& verb, EvalFlags& flags) {
  verb.add_option("--context", flags.task.context, "Tokens of a window that may be reduced")
      ->type_name("N")
      ->capture_default_str()
      ->group("perplexity, recall_targets");
  verb.add_option("--tail", flags.task.tail, "Tokens after them that are scored")
      ->type_name("N")
      ->capture_default_str()
      ->group("perplexity, recall_targets");
  verb.add_option("--text-file", flags.text_file,
                  "Documents with a line <|endoftext|> between them (default: shipped text)")
      ->type_name("FILE")
      ->group("perplexity, recall_targets");
  verb.add_option("--recall-tokens", flags.task.recall_tokens,
                  "Make contexts of N tokens from the text; 0: shipped ones")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->capture_default_str()
      ->group("recall");
  verb.add_option("--seed", flags.task.seed, "Of the contexts that are made")
      ->type_name("N")
      ->capture_default_str()
      ->group("recall");
}

void Declare(CLI::App& verb, EvalFlags& flags) {
  verb.add_option("--tasks", flags.tasks, "What to measure; see --list (default: the first six)")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("T,...");
  verb.add_option("--methods", flags.methods,
                  "Reductions; a part key=value belongs to the reduction before it")
      ->type_name("R,...")
      ->capture_default_str();
  verb.add_option("--limit", flags.task.limit, "First items of a task only; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->capture_default_str();
  verb.add_option("--scoring", flags.scoring,
                  "context, survivors, published-tail or paper-first; see docs/scoring.md")
      ->type_name("MODE")
      ->capture_default_str();
  verb.add_option("--data", flags.data, "Directory of the shipped data")
      ->type_name("DIR")
      ->capture_default_str();
  verb.add_flag("--list", flags.list, "List the tasks and their metrics");
  DeclareTexts(verb, flags);
  flags.model.Declare(verb, false);
  DeclareBos(verb, flags.task.bos);
  verb.add_option("--output", flags.output,
                  "Directory for journal.jsonl, results.json and results.csv")
      ->type_name("DIR")
      ->capture_default_str()
      ->group("Output");
  verb.add_flag("--fresh", flags.fresh, "Start anew: empty a journal that is there")
      ->group("Output");
  verb.add_flag("--json", flags.json, "Print results.json, not tables")->group("Output");
  verb.add_flag("-q,--quiet", flags.quiet, "No summary or progress on standard error")
      ->group("Output");
}

}  // namespace

void AddEval(CLI::App& app, Context& context) {
  AddVerb<EvalFlags>(
      app, context, "eval", "Tasks under several reductions, with paired differences to dense",
      "  pith eval --list\n"
      "  pith eval --model models/pith-27m-mamba2 --tasks lambada_openai,piqa \\\n"
      "      --methods none,skim,utrc@10% --limit 200 --bos\n"
      "  pith eval --model models/pith-27m-mamba2 --tasks recall,perplexity --limit 64 \\\n"
      "      --methods none,skim:full=0-9,window=256,utrc@30% --output out/long\n",
      Declare, RunEval);
}

}  // namespace pith::cli
