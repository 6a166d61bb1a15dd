// The files of `pith reproduce figures`: figures.json, which an interrupted run reads again, and
// the same as a table of comma-separated values.
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/numbers.h"
#include "eval/reproduce/figures.h"

namespace pith {
namespace {

constexpr std::string_view kFormat = "pith figures 1";
constexpr size_t kMost = 10000;  // of models, rows and repeats

OrderedJson OrNull(const std::optional<double>& value) {
  return value ? OrderedJson(*value) : OrderedJson(nullptr);
}

OrderedJson RowJson(const FigureModel& model, const FigureRow& row, const PaperFigures& paper) {
  const bool utrc = row.method == "utrc";
  return {
      {"reduce", row.reduce},
      {"method", row.method},
      {"wanted", row.wanted},
      {"realised", row.realised},
      {"sites", row.sites},
      {"throughput_ratio", model.Throughput(row)},
      {"paper_throughput_ratio",
       OrNull(utrc ? paper.Throughput(model.name, row.wanted) : std::nullopt)},
      {"memory_ratio", model.Memory(row)},
      {"paper_memory_ratio", OrNull(utrc ? paper.Memory(model.name, row.wanted) : std::nullopt)},
      {"tokens_per_second", row.tokens_per_second},
      {"generate_ms", row.generate_ms},
      {"generate_peak_bytes", row.generate_peak_bytes},
      {"score_peak_bytes", row.score_peak_bytes},
      {"score_ms", row.score_ms}};
}

const Json& List(const JsonReader& from, const char* field) {
  const Json& list = from.Field(field);
  if (!list.is_array() || list.empty() || list.size() > kMost) from.Fail(field, "a list");
  return list;
}

double Positive(const JsonReader& from, const char* field) {
  const double value = from.Number(field, 0);
  if (!(value > 0 && std::isfinite(value))) from.Fail(field, "a positive number");
  return value;
}

double ShareOf(const JsonReader& from, const char* field) {
  const double value = from.Number(field, -1);
  if (!(value >= 0 && value < 1)) from.Fail(field, "a share from 0 to 1");
  return value;
}

FigureRow ReadRow(const JsonReader& from, int64_t repeats) {
  constexpr int64_t kMostBytes = std::numeric_limits<int64_t>::max();
  FigureRow row{.reduce = from.String("reduce"),
                .method = from.String("method"),
                .wanted = ShareOf(from, "wanted"),
                .realised = ShareOf(from, "realised")};
  const Json& sites = from.Field("sites");
  if (!sites.is_array() || sites.size() > kMost) from.Fail("sites", "a list");
  for (const Json& site : sites) {
    if (!site.is_number_integer() || site < -1 || site > 100000) from.Fail("sites", "layers");
    row.sites.push_back(site.get<int>());
  }
  for (const Json& ms : List(from, "generate_ms")) {
    if (!ms.is_number() || !(ms.get<double>() > 0) || !std::isfinite(ms.get<double>())) {
      from.Fail("generate_ms", "positive numbers");
    }
    row.generate_ms.push_back(ms.get<double>());
  }
  if (std::ssize(row.generate_ms) != repeats) {
    from.Fail("generate_ms", StrCat("one for each of ", repeats, " repeats"));
  }
  row.tokens_per_second = Positive(from, "tokens_per_second");
  row.generate_peak_bytes = from.Int("generate_peak_bytes", 1, kMostBytes);
  row.score_peak_bytes = from.Int("score_peak_bytes", 1, kMostBytes);
  row.score_ms = Positive(from, "score_ms");
  return row;
}

void CheckRun(const JsonReader& top, const OrderedJson& run) {
  const Json& have = top.Field("run");
  if (!have.is_object()) top.Fail("run", "an object");
  for (const auto& [field, wanted] : run.items()) {
    const auto found = have.find(field);
    Require(found != have.end() && *found == Json(wanted), ErrorCode::kInvalidArgument,
            top.source(), ": ", field, ": got ", wanted.dump(), ", the file has ",
            found == have.end() ? "nothing" : found->dump(),
            ", expected the same (--fresh starts anew, another --output keeps both)");
  }
}

}  // namespace

OrderedJson FiguresJson(const OrderedJson& run, std::span<const FigureModel> models,
                        const PaperFigures& paper) {
  OrderedJson list = OrderedJson::array();
  for (const FigureModel& model : models) {
    OrderedJson rows = OrderedJson::array();
    for (const FigureRow& row : model.rows) rows.push_back(RowJson(model, row, paper));
    list.push_back({{"name", model.name},
                    {"description", model.description},
                    {"parameters", model.parameters},
                    {"rows", rows}});
  }
  return {{"format", kFormat}, {"run", run}, {"models", list}};
}

std::string FiguresCsv(std::span<const FigureModel> models, const PaperFigures& paper) {
  constexpr std::array kColumns = {"wanted",
                                   "realised",
                                   "throughput_ratio",
                                   "paper_throughput_ratio",
                                   "memory_ratio",
                                   "paper_memory_ratio",
                                   "tokens_per_second",
                                   "generate_peak_bytes",
                                   "score_peak_bytes",
                                   "score_ms"};
  std::string out = "model,reduce";
  for (const char* column : kColumns) out += StrCat(",", column);
  out += "\n";
  for (const FigureModel& model : models) {
    for (const FigureRow& row : model.rows) {
      const OrderedJson json = RowJson(model, row, paper);
      out += StrCat(CsvCell(model.name), ",", CsvCell(row.reduce));
      for (const char* column : kColumns) {
        const OrderedJson& value = json[column];
        out += StrCat(",", value.is_null() ? "" : ExactDigits(value.get<double>()));
      }
      out += "\n";
    }
  }
  return out;
}

std::vector<FigureModel> ReadFigures(std::string_view text, const std::string& source,
                                     const OrderedJson& run) {
  const Json json = ParseJson(text, source);
  const JsonReader top(json, source);
  if (top.String("format") != kFormat) top.Fail("format", StrCat("\"", kFormat, "\""));
  CheckRun(top, run);
  const int64_t repeats = run.at("repeats").get<int64_t>();
  std::vector<FigureModel> models;
  const Json& list = top.Field("models");
  if (!list.is_array() || list.size() > kMost) top.Fail("models", "a list");
  for (size_t m = 0; m < list.size(); ++m) {
    const JsonReader from(list[m], source, StrCat("models[", m, "]."));
    FigureModel model{.name = from.String("name"),
                      .description = from.String("description"),
                      .parameters = from.Int("parameters", 1, std::numeric_limits<int64_t>::max())};
    const Json& rows = List(from, "rows");
    for (size_t r = 0; r < rows.size(); ++r) {
      const std::string path = StrCat("models[", m, "].rows[", r, "].");
      model.rows.push_back(ReadRow(JsonReader(rows[r], source, path), repeats));
    }
    models.push_back(std::move(model));
  }
  return models;
}

}  // namespace pith
