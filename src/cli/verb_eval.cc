// pith eval: tasks × reductions on one model, interruptible.
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/demo_report.h"
#include "cli/eval_run.h"
#include "cli/eval_text.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/ranks.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "eval/fingerprint.h"
#include "eval/ranks.h"
#include "eval/report/eval_sections.h"
#include "eval/report/html.h"
#include "eval/runner.h"
#include "pith/reduction_spec.h"

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
  std::string html;
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

// This rank's journal, with what all of them hold. Nothing is appended before all have read.
std::unique_ptr<Journal> OpenTogether(const std::filesystem::path& directory,
                                      const OrderedJson& fingerprint, bool fresh,
                                      const Ranks& ranks, const Context& context) {
  std::unique_ptr<Journal> journal;
  if (ranks.rank() == 0) journal = OpenJournal(directory, fingerprint, 0, fresh);
  ranks.Barrier(*context.cancel);
  if (ranks.rank() > 0) journal = OpenJournal(directory, fingerprint, ranks.rank(), false);
  ReadAllJournals(directory, *journal);
  ranks.Barrier(*context.cancel);
  return journal;
}

// Rows on rank 0, nothing on the others.
std::vector<EvalRow> Measure(const EvalFlags& flags, const Engine& engine,
                             const std::vector<EvalTask>& tasks, EvalOptions options,
                             Journal& journal, const Ranks& ranks, const Context& context) {
  ProgressBar bar("evaluating", flags.quiet || ranks.rank() > 0);
  options.control = bar.Control(context.cancel);
  return Resumable(bar, journal, flags.fresh, [&]() -> std::vector<EvalRow> {
    if (ranks.size() > 1) {
      ScoreMissing(engine, tasks, options, {ranks.rank(), ranks.size()}, journal);
      journal.Sync();
      ranks.Barrier(*context.cancel);
      if (ranks.rank() > 0) return {};
      ReadAllJournals(flags.output, journal);
    }
    return Evaluate(engine, tasks, options, journal);
  });
}

std::vector<Engine> LoadRank(ModelFlags model, const Ranks& ranks) {
  if (model.engine.threads == 0) model.engine.threads = ranks.threads();
  if (ranks.rank() == 0) return LoadEngines(model.model, model.engine, model.tokenizer);
  return OnEachDevice(model.engine, [&](const EngineOptions& one) {
    return Engine::Load(model.model, one, model.tokenizer);  // its warnings are those of rank 0
  });
}

Report EvalPage(const EvalFlags& flags, const Engine& engine, std::span<const EvalRow> rows,
                const Context& context) {
  Report page{.title = "pith eval: " + flags.model.model,
              .summary = StrCat(
                  engine.info().description, "\n\nScoring mode ", flags.scoring,
                  flags.task.bos ? ", with" : ", without", " the separator in front; ",
                  flags.task.limit > 0 ? StrCat("first ", flags.task.limit, " items") : "all items",
                  " of each task."),
              .sections = EvalSections(rows)};
  page.footer = ReportFooter(flags.model.engine, context);
  return page;
}

int RunRank(const EvalFlags& flags, EvalOptions options, const Ranks& ranks,
            const Context& context) {
  const std::filesystem::path directory(flags.output);
  if (ranks.rank() == 0) {  // the others wait for its journal before they look for theirs
    PrepareFile(directory / "results.json");
    if (!flags.html.empty()) PrepareFile(flags.html);
  }
  const Stopwatch watch;
  const std::vector<Engine> engines = LoadRank(flags.model, ranks);
  const Engine& engine = engines[0];
  const OrderedJson fingerprint = Fingerprint(engine, flags.model.engine, flags.model.model,
                                              flags.model.tokenizer, flags.task, options.mode);
  // What cannot be is found before --fresh empties a journal.
  const auto tasks = LoadTasks(engine, flags.tasks, flags.task);
  CheckEvaluation(engine, tasks, options);
  options.others = std::span(engines).subspan(1);
  const auto journal = OpenTogether(directory, fingerprint, flags.fresh, ranks, context);
  const size_t before = journal->size();
  const auto rows = Measure(flags, engine, tasks, options, *journal, ranks, context);
  if (ranks.rank() > 0) return kExitOk;

  const OrderedJson results = EvalResultsToJson(fingerprint, flags.task.limit, rows);
  WriteWhole(directory / "results.json", JsonText(results, 1) + "\n");
  WriteWhole(directory / "results.csv", EvalRowsToCsv(rows));
  if (!flags.html.empty()) WriteWhole(flags.html, ToHtml(EvalPage(flags, engine, rows, context)));
  Output out("");
  flags.json ? out.WriteJson(results) : out.Write(EvalTables(rows));
  if (!flags.quiet) {
    WriteError(StrCat("scored ", journal->size() - before, " items in ", Fixed(watch.seconds(), 1),
                      " s", ranks.size() > 1 ? StrCat(" on ", ranks.size(), " ranks") : "",
                      engines.size() > 1 ? StrCat(" on ", engines.size(), " GPUs") : "", ", ",
                      before, " were in the journal; see ", flags.output,
                      "/results.json and results.csv\n"));
  }
  return kExitOk;
}

int RunEval(EvalFlags flags, const Context& context) {
  if (flags.list) return ListThem(flags.json);
  Require(!flags.model.model.empty(), ErrorCode::kInvalidArgument, "--model DIR is required");
  const EvalOptions options = MakeOptions(flags);
  flags.task.data = flags.data;
  flags.task.text = flags.text_file;

  const Ranks ranks;
  if (ranks.size() == 1) return RunRank(flags, options, ranks, context);
  const auto abort = [&](int code, const char* message) {
    WriteError(StrCat("pith: error: rank ", ranks.rank(), ": ", message, "\n"));
    ranks.Abort(code);
  };
  try {
    return RunRank(flags, options, ranks, context);
  } catch (const Error& error) {
    abort(ExitCodeOf(error.code()), error.what());
  } catch (const std::exception& error) {
    abort(kExitInternal, error.what());
  }
  return kExitInternal;
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
  flags.model.Declare(verb, false, true);
  DeclareBos(verb, flags.task.bos);
  verb.add_option("--output", flags.output,
                  "Directory for journal.jsonl, results.json and results.csv")
      ->type_name("DIR")
      ->capture_default_str()
      ->group("Output");
  verb.add_option("--html", flags.html, "Page with the tables and plots")
      ->type_name("FILE")
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
