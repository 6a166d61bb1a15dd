#include "eval/reproduce/grid.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "eval/runner.h"
#include "pith/reduction.h"
#include "pith/reduction_spec.h"

namespace pith {
namespace {

using Params = std::map<std::string, std::string>;

constexpr std::array<double, 3> kReductions = {0.1, 0.2, 0.3};

std::string Title(std::string_view table) {
  if (table == "table1") return "Table 1: methods on Mamba-2";
  if (table == "table2") return "Table 2: methods on Mamba-1";
  if (table == "table3") return "Table 3: importance metrics of UTRC at 20 %";
  if (table == "table4") return "Table 4: sites of UTRC at 20 %";
  if (table == "table5") return "Table 5: branch designs of UTRC at 30 %";
  return "Table 6: LTMP beside UTRC";
}

class Builder {
 public:
  Builder(const PaperTables& paper, std::string_view table, const std::string& paper_model,
          const ModelShape& model, ScoringMode mode)
      : paper_(paper),
        paper_model_(paper_model),
        model_(model),
        published_(mode == ScoringMode::kPublishedTail),
        sites_(DefaultSites(model.n_layer)),
        grid_{std::string(table), Title(table), mode, paper_model, {}} {}

  Grid Build() {
    const std::string& table = grid_.table;
    Dense();
    if (table == "table1" || table == "table2") {
      Methods({"pumer", "evit", "utrc"}, table);
    } else if (table == "table6") {
      Methods({"ltmp", "utrc"}, table);
    } else {
      for (const PaperRow& row : paper_.Rows(table, paper_model_)) Ablation(row);
    }
    return std::move(grid_);
  }

 private:
  // The published code rounds otherwise and protects nothing.
  void Add(const std::string& name, const std::string& method, double wanted, Params params,
           const std::optional<PaperRow>& paper, const std::vector<int>& sites) {
    ReductionSpec spec{.method = method, .reduction = wanted, .params = std::move(params)};
    if (!sites.empty()) spec.params["sites"] = JoinSites(sites);
    if (published_) {
      spec.params["lengths"] = "published";
      spec.params["protect"] = "0";
    }
    grid_.rows.push_back({name, wanted, spec.ToString(), paper});
  }

  std::optional<PaperRow> Find(std::string_view table, std::string_view method,
                               double wanted) const {
    for (const PaperRow& row : paper_.Rows(table, paper_model_)) {
      if (row.method == method && row.reduction == wanted) return row;
    }
    return std::nullopt;
  }

  // Where Tables 1 and 2 have what a table that is about fewer methods leaves out.
  std::optional<PaperRow> FindMain(std::string_view method, double wanted) const {
    const PaperModel* model = FindPaperModel(paper_model_);
    PITH_CHECK(model != nullptr);
    return Find(model->kind == kMamba2Kind ? "table1" : "table2", method, wanted);
  }

  void Dense() { grid_.rows.push_back({"dense", 0, "none", FindMain("dense", 0)}); }

  void Methods(std::initializer_list<std::string_view> methods, std::string_view table) {
    for (const double wanted : kReductions) {
      for (const std::string_view method : methods) {
        std::optional<PaperRow> row = Find(table, method, wanted);
        if (!row) row = FindMain(method, wanted);
        OneMethod(std::string(method), wanted, row);
      }
      if (table != "table6") Ours(wanted);
    }
  }

  void OneMethod(const std::string& method, double wanted, const std::optional<PaperRow>& row) {
    const std::string name = MethodTitle(method);
    if (published_ && (method == "pumer" || method == "evit")) {
      Add(name + " as published", method, wanted, {{"mode", "published"}}, row, sites_);
      return;
    }
    if (published_ && method == "utrc") {
      Add(name + " as published", "utrc-published", wanted, {}, row, sites_);
    }
    Add(name, method, wanted, {}, row, sites_);
  }

  // Rows that the paper has not: what a reduction must beat, and what pith is for.
  void Ours(double wanted) {
    if (published_) return Add("prefix-thin", "prefix-thin", wanted, {}, {}, sites_);
    Add("truncate", "truncate", wanted, {}, {}, {});
    Add("skim", "skim", wanted, {}, {}, {});
  }

  // UTRC with one choice changed. A default value is left unsaid, so that equal rows of several
  // tables are computed once.
  void Ablation(const PaperRow& row) {
    if (!row.sites.empty()) return Sites(row);
    if (row.hidden) return Branches(row);
    Params params;
    if (row.importance != "clip") params["importance"] = row.importance;
    // Only the default metric's code behaves in a way that does not depend on the text.
    if (published_ && row.importance == "clip") {
      Add("clip, as published", "utrc-published", row.reduction, {}, row, sites_);
    }
    Add(row.importance, "utrc", row.reduction, params, row, sites_);
  }

  void Sites(const PaperRow& row) {
    const PaperModel* from = FindPaperModel(row.model);
    PITH_CHECK(from != nullptr);
    const std::vector<int> sites = ScaleSites(row.sites, from->n_layer, model_.n_layer);
    std::string name = "sites " + JoinSites(row.sites);
    if (sites != row.sites) name += " as " + JoinSites(sites);
    if (published_) {
      Add(name + ", as published", "utrc-published", row.reduction, {}, row, sites);
    }
    Add(name, "utrc", row.reduction, {}, row, sites);
  }

  void Branches(const PaperRow& row) {
    const std::string name = StrCat("h ", row.hidden->text, ", x ", row.residual->text);
    const auto published = [](const PaperBranch& branch) {
      return branch.hybrid ? std::string("hybrid") : branch.text;
    };
    const auto halves = [](const PaperBranch& branch) { return !branch.hybrid || branch.q == 0.5; };
    if (published_ && halves(*row.hidden) && halves(*row.residual)) {
      Params params;
      if (published(*row.hidden) != "hybrid") params["hidden"] = published(*row.hidden);
      if (published(*row.residual) != "merge") params["residual"] = published(*row.residual);
      Add(name + ", as published", "utrc-published", row.reduction, params, row, sites_);
    }
    Params params;
    if (row.hidden->q != 0.5) params["q-hidden"] = StrCat(row.hidden->q);
    if (row.residual->q != 0) params["q-residual"] = StrCat(row.residual->q);
    Add(name, "utrc", row.reduction, params, row, sites_);
  }

  const PaperTables& paper_;
  const std::string& paper_model_;
  const ModelShape& model_;
  bool published_;
  std::vector<int> sites_;
  Grid grid_;
};

}  // namespace

std::string MethodTitle(std::string_view method) {
  if (method == "pumer") return "PuMer";
  if (method == "evit") return "EViT";
  if (method == "utrc") return "UTRC";
  if (method == "ltmp") return "LTMP";
  return std::string(method);
}

bool TableFits(std::string_view table, std::string_view kind) {
  if (table == "table1") return kind == kMamba2Kind;
  if (table == "table2") return kind == kMamba1Kind;
  return true;
}

std::string ClosestPaperModel(const PaperTables& paper, std::string_view table,
                              std::string_view kind) {
  const PaperModel* best = nullptr;
  for (const std::string& name : paper.Models(table)) {
    const PaperModel* model = FindPaperModel(name);
    const auto rank = [&](const PaperModel* m) {
      return m == nullptr ? std::pair(-1, int64_t{0})
                          : std::pair(m->kind == kind ? 1 : 0, m->n_layer);
    };
    if (rank(model) > rank(best)) best = model;
  }
  PITH_CHECK(best != nullptr);
  return std::string(best->name);
}

std::vector<int> ScaleSites(const std::vector<int>& sites, int64_t from, int64_t to) {
  std::vector<int> scaled;
  for (const int site : sites) {
    const int64_t layer =
        std::min((2 * site * to + from) / (2 * from), std::max<int64_t>(to - 2, 0));
    if (scaled.empty() || layer > scaled.back()) scaled.push_back(static_cast<int>(layer));
  }
  return scaled;
}

Grid MakeGrid(const PaperTables& paper, std::string_view table, const std::string& paper_model,
              const ModelShape& model, ScoringMode mode) {
  PITH_CHECK(mode == ScoringMode::kContext || mode == ScoringMode::kPublishedTail);
  return Builder(paper, table, paper_model, model, mode).Build();
}

}  // namespace pith
