// The paper's Figures 3 to 6 measured again: peak memory and throughput of generation, dense and
// reduced.
#ifndef PITH_EVAL_REPRODUCE_FIGURES_H_
#define PITH_EVAL_REPRODUCE_FIGURES_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "eval/reproduce/paper_figures.h"
#include "pith/bench.h"
#include "pith/engine.h"

namespace pith {

// What is measured; the defaults are the paper's.
struct FigureSettings {
  std::vector<std::string> methods = {"utrc"};  // each at 10, 20 and 30 %
  int64_t prompt = 2048;                        // tokens
  int64_t batch = 16;                           // prompts that are continued together
  int64_t decode = 100;                         // tokens that each is continued by
  int64_t memory_batch = 96;                    // texts whose scoring finds the memory
  int repeats = 3;                              // of generation
};

// One reduction on one model; the dense one is `none`.
struct FigureRow {
  std::string reduce;  // canonical spelling
  std::string method;  // of the settings, or "none"
  double wanted = 0;
  double realised = 0;
  std::vector<int> sites;           // none: empty
  std::vector<double> generate_ms;  // prompt and continuation, one a repeat
  double tokens_per_second = 0;     // written, over that time's median
  int64_t generate_peak_bytes = 0;  // weights included
  int64_t score_peak_bytes = 0;     // of scoring memory_batch texts, weights included
  double score_ms = 0;
};

struct FigureModel {
  std::string name;  // of the shape, or a directory's own
  std::string description;
  int64_t parameters = 0;
  std::vector<FigureRow> rows;  // dense first

  // Beside the dense row: what is above 1 is faster, or takes more.
  double Throughput(const FigureRow& row) const;  // the median over the repeats' ratios
  double Memory(const FigureRow& row) const;
};

// The spellings of the dense row and of all reductions, in the order of the rows.
std::vector<std::string> FigureReductions(const FigureSettings& settings);

// Tokens that are read and written for one model.
int64_t FigureTokens(const FigureSettings& settings);

// Engines as for Engine::MeasureTogether. Throws kCancelled.
FigureModel MeasureFigures(std::span<const Engine> engines, const std::string& name,
                           const FigureSettings& settings, const RunControl& control);

// docs/reproduce.md. `run`: all that the numbers depend on, flat.
OrderedJson FiguresJson(const OrderedJson& run, std::span<const FigureModel> models,
                        const PaperFigures& paper);
std::string FiguresCsv(std::span<const FigureModel> models, const PaperFigures& paper);

// The models of such a JSON text, so that an interrupted run goes on. Throws kCorruptData, and
// kInvalidArgument naming the first field in which its run differs.
std::vector<FigureModel> ReadFigures(std::string_view text, const std::string& source,
                                     const OrderedJson& run);

}  // namespace pith

#endif  // PITH_EVAL_REPRODUCE_FIGURES_H_
