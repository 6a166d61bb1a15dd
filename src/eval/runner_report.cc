#include <array>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "eval/runner.h"

namespace pith {
namespace {

// The shortest digits that read back to the same number; nothing for what is no number.
std::string Exact(double value) {
  if (!std::isfinite(value)) return "";
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  PITH_CHECK(error == std::errc());
  return {buffer.data(), end};
}

OrderedJson ToJson(const Estimate& estimate) {
  return {{"value", estimate.value}, {"standard_error", estimate.standard_error}};
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
    json["difference"] = figure.difference ? ToJson(*figure.difference) : OrderedJson(nullptr);
    out.push_back(std::move(json));
  }
  return out;
}

// RFC 4180: reductions hold commas.
std::string Cell(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

}  // namespace

OrderedJson EvalRowsToJson(std::span<const EvalRow> rows) {
  OrderedJson out = OrderedJson::array();
  for (const EvalRow& row : rows) {
    out.push_back({{"task", row.task},
                   {"method", row.method},
                   {"items", row.items},
                   {"metrics", FiguresToJson(row)},
                   {"contexts", row.contexts},
                   {"realised", row.realised},
                   {"context_tokens", row.context_tokens},
                   {"context_seconds", row.context_seconds},
                   {"tokens_per_second", row.TokensPerSecond()},
                   {"peak_memory_bytes",
                    row.peak_memory ? OrderedJson(*row.peak_memory) : OrderedJson(nullptr)}});
  }
  return out;
}

std::string EvalRowsToCsv(std::span<const EvalRow> rows) {
  std::string out =
      "task,method,metric,n,value,standard_error,difference,difference_standard_error,realised,"
      "tokens_per_second,peak_memory_bytes\n";
  for (const EvalRow& row : rows) {
    for (const EvalFigure& figure : row.figures) {
      const auto& difference = figure.difference;
      out += StrCat(Cell(row.task), ",", Cell(row.method), ",", Cell(figure.metric.name), ",",
                    figure.estimate.n, ",", Exact(figure.estimate.value), ",",
                    Exact(figure.estimate.standard_error), ",",
                    difference ? Exact(difference->value) : "", ",",
                    difference ? Exact(difference->standard_error) : "", ",", Exact(row.realised),
                    ",", Exact(row.TokensPerSecond()), ",",
                    row.peak_memory ? std::to_string(*row.peak_memory) : "", "\n");
    }
  }
  return out;
}

}  // namespace pith
