#include "core/error.h"
#include "core/numbers.h"
#include "eval/runner.h"

namespace pith {
namespace {

OrderedJson ToJson(const Estimate& estimate) {
  return {{"value", estimate.value}, {"standard_error", estimate.standard_error}};
}

OrderedJson ToJson(const std::optional<Estimate>& difference) {
  if (!difference) return nullptr;
  OrderedJson json = {{"n", difference->n}};
  json.update(ToJson(*difference));
  return json;
}

OrderedJson FiguresToJson(const EvalRow& row) {
  OrderedJson out = OrderedJson::array();
  for (const EvalFigure& figure : row.figures) {
    OrderedJson json = {{"metric", figure.metric.name},
                        {"meaning", figure.metric.meaning},
                        {"higher_is_better", figure.metric.higher_is_better},
                        {"headline", figure.metric.headline},
                        {"n", figure.estimate.n}};
    json.update(ToJson(figure.estimate));
    json["difference"] = ToJson(figure.difference);
    out.push_back(std::move(json));
  }
  return out;
}

}  // namespace

OrderedJson EvalRowsToJson(std::span<const EvalRow> rows) {
  OrderedJson out = OrderedJson::array();
  for (const EvalRow& row : rows) {
    out.push_back({{"task", row.task},
                   {"method", row.method},
                   {"scoring", ScoringModeName(row.scoring)},
                   {"wanted", row.wanted ? OrderedJson(*row.wanted) : OrderedJson(nullptr)},
                   {"sites", row.sites},
                   {"items", row.items},
                   {"left_out", row.left_out},
                   {"labels", row.labels},
                   {"scored_labels", row.scored_labels},
                   {"coverage", row.Coverage()},
                   {"metrics", FiguresToJson(row)},
                   {"contexts", row.contexts},
                   {"realised", row.realised},
                   {"realised_total", row.realised_total},
                   {"tokens", row.tokens},
                   {"context_tokens", row.context_tokens},
                   {"context_seconds", row.context_seconds},
                   {"tokens_per_second", row.TokensPerSecond()},
                   {"peak_memory_bytes",
                    row.peak_memory ? OrderedJson(*row.peak_memory) : OrderedJson(nullptr)}});
  }
  return out;
}

OrderedJson EvalResultsToJson(const OrderedJson& fingerprint, int64_t limit,
                              std::span<const EvalRow> rows) {
  return {{"format", "pith eval 1"},
          {"run", fingerprint},
          {"limit", limit},
          {"rows", EvalRowsToJson(rows)}};
}

std::string EvalRowsToCsv(std::span<const EvalRow> rows) {
  std::string out =
      "task,method,metric,n,value,standard_error,difference,difference_standard_error,realised,"
      "tokens_per_second,peak_memory_bytes,scoring,wanted,sites,realised_total,items,left_out,"
      "coverage,difference_n\n";
  for (const EvalRow& row : rows) {
    for (const EvalFigure& figure : row.figures) {
      const auto& difference = figure.difference;
      const auto cells = {CsvCell(row.task),
                          CsvCell(row.method),
                          CsvCell(figure.metric.name),
                          std::to_string(figure.estimate.n),
                          ExactDigits(figure.estimate.value),
                          ExactDigits(figure.estimate.standard_error),
                          difference ? ExactDigits(difference->value) : "",
                          difference ? ExactDigits(difference->standard_error) : "",
                          ExactDigits(row.realised),
                          ExactDigits(row.TokensPerSecond()),
                          row.peak_memory ? std::to_string(*row.peak_memory) : "",
                          CsvCell(std::string(ScoringModeName(row.scoring))),
                          row.wanted ? ExactDigits(*row.wanted) : "",
                          CsvCell(JoinSites(row.sites)),
                          ExactDigits(row.realised_total),
                          std::to_string(row.items),
                          std::to_string(row.left_out),
                          ExactDigits(row.Coverage()),
                          difference ? std::to_string(difference->n) : ""};
      std::string line;
      for (const std::string& cell : cells) line += (line.empty() ? "" : ",") + cell;
      out += line + "\n";
    }
  }
  return out;
}

}  // namespace pith
