// pith demo: a preset of pith eval. The shipped models on shipped text and made-up facts, dense and
// reduced, with both tasks in one table; what it shows beside are continuations and maps.
#include <filesystem>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "cli/demo_report.h"
#include "cli/demo_rows.h"
#include "cli/eval_run.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "eval/data.h"
#include "eval/fingerprint.h"
#include "eval/report/eval_sections.h"
#include "eval/report/html.h"
#include "eval/runner.h"
#include "eval/text_windows.h"
#include "pith/version.h"

namespace pith::cli {
namespace {

constexpr int64_t kPromptTokens = 1500;
constexpr int64_t kShownTokens = 40;

struct DemoFlags {
  std::string models = "models";
  std::string data = "data";
  std::string output = "out/demo.json";
  std::string html = "out/demo.html";
  EngineOptions engine;
  int64_t windows = 16;
  int64_t contexts = 6;
  bool full = false;
  bool fresh = false;
  bool quiet = false;
};

const std::vector<std::string>& Mamba2Reductions() {
  static const std::vector<std::string> list = [] {
    std::vector<std::string> all = {"none", "skim", "skim:full=0-9,mass=0.1,window=256"};
    for (const char* method : {"truncate", "prefix-thin", "random", "utrc"}) {
      for (const char* percent : {"@10%", "@20%", "@30%"}) all.push_back(StrCat(method, percent));
    }
    return all;
  }();
  return list;
}

const std::vector<std::string>& Mamba1Reductions() {
  static const std::vector<std::string> list = {
      "none", "skim", "truncate@30%", "prefix-thin@30%", "random@30%", "utrc@30%"};
  return list;
}

std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

// (a) What a long prompt is continued with, dense and reduced.
OrderedJson ShowContinuations(const Engine& engine, const std::string& document,
                              const Context& context, Output& out) {
  std::vector<int32_t> ids = engine.Tokenize(document, true);
  Require(static_cast<int64_t>(ids.size()) > kPromptTokens, ErrorCode::kInvalidArgument,
          "the first document: got ", ids.size(), " tokens, expected more than ", kPromptTokens);
  ids.resize(kPromptTokens);
  const std::string ending =
      engine.Detokenize(std::span(ids).subspan(kPromptTokens - kShownTokens));
  out.Write(StrCat("A prompt of ", kPromptTokens, " tokens, which ends\n  …", OneLine(ending),
                   "\nis continued (greedily):\n"));
  OrderedJson list = OrderedJson::array();
  for (const char* reduce : {"none", "skim", "truncate@30%", "utrc@30%"}) {
    GenerateOptions options{.max_tokens = 48, .sampling = {.greedy = true}};
    options.reduction = engine.Compile(reduce);
    options.control.cancel = context.cancel;
    const GenerateResult result = engine.Generate(ids, options);
    Require(result.finish != "cancelled", ErrorCode::kCancelled, "cancelled");
    out.Write(StrCat("  ", reduce, " (", Fixed(100 * result.prefill.realised, 1),
                     "% less work in the layers, ", result.prefill.rows_left, " rows left)\n    …",
                     OneLine(result.text), "\n"));
    list.push_back({{"reduce", reduce},
                    {"realised", result.prefill.realised},
                    {"rows_left", result.prefill.rows_left},
                    {"text", result.text}});
  }
  out.Write("\n");
  return list;
}

// The tasks as pith eval has them, each with its own number of items.
std::vector<EvalTask> LoadDemoTasks(const Engine& engine, TaskOptions options,
                                    const DemoFlags& flags) {
  options.limit = flags.windows;
  std::vector<EvalTask> tasks = LoadTasks(engine, {"perplexity"}, options);
  options.limit = flags.contexts;
  tasks.push_back(std::move(LoadTasks(engine, {"recall"}, options).at(0)));
  return tasks;
}

// Out of "out/demo.json" for the model "m": "out/demo.m.journal.jsonl".
std::filesystem::path JournalOf(const DemoFlags& flags, const std::string& model) {
  return std::filesystem::path(flags.output).replace_extension(model + ".journal.jsonl");
}

// The page's sections of one model. Ctrl-C counts here too: its maps read prompts.
void AddSections(const Engine& engine, const std::string& name, std::span<const EvalTask> tasks,
                 std::span<const EvalRow> rows, const OrderedJson& continuations,
                 const std::string& document, const Context& context, Report& page) {
  for (ReportSection& section : EvalSections(rows)) {
    section.heading = name + ": " + section.heading;
    page.sections.push_back(std::move(section));
  }
  const bool first = !continuations.empty();
  page.sections.push_back(SurvivalSection(engine, name, tasks[0].items, first, context.cancel));
  if (!first) return;
  const std::vector<int32_t> ids = engine.Tokenize(document, true);
  page.sections.push_back(SkimSection(engine, name, ids, context.cancel));
  page.sections.push_back(PassageSection(engine, name, ids, context.cancel));
  page.sections.push_back({name + ": continuations", {ContinuationTable(continuations)}});
}

std::string Explanation(std::span<const EvalTask> tasks, const TaskOptions& options) {
  size_t questions = 0;
  for (const TaskItem& item : tasks[1].items) questions += item.requests.size();
  return StrCat(
      tasks[0].items.size(), " windows of ", options.context + options.tail,
      " tokens of held-out text: the first ", options.context,
      " are read under the reduction,\nthe last ", options.tail,
      " are read whole and scored (tail NLL, nats a token; the difference to dense is paired).\n",
      tasks[1].items.size(), " contexts of about ", options.context,
      " tokens with made-up facts in them, ", questions,
      " questions, each asked alone after its\ncontext: answers with every token right, answer "
      "tokens right. realised: work saved over the\ncontext. tok/s: reading contexts; "
      "peak: resident, weights included. All with the separator in front.\n\n");
}

// One model: its table on the screen, its figures in `report`, its sections on the page.
void RunModel(const std::string& name, const DemoFlags& flags, const TaskOptions& options,
              const Context& context, OrderedJson& report, Report& page, Output& out) {
  const bool first = report["models"].empty();
  const std::filesystem::path directory = std::filesystem::path(flags.models) / name;
  const Engine engine = Engine::Load(directory, flags.engine);
  out.Write(StrCat("── ", name, " ── ", engine.info().description, "\n\n"));
  OrderedJson& entry = report["models"][name];
  const std::vector<EvalTask> tasks = LoadDemoTasks(engine, options, flags);
  const std::string document = ReadDocuments(TextPath(options)).at(0);
  if (first) {
    entry["continuations"] = ShowContinuations(engine, document, context, out);
    page.summary = Explanation(tasks, options);
    out.Write(page.summary);
  }
  Journal journal(JournalOf(flags, name),
                  Fingerprint(engine, flags.engine, directory, {}, options, ScoringMode::kContext),
                  flags.fresh);
  ProgressBar bar("comparing", flags.quiet);
  const EvalOptions eval{.methods = first ? Mamba2Reductions() : Mamba1Reductions(),
                         .control = bar.Control(context.cancel)};
  const std::vector<EvalRow> rows =
      Resumable(bar, journal, flags.fresh, [&] { return Evaluate(engine, tasks, eval, journal); });
  bar.Clear();
  const std::vector<DemoRow> table = DemoRows(engine, rows, options.context);
  out.Write(DemoTable(table) + "\n");
  entry["rows"] = DemoJson(table, tasks, journal);
  AddSections(engine, name, tasks, rows, entry.value("continuations", OrderedJson::array()),
              document, context, page);
}

int RunDemo(DemoFlags flags, const Context& context) {
  if (flags.full) flags.windows = flags.contexts = 64;
  for (const std::string& file : {flags.output, flags.html}) PrepareFile(file);
  const TaskOptions options{.data = flags.data, .bos = true};
  Output out("");
  const Stopwatch watch;
  OrderedJson report = {
      {"build", BuildDescription()}, {"device", flags.engine.device},
      {"dtype", flags.engine.dtype}, {"context_tokens", options.context},
      {"tail_tokens", options.tail}, {"scoring", ScoringModeName(ScoringMode::kContext)},
      {"bos", options.bos},          {"models", OrderedJson::object()}};
  Report page{.title = "pith demo: long prompts, dense and reduced",
              .footer = ReportFooter(flags.engine, context)};
  for (const char* name : {"pith-27m-mamba2", "pith-13m-mamba1"}) {
    RunModel(name, flags, options, context, report, page, out);
  }
  report["seconds"] = watch.seconds();
  Output file(flags.output);
  file.WriteJson(report);
  file.Commit();
  WriteWhole(flags.html, ToHtml(page));
  out.Write(StrCat("Done in ", Fixed(watch.seconds(), 0), " s; every figure is in ", flags.output,
                   ";\nopen ", flags.html, " in a browser: tables, plots, maps.\n"));
  return kExitOk;
}

}  // namespace

void AddDemo(CLI::App& app, Context& context) {
  AddVerb<DemoFlags>(
      app, context, "demo", "The shipped models on shipped text, dense and reduced, side by side",
      "  pith demo\n"
      "  pith demo --full --output out/full.json\n"
      "  pith demo --windows 32 --contexts 12 --threads 2\n",
      [](CLI::App& verb, DemoFlags& flags) {
        verb.add_option("--models", flags.models, "Directory of the shipped models")
            ->capture_default_str();
        verb.add_option("--data", flags.data, "Directory of the shipped data")
            ->capture_default_str();
        verb.add_option("--output", flags.output, "JSON file for every figure")
            ->capture_default_str();
        verb.add_option("--html", flags.html, "Page with tables, plots and maps")
            ->capture_default_str();
        verb.add_option("--windows", flags.windows, "Windows of text per row")
            ->capture_default_str()
            ->check(CLI::Range(1, 1000));
        verb.add_option("--contexts", flags.contexts, "Contexts with questions per row")
            ->capture_default_str()
            ->check(CLI::Range(1, 1000));
        verb.add_flag("--full", flags.full, "64 windows and 64 contexts");
        verb.add_flag("--fresh", flags.fresh, "Start anew: empty the journals that are there");
        verb.add_flag("--quiet", flags.quiet, "No progress bar");
        verb.add_option("--threads", flags.engine.threads, "Threads; 0: all processors")
            ->capture_default_str();
        verb.add_option("--dtype", flags.engine.dtype, "f32 or bf16")
            ->capture_default_str()
            ->check(OneOf({"f32", "bf16"}));
      },
      RunDemo);
}

}  // namespace pith::cli
