// One process's part of an evaluation, step by step; who takes which part, and when all are done
// with a step, is said in Python (python/pith/evaluation.py, ray.py).
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "eval/fingerprint.h"
#include "eval/ranks.h"
#include "eval/runner.h"
#include "module.h"
#include "pith/engine.h"
#include "pith/reduction_spec.h"
#include "run.h"

namespace nb = nanobind;
using nb::literals::operator""_a;

namespace pith::python {
namespace {

using Names = std::vector<std::string>;
using Path = std::filesystem::path;

class Evaluation {
 public:
  // Reads the tasks' data, and refuses what Evaluate would refuse. The engine outlives this.
  Evaluation(const Engine& engine, const EngineOptions& loaded_with, const Path& model,
             const std::optional<Path>& tokenizer, const Names& tasks, const Names& methods,
             const std::string& scoring, TaskOptions task, Path output)
      : engine_(engine), task_(std::move(task)), output_(std::move(output)) {
    const auto not_negative = [](const char* name, int64_t value) {
      Require(value >= 0, ErrorCode::kInvalidArgument, name, ": got ", value,
              ", expected at least 0");
    };
    not_negative("limit", task_.limit);
    not_negative("recall_tokens", task_.recall_tokens);
    options_.mode = ParseScoringMode(scoring);
    for (const std::string& method : methods) {
      options_.methods.push_back(ReductionSpec::ParseOrRead(method).ToString());
    }
    fingerprint_ =
        Fingerprint(engine_, loaded_with, model, tokenizer.value_or(Path()), task_, options_.mode);
    tasks_ = LoadTasks(engine_, tasks, task_);
    CheckEvaluation(engine_, tasks_, options_);
  }

  void Open(int rank, bool fresh) {
    Require(rank >= 0, ErrorCode::kInvalidArgument, "rank: got ", rank, ", expected at least 0");
    rank_ = rank;
    journal_ = OpenJournal(output_, fingerprint_, rank, fresh);
  }

  void Read() { ReadAllJournals(output_, OpenedJournal()); }

  void Score(int size, const RunControl& control) {
    EvalOptions options = options_;
    options.control = control;
    ScoreMissing(engine_, tasks_, options, {.rank = rank_, .size = size}, OpenedJournal());
    journal_->Sync();
  }

  // Scores what is still missing, writes results.json and results.csv and returns the first.
  std::string Results(const RunControl& control) {
    EvalOptions options = options_;
    options.control = control;
    const auto rows = Evaluate(engine_, tasks_, options, OpenedJournal());
    std::string json = JsonText(EvalResultsToJson(fingerprint_, task_.limit, rows), 1) + "\n";
    WriteWhole(output_ / "results.json", json);
    WriteWhole(output_ / "results.csv", EvalRowsToCsv(rows));
    return json;
  }

  size_t scored() const { return journal_ ? journal_->size() : 0; }

 private:
  Journal& OpenedJournal() {
    Require(journal_ != nullptr, ErrorCode::kInvalidArgument,
            "evaluation: its journal is not open, call open() first");
    return *journal_;
  }

  static void WriteWhole(const Path& path, const std::string& text) {
    AtomicWriter file(path);
    file.Write(text);
    file.Commit();
  }

  const Engine& engine_;
  TaskOptions task_;
  Path output_;
  EvalOptions options_;
  OrderedJson fingerprint_;
  std::vector<EvalTask> tasks_;
  std::unique_ptr<Journal> journal_;
  int rank_ = 0;
};

void BindTaskOptions(nb::module_& module) {
  nb::class_<TaskOptions>(module, "TaskOptions")
      .def(nb::init<>())
      .def_rw("data", &TaskOptions::data)
      .def_rw("limit", &TaskOptions::limit)
      .def_rw("bos", &TaskOptions::bos)
      .def_rw("text", &TaskOptions::text)
      .def_rw("context", &TaskOptions::context)
      .def_rw("tail", &TaskOptions::tail)
      .def_rw("recall_tokens", &TaskOptions::recall_tokens)
      .def_rw("seed", &TaskOptions::seed);
}

}  // namespace

void BindEvaluation(nb::module_& module) {
  BindTaskOptions(module);
  nb::class_<Evaluation>(module, "Evaluation")
      .def(nb::init<const Engine&, const EngineOptions&, const Path&, const std::optional<Path>&,
                    const Names&, const Names&, const std::string&, TaskOptions, Path>(),
           "engine"_a, "loaded_with"_a, "model"_a, "tokenizer"_a.none(), "tasks"_a, "methods"_a,
           "scoring"_a, "task"_a, "output"_a, nb::keep_alive<1, 2>(),
           nb::call_guard<nb::gil_scoped_release>())
      .def("open", &Evaluation::Open, "rank"_a, "fresh"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("read", &Evaluation::Read, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "score",
          [](Evaluation& e, int size) {
            Run([&](const RunControl& control) { e.Score(size, control); });
          },
          "size"_a)
      .def(
          "results",
          [](Evaluation& e, const Callable& progress) {
            return Run([&](const RunControl& control) { return e.Results(control); }, progress);
          },
          "progress"_a.none())
      .def_prop_ro("scored", &Evaluation::scored);
}

}  // namespace pith::python
