// The numbers that the paper reports (data/paper/README.md).
#ifndef PITH_EVAL_REPRODUCE_PAPER_TABLES_H_
#define PITH_EVAL_REPRODUCE_PAPER_TABLES_H_

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pith {

// ModelShape::kind.
inline constexpr std::string_view kMamba1Kind = "mamba1";
inline constexpr std::string_view kMamba2Kind = "mamba2";

// A checkpoint that the paper measures, by the name under which state-spaces published it.
struct PaperModel {
  std::string_view name;
  std::string_view kind;
  int64_t n_layer;
};
std::span<const PaperModel> PaperModels();
const PaperModel* FindPaperModel(std::string_view name);  // null where there is none

inline constexpr std::array<std::string_view, 6> kPaperTables = {"table1", "table2", "table3",
                                                                 "table4", "table5", "table6"};

// What a figure of the paper is: a task's metric, in per cent but for the perplexity.
struct PaperColumn {
  std::string_view field;  // of the file
  std::string_view title;
  std::string_view task;
  std::string_view metric;
  bool percent = true;
};
// The columns of Tables 1, 2 and 6; their mean over the percentages but lambada_ppl is kAverage.
std::span<const PaperColumn> PaperColumns();
inline constexpr std::string_view kAverage = "avg";

// What becomes of removed tokens in one branch (Table 5): a share q pruned, the others merged.
struct PaperBranch {
  double q = 0;         // merge 0, prune 1
  bool hybrid = false;  // "hybrid:q"
  std::string text;     // as printed
};

// One row. Tables 1, 2 and 6 name a method; the rows of 3, 4 and 5 are UTRC with one choice
// changed.
struct PaperRow {
  std::string model;
  double reduction = 0;                               // share of FLOPs
  std::string method = "utrc";                        // dense, pumer, evit, utrc or ltmp
  std::string importance;                             // Table 3: clip, noclip, l1 or l2
  std::vector<int> sites;                             // Table 4
  std::optional<PaperBranch> hidden, residual;        // Table 5
  std::map<std::string, double, std::less<>> values;  // by PaperColumn::field, and kAverage
};

class PaperTables {
 public:
  // Throws as ReadFile does, and kCorruptData naming file, row, field and what was expected.
  static PaperTables Read(const std::filesystem::path& path);
  static PaperTables Parse(std::string_view text, const std::string& source);

  // Rows of `table` (kPaperTables) about one model, in the paper's order; may be empty.
  std::vector<PaperRow> Rows(std::string_view table, std::string_view model) const;
  // Models that the table is about, in its order.
  std::vector<std::string> Models(std::string_view table) const;

 private:
  std::map<std::string, std::vector<PaperRow>, std::less<>> tables_;
};

}  // namespace pith

#endif  // PITH_EVAL_REPRODUCE_PAPER_TABLES_H_
