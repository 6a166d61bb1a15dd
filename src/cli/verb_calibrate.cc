// pith calibrate: the skim that a model bears on a text, or thresholds for ltmp.
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "cli/calibrate_text.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "eval/calibrate.h"
#include "eval/fingerprint.h"
#include "eval/report/html.h"
#include "eval/text_windows.h"
#include "reduce/spec.h"

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
};

// So that a missing folder or a typing error costs no work.
void PrepareOutput(const std::string& file) {
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  Require(!error, ErrorCode::kIo, folder.string(), ": cannot create: ", error.message());
  CheckWritable(file);
}

void WriteFile(const std::string& path, std::string_view text) {
  Output file(path);
  file.Write(text);
  file.Commit();
}

// The bounds for the file's recall, or for the shipped one where it is there.
std::filesystem::path RecallPath(const CalibrateFlags& flags) {
  if (flags.no_recall) return {};
  if (!flags.recall.empty()) return flags.recall;
  const auto shipped = std::filesystem::path(flags.data) / "recall/recall-1.8k.jsonl.xz";
  return std::filesystem::exists(shipped) ? shipped : std::filesystem::path();
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
  if (!recall.empty()) source.recall = Items(recall, set.choosing, set.held_out, 1, "contexts");
  return source;
}

Calibration Search(const CalibrateFlags& flags, const Engine& engine, const CalibrationSet& set,
                   const CalibrationBudget& budget, Journal& journal, const Context& context) {
  CalibrationOptions options{.budget = budget, .context = flags.task.context};
  std::unique_ptr<ProgressBar> bar;  // one for each candidate: its time left is the candidate's
  size_t tried = 0;
  const auto next = [&] {
    bar = std::make_unique<ProgressBar>(StrCat("candidate ", tried + 1), flags.quiet);
  };
  next();
  options.cancel = context.cancel;
  options.progress = [&](double share) { bar->Show(share); };
  options.on_trial = [&](const Trial& trial) {
    bar->Clear();
    ++tried;
    if (!flags.quiet) WriteError(StrCat(tried, "  ", TrialText(trial), "\n"));
    next();
  };
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

int CalibrateSkim(CalibrateFlags flags, const Context& context) {
  const CalibrationBudget budget = ParseBudget(flags.budget, flags.sigmas);
  const std::filesystem::path recall = RecallPath(flags);
  flags.task.recall = recall;
  const std::string file = flags.output.empty() ? "out/calibrated.reduce" : flags.output;
  PrepareOutput(file);
  if (!flags.html.empty()) PrepareOutput(flags.html);

  const Stopwatch watch;
  const Engine engine = flags.model.Load();
  const OrderedJson fingerprint =
      Fingerprint(engine, flags.model.engine, flags.model.model, flags.model.tokenizer, flags.task,
                  ScoringMode::kContext);
  const CalibrationSet set =
      MakeCalibrationSet(engine, flags.task, flags.windows, recall.empty() ? 0 : flags.contexts);
  Journal journal(file + ".journal.jsonl", fingerprint, flags.fresh);
  const Calibration calibration = Search(flags, engine, set, budget, journal, context);

  const CalibrationSource source = SourceOf(flags, engine, set, recall.string());
  WriteFile(file, CalibrationFile(calibration, source));
  if (!flags.html.empty()) WriteFile(flags.html, ToHtml(CalibrationReport(calibration, source)));
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
  Require(spec.method == "ltmp", ErrorCode::kInvalidArgument, "--method: got ",
          Quoted(flags.method), ", expected skim or ltmp with a share, as in ltmp@30%");
  Require(flags.html.empty(), ErrorCode::kInvalidArgument,
          "--html: expected only with --method skim");
  const std::string file = flags.output.empty() ? "out/ltmp-thresholds.json" : flags.output;
  PrepareOutput(file);
  const Engine engine = flags.model.Load();
  engine.CanonicalReduction({.reduce = spec.ToString()});  // before the text is read
  TaskOptions task = flags.task;
  task.limit = flags.windows;
  std::vector<std::vector<int32_t>> contexts;
  for (const EvalTask& windows : LoadTasks(engine, {"perplexity"}, task)) {
    for (const TaskItem& item : windows.items) contexts.push_back(item.requests[0].context);
  }
  ProgressBar bar("reading", flags.quiet);
  engine.CalibrateLtmp({.reduce = spec.ToString()}, contexts, file, bar.Control(context.cancel));
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
  return flags.method == "skim" ? CalibrateSkim(std::move(flags), context)
                                : CalibrateThresholds(flags, context);
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
  verb.add_option("--contexts", flags.contexts, "Contexts of recall; half of them are held out")
      ->check(least4)
      ->type_name("N")
      ->capture_default_str();
}

void Declare(CLI::App& verb, CalibrateFlags& flags) {
  verb.add_option("--method", flags.method,
                  "skim: find one within --budget; ltmp@N%[:key=value,...]: find its thresholds")
      ->type_name("R")
      ->capture_default_str();
  verb.add_option("--budget", flags.budget,
                  "What may be lost: nats per token of text, share of answer tokens of recall")
      ->type_name("dNLL=X,recall=Y")
      ->capture_default_str();
  verb.add_option("--sigmas", flags.sigmas, "Standard errors that are added to a loss")
      ->check(CLI::NonNegativeNumber)
      ->type_name("X")
      ->capture_default_str();
  DeclareData(verb, flags);
  flags.model.Declare(verb);
  verb.add_option("--output", flags.output,
                  "For --reduce @FILE (default out/calibrated.reduce), with a journal beside it; "
                  "for ltmp: thresholds (default out/ltmp-thresholds.json)")
      ->type_name("FILE")
      ->group("Output");
  verb.add_option("--html", flags.html, "A page with the frontier as plots and a table")
      ->type_name("FILE")
      ->group("Output");
  verb.add_flag("--fresh", flags.fresh, "Start anew: empty a journal that is there")
      ->group("Output");
  verb.add_flag("--json", flags.json, "Print JSON, not a table")->group("Output");
  verb.add_flag("-q,--quiet", flags.quiet, "No summary or progress on standard error")
      ->group("Output");
}

}  // namespace

void AddCalibrate(CLI::App& app, Context& context) {
  AddVerb<CalibrateFlags>(
      app, context, "calibrate", "Choose the skim that saves the most within bounds on quality",
      "  pith calibrate --model models/pith-27m-mamba2 --budget dNLL=.005,recall=.01\n"
      "  pith calibrate --model models/pith-27m-mamba2 --text book.txt --no-recall \\\n"
      "      --windows 64 --output book.reduce --html book.html\n"
      "  pith calibrate --model models/pith-27m-mamba2 --method ltmp@30% \\\n"
      "      --output thresholds.json\n",
      Declare, RunCalibrate);
}

}  // namespace pith::cli
