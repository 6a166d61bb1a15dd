// pith reproduce: the paper's tables on the user's models, interruptible.
#include <algorithm>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cli/demo_report.h"
#include "cli/eval_run.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/reproduce_figures.h"
#include "cli/reproduce_report.h"
#include "cli/reproduce_text.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "eval/fingerprint.h"
#include "eval/report/html.h"

namespace pith::cli {
namespace {

constexpr ScoringMode kModes[] = {ScoringMode::kContext, ScoringMode::kPublishedTail};

struct ReproduceFlags {
  std::vector<std::string> tables;
  std::string models;
  std::vector<std::string> model;
  std::string tokenizer;
  EngineOptions engine;
  TaskOptions task;
  std::string data = "data";
  std::string output = "out/reproduce";
  std::string html;
  FiguresFlags figures;
  bool long_texts = false;
  bool dry_run = false;
  bool fresh = false;
  bool json = false;
  bool quiet = false;
};

std::vector<std::string> ChosenTables(const std::vector<std::string>& names) {
  std::vector<std::string> tables;
  const bool all = std::ranges::find(names, "all") != names.end();
  for (const std::string_view table : kPaperTables) {
    if (all || std::ranges::find(names, table) != names.end()) tables.emplace_back(table);
  }
  return tables;
}

std::vector<Grid> MakeGrids(const PaperTables& paper, const std::vector<std::string>& tables,
                            const std::string& own_name, const ModelShape& shape,
                            ScoringMode mode) {
  std::vector<Grid> grids;
  for (const std::string& table : tables) {
    const std::string beside =
        own_name.empty() ? ClosestPaperModel(paper, table, shape.kind) : own_name;
    grids.push_back(MakeGrid(paper, table, beside, shape, mode));
  }
  return grids;
}

class Reproduction {
 public:
  Reproduction(const ReproduceFlags& flags, const Context& context)
      : flags_(flags),
        context_(context),
        paper_(PaperTables::Read(std::filesystem::path(flags.data) / "paper/tables.json")) {
    const std::vector<std::string> tables = ChosenTables(flags.tables);
    models_ = flags.models.empty() ? OpenModels(tables, flags.model)
                                   : FindPaperModels(paper_, tables, flags.models, flags.data);
    results_.limit = flags.task.limit;
    results_.bos = flags.task.bos;
    results_.missing = models_.missing;
  }

  int DryRun() const {
    const TaskWork six = EstimateWork(PaperTasks(), flags_.task);
    const TaskWork longs = flags_.long_texts ? EstimateWork(LongTasks(), flags_.task) : TaskWork();
    std::vector<ReproducePlan> plans;
    const auto add = [&](const std::string& name, const std::string& own, const ModelShape& shape,
                         const std::vector<std::string>& tables, bool missing) {
      for (const ScoringMode mode : kModes) {
        const auto grids = MakeGrids(paper_, tables, own, shape, mode);
        const auto count = static_cast<int64_t>(GridMethods(grids).size());
        const bool context = mode == ScoringMode::kContext;
        plans.push_back(
            {name, missing, mode, tables, count, six.items + (context ? longs.items : 0),
             static_cast<double>(count) *
                 (context ? six.context_tokens + longs.context_tokens : six.pair_tokens)});
      }
    };
    for (const ReproduceModel& model : models_.found) {
      add(model.name, model.of_paper ? model.name : "", model.shape, model.tables, false);
    }
    for (const MissingModel& model : models_.missing) {
      add(model.name, model.name, model.shape, model.tables, true);
    }
    Output out("");
    flags_.json ? out.WriteJson(PlansJson(plans)) : out.Write(PlansText(plans));
    TellMissing();
    return kExitOk;
  }

  int Run() {
    if (models_.found.empty()) {
      std::string all;
      for (const MissingModel& model : models_.missing) all += "\n  " + model.Describe();
      Throw(ErrorCode::kNotFound, flags_.models, ": no model to reproduce a table on:", all);
    }
    TellMissing();
    const std::filesystem::path directory(flags_.output);
    PrepareFile(directory / "results.json");
    if (!flags_.html.empty()) PrepareFile(flags_.html);
    if (flags_.fresh) RemoveJournals();
    const Stopwatch watch;
    for (const ReproduceModel& model : models_.found) RunModel(model);
    SortTables();

    const OrderedJson json = ReproduceJson(results_);
    WriteWhole(directory / "results.json", JsonText(json, 1) + "\n");
    if (!flags_.html.empty()) {
      WriteWhole(flags_.html,
                 ToHtml(ReproduceReport(results_, kept_, ReportFooter(flags_.engine, context_))));
    }
    Output out("");
    flags_.json ? out.WriteJson(json) : out.Write(ReproduceText(results_));
    if (!flags_.quiet) {
      WriteError(StrCat("scored ", scored_, " items in ", Fixed(watch.seconds(), 1), " s; see ",
                        flags_.output, "/results.json",
                        flags_.html.empty() ? "" : " and " + flags_.html, "\n"));
    }
    return kExitOk;
  }

 private:
  void TellMissing() const {
    for (const MissingModel& model : models_.missing) {
      WriteError(StrCat("pith: ", model.Describe(), "\n"));
    }
  }

  void RunModel(const ReproduceModel& model) {
    const std::vector<Engine> engines =
        LoadEngines(model.directory.string(), flags_.engine, TokenizerOf(model));
    const Engine& engine = engines[0];
    MakeDirectory(std::filesystem::path(flags_.output) / model.name);
    for (const ScoringMode mode : kModes) {
      const auto grids = Grids(model, mode);
      const auto rows = Score(engines, model, PaperTasks(), mode);
      for (const Grid& grid : grids) {
        results_.tables.push_back(MakeReproduceTable(grid, model.name, rows));
      }
      if (!flags_.html.empty()) AddMaps(engine, grids, model.name);
    }
    if (!flags_.long_texts) return;
    results_.longs.push_back(
        MakeReproduceLong(Grids(model, ScoringMode::kContext), model.name,
                          Score(engines, model, LongTasks(), ScoringMode::kContext)));
  }

  std::string TokenizerOf(const ReproduceModel& model) const {
    return flags_.tokenizer.empty() ? model.tokenizer.string() : flags_.tokenizer;
  }

  std::vector<Grid> Grids(const ReproduceModel& model, ScoringMode mode) const {
    return MakeGrids(paper_, model.tables, model.of_paper ? model.name : "", model.shape, mode);
  }

  void AddMaps(const Engine& engine, const std::vector<Grid>& grids, const std::string& model) {
    auto maps = KeptMaps(engine, grids, flags_.task, {.cancel = context_.cancel});
    std::ranges::move(maps, std::back_inserter(kept_[model]));
  }

  // With published-tail an item's score depends on all items: each limit has its own journal.
  std::filesystem::path JournalPath(const std::string& model, ScoringMode mode) const {
    std::string name(ScoringModeName(mode));
    if (mode == ScoringMode::kPublishedTail && flags_.task.limit > 0) {
      name += StrCat("-limit", flags_.task.limit);
    }
    return std::filesystem::path(flags_.output) / model / (name + ".jsonl");
  }

  // All of them before the first is filled: a run that is interrupted and goes on without --fresh
  // finds nothing old.
  void RemoveJournals() const {
    for (const ReproduceModel& model : models_.found) {
      for (const ScoringMode mode : kModes) {
        std::error_code error;
        std::filesystem::remove(JournalPath(model.name, mode), error);
        Require(!error, ErrorCode::kIo, JournalPath(model.name, mode).string(),
                ": cannot remove: ", error.message());
      }
    }
  }

  std::vector<EvalRow> Score(std::span<const Engine> engines, const ReproduceModel& model,
                             const std::vector<std::string>& names, ScoringMode mode) {
    const Engine& engine = engines[0];
    const auto tasks = LoadTasks(engine, names, flags_.task);
    Journal journal(
        JournalPath(model.name, mode),
        Fingerprint(engine, flags_.engine, model.directory, TokenizerOf(model), flags_.task, mode));
    const size_t before = journal.size();
    ProgressBar bar(StrCat(model.name, ", ", ScoringModeName(mode)), flags_.quiet);
    const EvalOptions options{.methods = GridMethods(Grids(model, mode)),
                              .mode = mode,
                              .control = bar.Control(context_.cancel),
                              .others = engines.subspan(1)};
    auto rows = Resumable(bar, journal, flags_.fresh,
                          [&] { return Evaluate(engine, tasks, options, journal); });
    scored_ += journal.size() - before;
    return rows;
  }

  // By table, then model, then scoring mode, as they are read.
  void SortTables() { std::ranges::stable_sort(results_.tables, {}, &ReproduceTable::table); }

  const ReproduceFlags& flags_;
  const Context& context_;
  PaperTables paper_;
  ReproduceModels models_;
  ReproduceResults results_;
  std::map<std::string, std::vector<ReportMap>> kept_;
  size_t scored_ = 0;
};

// Speed and memory, by shape: the checkpoints and the tasks of the tables have no part in it.
int RunFigures(const ReproduceFlags& flags, const Context& context) {
  Require(flags.tables.size() == 1, ErrorCode::kInvalidArgument,
          "reproduce: got figures beside other targets, expected figures alone");
  Require(flags.models.empty(), ErrorCode::kInvalidArgument,
          "reproduce figures: got --models, expected --shapes NAME,... or --model DIR");
  const FiguresRun run{.flags = flags.figures,
                       .models = flags.model,
                       .engine = flags.engine,
                       .paper = std::filesystem::path(flags.data) / "paper/tables.json",
                       .output = flags.output,
                       .html = flags.html,
                       .dry_run = flags.dry_run,
                       .fresh = flags.fresh,
                       .json = flags.json,
                       .quiet = flags.quiet};
  return ReproduceFigures(run, context);
}

int RunReproduce(ReproduceFlags flags, const Context& context) {
  if (std::ranges::find(flags.tables, "figures") != flags.tables.end()) {
    return RunFigures(flags, context);
  }
  Require(flags.figures.shapes.empty(), ErrorCode::kInvalidArgument,
          "reproduce: got --shapes, which is for figures, expected --models DIR or --model DIR");
  Require(flags.models.empty() != flags.model.empty(), ErrorCode::kInvalidArgument,
          "reproduce: got ", flags.models.empty() ? "neither" : "both",
          " --models DIR and --model DIR, expected one of them");
  flags.task.data = flags.data;
  Reproduction reproduction(flags, context);
  return flags.dry_run ? reproduction.DryRun() : reproduction.Run();
}

void DeclareModels(CLI::App& verb, ReproduceFlags& flags) {
  verb.add_option("--models", flags.models,
                  "Directory with the paper's checkpoints, named as published: mamba2-2.7b, ...")
      ->type_name("DIR")
      ->group("Model");
  verb.add_option("--model", flags.model,
                  "Any other model, with proportional sites; may be given more than once")
      ->allow_extra_args(false)
      ->type_name("DIR")
      ->group("Model");
  verb.add_option("--tokenizer", flags.tokenizer, "tokenizer.json to use instead of the models'")
      ->type_name("FILE")
      ->group("Model");
  DeclareEngine(verb, flags.engine, true);
  DeclareBos(verb, flags.task.bos);
}

void Declare(CLI::App& verb, ReproduceFlags& flags) {
  verb.add_option("tables", flags.tables, "table1 to table6, all of them (all), or figures")
      ->required()
      ->check(OneOf({"table1", "table2", "table3", "table4", "table5", "table6", "all", "figures"}))
      ->type_name("T ...");
  DeclareModels(verb, flags);
  flags.figures.Declare(verb);
  verb.add_option("--limit", flags.task.limit, "First items of a task only; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N")
      ->capture_default_str();
  verb.add_flag("--long", flags.long_texts, "Perplexity and recall over long texts too");
  verb.add_flag("--dry-run", flags.dry_run, "Only tell how much there is to do");
  verb.add_option("--data", flags.data, "Directory of the shipped data")
      ->type_name("DIR")
      ->capture_default_str();
  verb.add_option("--output", flags.output,
                  "Directory for the journals and results.json, or figures.json")
      ->type_name("DIR")
      ->capture_default_str()
      ->group("Output");
  verb.add_option("--html", flags.html, "Write a report with plots, too")
      ->type_name("FILE")
      ->group("Output");
  verb.add_flag("--fresh", flags.fresh, "Start anew: empty journals that are there")
      ->group("Output");
  verb.add_flag("--json", flags.json, "Print results.json, not tables")->group("Output");
  verb.add_flag("-q,--quiet", flags.quiet, "No summary or progress on standard error")
      ->group("Output");
}

}  // namespace

void AddReproduce(CLI::App& app, Context& context) {
  AddVerb<ReproduceFlags>(
      app, context, "reproduce", "The paper's tables and figures, beside the paper's numbers",
      "  pith reproduce all --models checkpoints --dry-run\n"
      "  pith reproduce table1 table6 --models checkpoints --html out/reproduce.html\n"
      "  pith reproduce all --model models/pith-27m-mamba2 --model models/pith-13m-mamba1 \\\n"
      "      --bos --limit 100 --long --html out/reproduce.html\n"
      "  pith reproduce figures --device cuda --dtype bf16 --html out/figures.html\n"
      "  pith reproduce figures --shapes mamba2-130m --prompt 512 --batch 2 --memory-batch 4\n",
      Declare, RunReproduce);
}

}  // namespace pith::cli
