// pith calibrate: the skim, or the sites, that a model bears on a text, or thresholds for ltmp.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/calibrate_text.h"
#include "cli/demo_report.h"
#include "cli/eval_run.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "eval/calibrate.h"
#include "eval/fingerprint.h"
#include "eval/ltmp_calibration.h"
#include "eval/report/html.h"
#include "eval/text_windows.h"
#include "pith/reduction_spec.h"

namespace pith::cli {
namespace {

struct CalibrateFlags {
  ModelFlags model;
  TaskOptions task;
  std::string data = "data";
  std::string text;
  std::string recall;
  bool no_recall = false;
  std::string method = "skim";
  std::string budget = "dNLL=.005,recall=.01";
  double sigmas = 1;
  int64_t windows = 128;
  int64_t contexts = 64;
  std::string output;
  std::string html;
  bool fresh = false;
  bool json = false;
  bool quiet = false;
  const CLI::Option* budget_option = nullptr;
  std::vector<const CLI::Option*> skim_options;  // without a meaning for ltmp
};

// --recall, or the shipped file where it is there; empty: recall is not measured, which a budget
// that the user wrote must not ask for.
std::filesystem::path RecallPath(const CalibrateFlags& flags) {
  if (!flags.recall.empty()) return flags.recall;
  auto shipped = std::filesystem::path(flags.data) / "recall/recall-1.8k.jsonl.xz";
  if (!flags.no_recall && std::filesystem::exists(shipped)) return shipped;
  const std::string why = flags.no_recall ? "--no-recall" : StrCat("no ", shipped.string());
  Require(flags.budget_option->count() == 0 || flags.budget.find("recall=") == std::string::npos,
          ErrorCode::kInvalidArgument, "--budget: got ", Quoted(flags.budget), " with ", why,
          ", expected recall data (--recall FILE, or --data DIR that holds them) or a budget "
          "without recall=");
  if (!flags.no_recall) WriteError(StrCat("recall: not measured: ", why, "\n"));
  return {};
}

std::string Items(const std::string& file, const std::vector<EvalTask>& choosing,
                  const std::vector<EvalTask>& held_out, size_t task, const char* what) {
  return StrCat(file, ", ", choosing[task].items.size(), " + ", held_out[task].items.size(), " ",
                what);
}

CalibrationSource SourceOf(const CalibrateFlags& flags, const Engine& engine,
                           const CalibrationSet& set, const std::string& recall) {
  CalibrationSource source{.model = StrCat(engine.info().kind, ", ", engine.info().n_layer,
                                           " layers, width ", engine.info().d_model, ", ",
                                           Grouped(engine.info().parameters), " parameters")};
  const std::string windows =
      StrCat("windows of ", flags.task.context, " + ", flags.task.tail, " tokens");
  source.text =
      Items(TextPath(flags.task).string(), set.choosing, set.held_out, 0, windows.c_str());
  if (set.dropped > 0) {
    source.text += StrCat("; ", set.dropped, " more overlap those of the choice: left out");
  }
  if (!recall.empty()) source.recall = Items(recall, set.choosing, set.held_out, 1, "contexts");
  return source;
}

Calibration Search(const CalibrateFlags& flags, const Engine& engine, const CalibrationSet& set,
                   const CalibrationBudget& budget, Journal& journal, const Context& context) {
  CalibrationOptions options{
      .budget = budget, .method = flags.method, .context = flags.task.context};
  std::unique_ptr<ProgressBar> bar;  // one for each candidate: its time left is the candidate's
  size_t tried = 0;
  const auto next = [&](std::string label) {
    bar = std::make_unique<ProgressBar>(std::move(label), flags.quiet);
  };
  next("candidate 1");
  options.cancel = context.cancel;
  options.progress = [&](double share) { bar->Show(share); };
  options.on_trial = [&](const Trial& trial) {
    bar->Clear();
    ++tried;
    if (!flags.quiet) WriteError(StrCat(tried, "  ", TrialText(trial), "\n"));
    next(StrCat("candidate ", tried + 1));
  };
  options.on_left_out = [&](const std::string& spec, const std::string& why) {
    bar->Clear();
    if (!flags.quiet) WriteError(StrCat("left out: ", spec, ": ", why, "\n"));
  };
  options.on_held_out = [&] { next("held out"); };
  try {
    return Calibrate(engine, set, options, journal);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    bar->Clear();
    Throw(ErrorCode::kCancelled, "cancelled after ", tried, " candidates; ",
          journal.path().string(), " holds what was scored: the same command",
          flags.fresh ? " without --fresh" : "", " goes on from there");
  }
}

// What a journal of another run says, with what helps here.
std::unique_ptr<Journal> OpenJournal(const std::string& file, const OrderedJson& fingerprint,
                                     bool fresh) {
  try {
    return std::make_unique<Journal>(file, fingerprint, fresh);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument || fresh) throw;
    Throw(error.code(), error.what(), ": --fresh empties this one, --output FILE leaves it alone");
  }
}

int CalibrateWithinBudget(CalibrateFlags flags, const Context& context) {
  const CalibrationBudget budget = ParseBudget(flags.budget, flags.sigmas);
  const std::filesystem::path recall = RecallPath(flags);
  flags.task.recall = recall;
  const std::string file = flags.output.empty() ? "out/calibrated.reduce" : flags.output;
  PrepareFile(file);
  if (!flags.html.empty()) PrepareFile(flags.html);

  const Stopwatch watch;
  const Engine engine = flags.model.Load();
  if (flags.method != "skim") SiteCandidates(engine.info().layers, flags.method);  // or a mistake
  const OrderedJson fingerprint =
      Fingerprint(engine, flags.model.engine, flags.model.model, flags.model.tokenizer, flags.task,
                  ScoringMode::kContext);
  const CalibrationSet set =
      MakeCalibrationSet(engine, flags.task, flags.windows, recall.empty() ? 0 : flags.contexts);
  const auto journal = OpenJournal(file + ".journal.jsonl", fingerprint, flags.fresh);
  const Calibration calibration = Search(flags, engine, set, budget, *journal, context);

  const CalibrationSource source = SourceOf(flags, engine, set, recall.string());
  WriteWhole(file, CalibrationFile(calibration, source));
  if (!flags.html.empty()) {
    Report page = CalibrationReport(calibration, source);
    page.summary = StrCat(flags.model.model, ": ", page.summary);
    page.footer = ReportFooter(flags.model.engine, context);
    WriteWhole(flags.html, ToHtml(page));
  }
  Output out("");
  flags.json ? out.WriteJson(CalibrationToJson(calibration, source))
             : out.Write(FrontierText(calibration));
  if (!flags.quiet) {
    WriteError(StrCat(Fixed(watch.seconds(), 1), " s; use it as --reduce @", file, "\n"));
  }
  return kExitOk;
}

int CalibrateThresholds(const CalibrateFlags& flags, const Context& context) {
  const ReductionSpec spec = ReductionSpec::ParseOrRead(flags.method);
  for (const CLI::Option* option : flags.skim_options) {
    Require(option->count() == 0, ErrorCode::kInvalidArgument, option->get_name(),
            ": expected only without --method ltmp");
  }
  const std::string file = flags.output.empty() ? "out/ltmp-thresholds.json" : flags.output;
  Require(std::ranges::none_of(file, [](unsigned char c) { return c <= ' ' || c == 0x7f; }) &&
              file.find_first_of(",+") == std::string::npos,
          ErrorCode::kInvalidArgument, "--output: got ", Quoted(file),
          ", expected a path without blanks, ',' and '+', which thresholds= of a reduction cannot "
          "hold");
  PrepareFile(file);
  const Engine engine = flags.model.Load();
  engine.Compile(spec.ToString());  // before the text is read
  TaskOptions task = flags.task;
  task.limit = flags.windows;
  std::vector<std::vector<int32_t>> contexts;
  for (const EvalTask& windows : LoadTasks(engine, {"perplexity"}, task)) {
    for (const TaskItem& item : windows.items) contexts.push_back(item.requests[0].context);
  }
  ProgressBar bar("reading", flags.quiet);
  CalibrateLtmp(engine, spec, contexts, file, bar.Control(context.cancel));
  bar.Clear();
  ReductionSpec use = spec;
  use.params["thresholds"] = file;
  Output out("");
  flags.json ? out.WriteJson({{"reduce", use.ToString()}, {"contexts", contexts.size()}})
             : out.Write(use.ToString() + "\n");
  return kExitOk;
}

int RunCalibrate(CalibrateFlags flags, const Context& context) {
  flags.task.data = flags.data;
  flags.task.text = flags.text;
  if (flags.method == "skim") return CalibrateWithinBudget(std::move(flags), context);
  const ReductionSpec spec = ReductionSpec::ParseOrRead(flags.method);
  if (spec.method == "ltmp") return CalibrateThresholds(flags, context);
  constexpr const char* kNot[] = {"none", "skim", "auto"};
  Require(
      spec.reduction && std::ranges::find(kNot, spec.method) == std::end(kNot),
      ErrorCode::kInvalidArgument, "--method: got ", Quoted(flags.method),
      ", expected skim, or a method that removes rows with a share, as in utrc@20% or ltmp@30%");
  flags.method = spec.ToString();
  return CalibrateWithinBudget(std::move(flags), context);
}

void DeclareData(CLI::App& verb, CalibrateFlags& flags) {
  const auto least4 = CLI::Range(int64_t{4}, int64_t{1} << 20);
  verb.add_option("--text", flags.text,
                  "Documents with a line <|endoftext|> between them (default: shipped text)")
      ->type_name("FILE");
  CLI::Option* recall =
      verb.add_option("--recall", flags.recall,
                      "Contexts with questions, as data/recall has them (default: the shipped "
                      "ones, where --data holds them)")
          ->type_name("FILE");
  CLI::Option* no_recall =
      verb.add_flag("--no-recall", flags.no_recall, "Measure on the text alone")->excludes(recall);
  verb.add_option("--data", flags.data, "Directory of the shipped data")
      ->type_name("DIR")
      ->capture_default_str();
  verb.add_option("--context", flags.task.context, "Tokens of a window that may be reduced")
      ->type_name("N")
      ->capture_default_str();
  verb.add_option("--tail", flags.task.tail, "Tokens after them that are scored")
      ->type_name("N")
      ->capture_default_str();
  verb.add_option("--windows", flags.windows, "Windows of the text; half of them are held out")
      ->check(least4)
      ->type_name("N")
      ->capture_default_str();
  CLI::Option* contexts =
      verb.add_option("--contexts", flags.contexts, "Contexts of recall; half of them are held out")
          ->check(least4)
          ->type_name("N")
          ->capture_default_str();
  flags.skim_options.insert(flags.skim_options.end(), {recall, no_recall, contexts});
}

void Declare(CLI::App& verb, CalibrateFlags& flags) {
  verb.add_option(
          "--method", flags.method,
          "skim: find one within --budget; METHOD@N%[:key=value,...]: find sites within it; "
          "ltmp@N%[:key=value,...]: find its thresholds")
      ->type_name("R")
      ->capture_default_str();
  CLI::Option* budget =
      verb.add_option("--budget", flags.budget,
                      "What may be lost: nats per token of text, share of answer tokens of recall")
          ->type_name("dNLL=X,recall=Y")
          ->capture_default_str();
  CLI::Option* sigmas =
      verb.add_option("--sigmas", flags.sigmas,
                      "Standard errors that are added to a loss; recall's is at least one answer "
                      "token's share")
          ->type_name("X")
          ->capture_default_str();
  DeclareData(verb, flags);
  flags.model.Declare(verb);
  verb.add_option("--output", flags.output,
                  "For --reduce @FILE (default out/calibrated.reduce), with a journal beside it; "
                  "for ltmp: thresholds (default out/ltmp-thresholds.json)")
      ->type_name("FILE")
      ->group("Output");
  CLI::Option* html =
      verb.add_option("--html", flags.html, "A page with the frontier as plots and a table")
          ->type_name("FILE")
          ->group("Output");
  CLI::Option* fresh =
      verb.add_flag("--fresh", flags.fresh, "Start anew: empty a journal that is there")
          ->group("Output");
  flags.budget_option = budget;
  flags.skim_options.insert(flags.skim_options.end(), {budget, sigmas, html, fresh});
  verb.add_flag("--json", flags.json, "Print JSON, not a table")->group("Output");
  verb.add_flag("-q,--quiet", flags.quiet, "No summary or progress on standard error")
      ->group("Output");
}

}  // namespace

void AddCalibrate(CLI::App& app, Context& context) {
  AddVerb<CalibrateFlags>(
      app, context, "calibrate",
      "Choose the skim that saves the most within bounds on quality, or sites",
      "  pith calibrate --model models/pith-27m-mamba2 --budget dNLL=.005,recall=.01\n"
      "  pith calibrate --model models/pith-27m-mamba2 --text book.txt --no-recall \\\n"
      "      --windows 64 --output book.reduce --html book.html\n"
      "  pith calibrate --model models/pith-27m-mamba2 --method ltmp@30% \\\n"
      "      --output thresholds.json\n",
      Declare, RunCalibrate);
}

}  // namespace pith::cli
