// pith reproduce figures: the paper's Figures 3 to 6 on this machine.
#ifndef PITH_CLI_REPRODUCE_FIGURES_H_
#define PITH_CLI_REPRODUCE_FIGURES_H_

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/verbs.h"
#include "eval/report/report.h"
#include "eval/reproduce/figures.h"
#include "pith/engine.h"

namespace pith::cli {

struct FiguresFlags {
  std::vector<std::string> shapes;  // empty: the paper's, or none where there are models
  FigureSettings settings;

  // --shapes and what is measured of each.
  void Declare(CLI::App& verb);
};

// What the other targets of reproduce have too.
struct FiguresRun {
  FiguresFlags flags;
  std::vector<std::string> models;  // directories
  EngineOptions engine;
  std::filesystem::path paper;   // data/paper/tables.json
  std::filesystem::path output;  // directory
  std::string html;
  bool dry_run = false;
  bool fresh = false;
  bool json = false;
  bool quiet = false;
};

// Measures the models that figures.json lacks, in turn, and writes it after each. Returns an
// ExitCode.
int ReproduceFigures(const FiguresRun& run, const Context& context);

std::string FiguresText(const std::vector<FigureModel>& models, const FigureSettings& settings,
                        const PaperFigures& paper);
Report FiguresReport(const std::vector<FigureModel>& models, const FigureSettings& settings,
                     const PaperFigures& paper, const std::string& footer);

}  // namespace pith::cli

#endif  // PITH_CLI_REPRODUCE_FIGURES_H_
