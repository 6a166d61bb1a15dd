// pith demo: the shipped models on shipped text, dense and reduced, side by side.
#include <filesystem>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "cli/demo_report.h"
#include "cli/eval_run.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "eval/compare.h"
#include "eval/data.h"
#include "eval/report/eval_sections.h"
#include "eval/report/html.h"
#include "pith/version.h"

namespace pith::cli {
namespace {

constexpr int64_t kContext = 1792;
constexpr int64_t kTail = 256;
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
                     "% fewer block FLOPs, ", result.prefill.rows_left, " rows left)\n    …",
                     OneLine(result.text), "\n"));
    list.push_back({{"reduce", reduce},
                    {"realised", result.prefill.realised},
                    {"rows_left", result.prefill.rows_left},
                    {"text", result.text}});
  }
  out.Write("\n");
  return list;
}

// (b) and (c): the table of one model.
std::vector<CompareRow> ShowTable(const Engine& engine, const CompareSet& set,
                                  const std::vector<std::string>& reductions,
                                  const DemoFlags& flags, const Context& context, Output& out) {
  std::vector<CompareRow> rows;
  {
    ProgressBar bar("comparing", flags.quiet);
    const double part = 1.0 / static_cast<double>(reductions.size());
    for (size_t i = 0; i < reductions.size(); ++i) {
      const double begin = static_cast<double>(i) * part;
      rows.push_back(Compare(engine, set, engine.Compile(reductions[i]),
                             bar.Control(context.cancel, begin, begin + part)));
    }
  }
  out.Write(FormatTable(rows));
  out.Write("\n");
  return rows;
}

// The page's sections of one model. Ctrl-C counts here too: its maps read prompts.
void AddSections(const Engine& engine, const std::string& name, const CompareSet& set,
                 std::span<const CompareRow> rows, const OrderedJson& continuations,
                 const std::string& document, const Context& context, Report& page) {
  page.sections.push_back({name, CompareBlocks(rows)});
  const bool first = !continuations.empty();
  page.sections.push_back(SurvivalSection(engine, name, set.windows, first, context.cancel));
  if (!first) return;
  const std::vector<int32_t> ids = engine.Tokenize(document, true);
  page.sections.push_back(SkimSection(engine, name, ids, context.cancel));
  page.sections.push_back(PassageSection(engine, name, ids, context.cancel));
  page.sections.push_back({name + ": continuations", {ContinuationTable(continuations)}});
}

CompareSet LoadSet(const Engine& engine, const std::vector<std::string>& documents,
                   std::vector<RecallItem> contexts, const DemoFlags& flags) {
  Require(static_cast<int64_t>(contexts.size()) >= flags.contexts, ErrorCode::kInvalidArgument,
          "contexts: got ", flags.contexts, ", expected at most ", contexts.size());
  contexts.resize(flags.contexts);
  return {.windows = MakeWindows(engine, documents, flags.windows, kContext, kTail),
          .recall = MakeRecall(engine, contexts)};
}

std::string Explanation(const DemoFlags& flags, size_t questions) {
  return StrCat(
      flags.windows, " windows of ", kContext + kTail, " tokens of held-out text: the first ",
      kContext, " are read under the reduction,\nthe last ", kTail,
      " are read whole and scored (tail NLL, nats a token; the difference to dense is paired).\n",
      flags.contexts, " contexts of about ", kContext, " tokens with made-up facts in them, ",
      questions,
      " questions, each asked alone after its\ncontext: answers with every token right, answer "
      "tokens right. realised: fewer block FLOPs over the\ncontext. tok/s: reading contexts; "
      "peak: resident, weights included. All with the separator in front.\n\n");
}

int RunDemo(DemoFlags flags, const Context& context) {
  if (flags.full) flags.windows = flags.contexts = 64;
  const std::filesystem::path models(flags.models);
  const std::filesystem::path data(flags.data);
  for (const std::string& file : {flags.output, flags.html}) PrepareFile(file);
  const auto documents = ReadDocuments(data / "text" / "heldout-1mb.txt.xz");
  const auto contexts = ReadRecall(data / "recall" / "recall-1.8k.jsonl.xz");
  Output out("");
  const Stopwatch watch;
  OrderedJson report = {{"build", BuildDescription()},
                        {"device", flags.engine.device},
                        {"dtype", flags.engine.dtype},
                        {"context_tokens", kContext},
                        {"tail_tokens", kTail},
                        {"scoring", "context"},
                        {"bos", true},
                        {"models", OrderedJson::object()}};
  Report page{.title = "pith demo: long prompts, dense and reduced",
              .footer = ReportFooter(flags.engine, context)};
  for (const char* name : {"pith-27m-mamba2", "pith-13m-mamba1"}) {
    const bool first = report["models"].empty();
    const Engine engine = Engine::Load(models / name, flags.engine);
    out.Write(StrCat("── ", name, " ── ", engine.info().description, "\n\n"));
    OrderedJson& entry = report["models"][name];
    const CompareSet set = LoadSet(engine, documents, contexts, flags);
    if (first) {
      entry["continuations"] = ShowContinuations(engine, documents[0], context, out);
      page.summary = Explanation(flags, set.recall.items.size());
      out.Write(page.summary);
    }
    const auto rows = ShowTable(engine, set, first ? Mamba2Reductions() : Mamba1Reductions(), flags,
                                context, out);
    entry["rows"] = RowsToJson(rows, set.recall.depths);
    AddSections(engine, name, set, rows, entry.value("continuations", OrderedJson::array()),
                documents[0], context, page);
  }
  report["seconds"] = watch.seconds();
  Output file(flags.output);
  file.WriteJson(report);
  file.Commit();
  Output html(flags.html);
  html.Write(ToHtml(page));
  html.Commit();
  out.Write(StrCat("Measured in ", Fixed(watch.seconds(), 0), " s; every figure is in ",
                   flags.output, ";\nopen ", flags.html, " in a browser: tables, plots, maps.\n"));
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
