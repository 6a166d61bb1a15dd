#include "eval/reproduce/paper_tables.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"

namespace pith {
namespace {

constexpr std::array<PaperModel, 4> kModels = {{{"mamba2-1.3b", kMamba2Kind, 48},
                                                {"mamba2-2.7b", kMamba2Kind, 64},
                                                {"mamba-1.4b", kMamba1Kind, 48},
                                                {"mamba-2.8b", kMamba1Kind, 64}}};

constexpr std::array<PaperColumn, 7> kColumns = {{
    {"lambada_ppl", "LAMBADA ppl", "lambada_openai", "ppl", false},
    {"lambada_acc", "LAMBADA", "lambada_openai", "acc"},
    {"hellaswag", "HellaSwag", "hellaswag", "acc_norm"},
    {"piqa", "PIQA", "piqa", "acc"},
    {"arc_easy", "ARC-e", "arc_easy", "acc"},
    {"arc_challenge", "ARC-c", "arc_challenge", "acc_norm"},
    {"winogrande", "WinoGrande", "winogrande", "acc"},
}};

constexpr int64_t kMaxFileBytes = int64_t{1} << 20;
constexpr size_t kMaxRows = 1000;

double ReadNumber(const JsonReader& row, const char* field, double max, std::string_view expected) {
  row.Field(field);
  const double value = row.Number(field, 0);
  if (!(value >= 0 && value <= max)) row.Fail(field, expected);
  return value;
}

std::string ReadOneOf(const JsonReader& row, const char* field,
                      std::initializer_list<std::string_view> known) {
  std::string value = row.String(field);
  if (std::ranges::find(known, value) != known.end()) return value;
  std::string expected = "one of";
  for (const std::string_view name : known) expected += StrCat(" ", name);
  row.Fail(field, expected);
}

PaperBranch ReadBranch(const JsonReader& row, const char* field) {
  const std::string text = row.String(field);
  if (text == "merge" || text == "prune") {
    return {.q = text == "prune" ? 1.0 : 0.0, .hybrid = false, .text = text};
  }
  constexpr std::string_view kHybrid = "hybrid:";
  double q = -1;
  if (text.starts_with(kHybrid)) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + kHybrid.size(), end, q);
    if (error != std::errc() || stop != end) q = -1;
  }
  if (!(q > 0 && q < 1)) row.Fail(field, "merge, prune or hybrid:q with 0 < q < 1");
  return {.q = q, .hybrid = true, .text = text};
}

std::vector<int> ReadSites(const JsonReader& row, int64_t n_layer) {
  const Json& list = row.Field("sites");
  const std::string expected = StrCat("increasing layers below ", n_layer);
  if (!list.is_array() || list.empty()) row.Fail("sites", expected);
  std::vector<int> sites;
  int64_t next = 0;
  for (const Json& entry : list) {
    if (!entry.is_number_integer()) row.Fail("sites", expected);
    const auto site = entry.get<int64_t>();
    if (site < next || site >= n_layer) row.Fail("sites", expected);
    sites.push_back(static_cast<int>(site));
    next = site + 1;
  }
  return sites;
}

PaperRow ReadRow(const JsonReader& row, std::string_view table) {
  PaperRow out{.model = row.String("model")};
  const PaperModel* model = FindPaperModel(out.model);
  if (model == nullptr) row.Fail("model", "mamba2-1.3b, mamba2-2.7b, mamba-1.4b or mamba-2.8b");
  out.reduction = ReadNumber(row, "flops_reduction", 0.99, "a share from 0 to 0.99");
  if (table == "table3") {
    out.importance = ReadOneOf(row, "metric", {"clip", "noclip", "l1", "l2"});
  } else if (table == "table4") {
    out.sites = ReadSites(row, model->n_layer);
  } else if (table == "table5") {
    out.hidden = ReadBranch(row, "hidden");
    out.residual = ReadBranch(row, "residual");
  } else {
    out.method = ReadOneOf(row, "method", {"dense", "pumer", "evit", "utrc", "ltmp"});
  }
  const bool brief = table == "table3" || table == "table4" || table == "table5";
  for (const PaperColumn& column : kColumns) {
    const std::string field(column.field);
    if (brief && column.percent) continue;
    out.values[field] = column.percent ? ReadNumber(row, field.c_str(), 100, "a percentage")
                                       : ReadNumber(row, field.c_str(), 1e12, "a perplexity");
  }
  out.values[std::string(kAverage)] = ReadNumber(row, "avg", 100, "a percentage");
  return out;
}

}  // namespace

std::span<const PaperModel> PaperModels() { return kModels; }

const PaperModel* FindPaperModel(std::string_view name) {
  const auto found = std::ranges::find(kModels, name, &PaperModel::name);
  return found == kModels.end() ? nullptr : &*found;
}

std::span<const PaperColumn> PaperColumns() { return kColumns; }

PaperTables PaperTables::Read(const std::filesystem::path& path) {
  return Parse(ReadTextFile(path, kMaxFileBytes), path.string());
}

PaperTables PaperTables::Parse(std::string_view text, const std::string& source) {
  const Json json = ParseJson(text, source);
  const JsonReader top(json, source);
  PaperTables out;
  for (const std::string_view name : kPaperTables) {
    const std::string table(name);
    const Json& rows = top.Field(table.c_str());
    if (!rows.is_array() || rows.empty() || rows.size() > kMaxRows) {
      top.Fail(table.c_str(), "a list of rows");
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      const JsonReader row(rows[i], source, StrCat(table, "[", i, "]."));
      out.tables_[table].push_back(ReadRow(row, table));
    }
  }
  return out;
}

std::vector<PaperRow> PaperTables::Rows(std::string_view table, std::string_view model) const {
  const auto found = tables_.find(table);
  PITH_CHECK(found != tables_.end());
  std::vector<PaperRow> rows;
  std::ranges::copy_if(found->second, std::back_inserter(rows),
                       [&](const PaperRow& row) { return row.model == model; });
  return rows;
}

std::vector<std::string> PaperTables::Models(std::string_view table) const {
  const auto found = tables_.find(table);
  PITH_CHECK(found != tables_.end());
  std::vector<std::string> models;
  for (const PaperRow& row : found->second) {
    if (std::ranges::find(models, row.model) == models.end()) models.push_back(row.model);
  }
  return models;
}

}  // namespace pith
