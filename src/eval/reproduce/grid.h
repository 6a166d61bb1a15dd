// What the paper ran, as reductions in pith's grammar (docs/reproduce.md says which stands for
// what).
#ifndef PITH_EVAL_REPRODUCE_GRID_H_
#define PITH_EVAL_REPRODUCE_GRID_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/reproduce/paper_tables.h"
#include "pith/engine.h"

namespace pith {

struct GridRow {
  std::string name;               // for people: "UTRC", "EViT as published"
  double wanted = 0;              // share of the layers' work
  std::string method;             // canonical spelling, with explicit sites
  std::optional<PaperRow> paper;  // the row of the paper beside it
};

// One table on one model under one scoring mode; the first row is dense.
struct Grid {
  std::string table;  // of kPaperTables
  std::string title;
  ScoringMode mode = ScoringMode::kContext;
  std::string paper_model;  // whose numbers stand beside
  std::vector<GridRow> rows;
};

// "UTRC" for "utrc".
std::string MethodTitle(std::string_view method);

// Table 1 is about Mamba-2, Table 2 about Mamba-1; the others are for both.
bool TableFits(std::string_view table, std::string_view kind);

// The model of the table whose numbers are shown beside those of a model that the paper has not:
// its largest one of that kind, or where it has none its largest one.
std::string ClosestPaperModel(const PaperTables& paper, std::string_view table,
                              std::string_view kind);

// site · to / from to the nearest layer (halves up), below the last layer, each once.
std::vector<int> ScaleSites(const std::vector<int>& sites, int64_t from, int64_t to);

// A depth other than the paper's gets proportional sites: DefaultSites, and for Table 4 ScaleSites.
// Modes: kContext and kPublishedTail. `paper_model` is one of PaperModels().
Grid MakeGrid(const PaperTables& paper, std::string_view table, const std::string& paper_model,
              const ModelShape& model, ScoringMode mode);

}  // namespace pith

#endif  // PITH_EVAL_REPRODUCE_GRID_H_
