#include "cli/reproduce_figures.h"

#include <algorithm>
#include <iterator>
#include <system_error>
#include <utility>

#include "cli/demo_report.h"
#include "cli/eval_run.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "core/error.h"
#include "core/file.h"
#include "eval/report/html.h"
#include "eval/reproduce/models.h"
#include "eval/reproduce/paper_tables.h"
#include "pith/reduction_spec.h"
#include "pith/version.h"

namespace pith::cli {
namespace {

constexpr int64_t kMostFileBytes = int64_t{1} << 24;
constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kMostTexts = 4096;

// A model to measure, by its shape or from a directory.
struct Subject {
  std::string name;
  std::string directory;  // empty: the name is a shape's
};

std::vector<Subject> Subjects(const FiguresRun& run) {
  std::vector<std::string> shapes = run.flags.shapes;
  if (shapes.empty() && run.models.empty()) {
    for (const PaperModel& model : PaperModels()) shapes.emplace_back(model.name);
  }
  std::vector<Subject> subjects;
  for (const std::string& shape : shapes) subjects.push_back({shape, ""});
  for (const std::string& directory : run.models) {
    ReadModelShape(directory);  // what is no model is found before the first one is measured
    subjects.push_back({DirectoryName(directory), directory});
  }
  for (size_t i = 0; i < subjects.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      Require(subjects[i].name != subjects[j].name, ErrorCode::kInvalidArgument,
              "reproduce figures: got ", subjects[i].name, " twice, expected names that differ");
    }
  }
  return subjects;
}

// All that the numbers depend on, but for the machine.
OrderedJson RunJson(const FiguresRun& run) {
  const FigureSettings& settings = run.flags.settings;
  return {{"build", BuildDescription()}, {"device", run.engine.device},
          {"dtype", run.engine.dtype},   {"threads", run.engine.threads},
          {"weights", "bf16"},           {"reductions", FigureReductions(settings)},
          {"prompt", settings.prompt},   {"batch", settings.batch},
          {"decode", settings.decode},   {"memory_batch", settings.memory_batch},
          {"repeats", settings.repeats}};
}

class Figures {
 public:
  Figures(const FiguresRun& run, const Context& context)
      : run_(run),
        context_(context),
        settings_(run.flags.settings),
        paper_(PaperFigures::Read(run.paper)),
        path_(run.output / "figures.json"),
        print_(RunJson(run)),
        subjects_(Subjects(run)) {
    std::error_code error;
    if (run.fresh || !std::filesystem::exists(path_, error)) return;
    models_ = ReadFigures(ReadTextFile(path_, kMostFileBytes), path_.string(), print_);
  }

  int DryRun() const {
    Table table({{"model", Align::kLeft}, {"reductions"}, {"tokens"}, {"", Align::kLeft}});
    OrderedJson plans = OrderedJson::array();
    const int64_t tokens = FigureTokens(settings_);
    const auto reductions = std::ssize(FigureReductions(settings_));
    int64_t left = 0;
    for (const Subject& subject : subjects_) {
      const bool done = Find(subject.name) != nullptr;
      if (!done) left += tokens;
      table.AddRow(
          {subject.name, Grouped(reductions), Grouped(tokens), done ? "already measured" : ""});
      plans.push_back({{"model", subject.name},
                       {"reductions", reductions},
                       {"tokens", tokens},
                       {"done", done}});
    }
    Output out("");
    run_.json ? out.WriteJson({{"plans", plans}})
              : out.Write(StrCat(table.ToString(), Grouped(left), " tokens to read and write\n"));
    return kExitOk;
  }

  int Run() {
    PrepareFile(path_);
    if (!run_.html.empty()) PrepareFile(run_.html);
    const Stopwatch watch;
    size_t measured = 0;
    for (size_t i = 0; i < subjects_.size(); ++i) {
      if (Find(subjects_[i].name) != nullptr) continue;
      models_.push_back(Measure(subjects_[i], i));
      WriteWhole(path_, JsonText(FiguresJson(print_, models_, paper_), 1) + "\n");
      ++measured;
    }
    Show();
    if (!run_.quiet) {
      WriteError(StrCat("measured ", measured, measured == 1 ? " model in " : " models in ",
                        Fixed(watch.seconds(), 1), " s; see ", path_.string(), " and figures.csv",
                        run_.html.empty() ? "" : " and " + run_.html, "\n"));
    }
    return kExitOk;
  }

 private:
  const FigureModel* Find(const std::string& name) const {
    const auto found = std::ranges::find(models_, name, &FigureModel::name);
    return found == models_.end() ? nullptr : &*found;
  }

  FigureModel Measure(const Subject& subject, size_t index) const {
    ProgressBar bar(StrCat(subject.name, " (", index + 1, " of ", subjects_.size(), ")"),
                    run_.quiet);
    EngineOptions options = run_.engine;
    options.verify_weights = false;
    const std::vector<Engine> engines =
        subject.directory.empty()
            ? OnEachDevice(options,
                           [&](const auto& one) { return Engine::FromShape(subject.name, one); })
            : LoadEngines(subject.directory, options, "");
    try {
      return MeasureFigures(engines, subject.name, settings_, bar.Control(context_.cancel));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCancelled) throw;
      bar.Clear();
      Throw(ErrorCode::kCancelled, "cancelled; ", models_.size(),
            models_.size() == 1 ? " model is" : " models are", " measured: the same command",
            run_.fresh ? " without --fresh" : "", " goes on from there");
    }
  }

  // The models that were asked for, in that order, whatever else the file holds.
  void Show() const {
    std::vector<FigureModel> models;
    for (const Subject& subject : subjects_) models.push_back(*Find(subject.name));
    WriteWhole(run_.output / "figures.csv", FiguresCsv(models_, paper_));
    if (!run_.html.empty()) {
      WriteWhole(run_.html, ToHtml(FiguresReport(models, settings_, paper_,
                                                 ReportFooter(run_.engine, context_))));
    }
    Output out("");
    run_.json ? out.WriteJson(FiguresJson(print_, models, paper_))
              : out.Write(FiguresText(models, settings_, paper_));
  }

  const FiguresRun& run_;
  const Context& context_;
  const FigureSettings& settings_;
  PaperFigures paper_;
  std::filesystem::path path_;
  OrderedJson print_;
  std::vector<Subject> subjects_;
  std::vector<FigureModel> models_;  // measured
};

void AddCount(CLI::App& verb, const std::string& name, int64_t& value, int64_t most,
              const std::string& description) {
  verb.add_option(name, value, description)
      ->check(CLI::Range(int64_t{1}, most))
      ->type_name("N")
      ->capture_default_str()
      ->group("figures");
}

}  // namespace

void FiguresFlags::Declare(CLI::App& verb) {
  verb.add_option("--shapes", shapes,
                  "Shapes to measure, with random weights (default: the paper's four)")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->check(OneOf(ListShapes()))
      ->type_name("NAME,...")
      ->group("figures");
  verb.add_option("--methods", settings.methods, "Methods to measure at 10, 20 and 30 %")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("M,...")
      ->capture_default_str()
      ->group("figures");
  AddCount(verb, "--prompt", settings.prompt, kMostTokens, "Tokens of a prompt");
  AddCount(verb, "--batch", settings.batch, kMostTexts, "Prompts that are continued together");
  AddCount(verb, "--decode", settings.decode, kMostTokens, "Tokens that each is continued by");
  AddCount(verb, "--memory-batch", settings.memory_batch, kMostTexts,
           "Texts whose scoring finds the memory");
  verb.add_option("--repeats", settings.repeats, "Timed repeats; one more is not timed")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str()
      ->group("figures");
}

int ReproduceFigures(const FiguresRun& run, const Context& context) {
  for (const std::string& reduction : FigureReductions(run.flags.settings)) {
    ReductionSpec::ParseOrRead(reduction);
  }
  Figures figures(run, context);
  return run.dry_run ? figures.DryRun() : figures.Run();
}

}  // namespace pith::cli
