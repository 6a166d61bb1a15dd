#include "cli/demo_rows.h"

#include <algorithm>
#include <optional>

#include "cli/text.h"
#include "core/error.h"

namespace pith::cli {
namespace {

// Rows of a context of `tokens` that reach the last layer.
double RowsLeft(const PlanReport& plan) {
  if (plan.skim) return static_cast<double>(plan.tokens - plan.skim->far);
  return static_cast<double>(plan.sites.empty() ? plan.tokens : plan.sites.back().out);
}

const EvalFigure& FigureOf(const EvalRow& row, std::string_view metric) {
  const auto found = std::ranges::find_if(
      row.figures, [&](const EvalFigure& figure) { return figure.metric.name == metric; });
  PITH_CHECK(found != row.figures.end() && found->difference.has_value());
  return *found;
}

// One metric of a task under one reduction, item by item.
std::vector<Share> SharesOf(const EvalTask& task, const std::string& method,
                            std::string_view metric, const Journal& journal) {
  const auto& metrics = task.task->metrics();
  const auto place = std::ranges::find(metrics, metric, &Metric::name) - metrics.begin();
  std::vector<Share> shares;
  for (const TaskItem& item : task.items) {
    const JournalEntry* const entry = journal.Find(task.name, method, item.id);
    PITH_CHECK(entry != nullptr);
    shares.push_back(entry->shares.at(place));
  }
  return shares;
}

Share Sum(std::span<const Share> shares) {
  Share sum{0, 0};
  for (const Share& share : shares) {
    sum.sum += share.sum;
    sum.count += share.count;
  }
  return sum;
}

OrderedJson ToJson(const EvalFigure& figure) {
  return {{"mean", figure.difference->value},
          {"standard_error", figure.difference->standard_error}};
}

}  // namespace

double DemoRow::TokensPerSecond() const {
  const double seconds = text->context_seconds + recall->context_seconds;
  const auto tokens = static_cast<double>(text->context_tokens + recall->context_tokens);
  return seconds > 0 ? tokens / seconds : 0;
}

std::optional<int64_t> DemoRow::peak_memory() const {
  if (!text->peak_memory || !recall->peak_memory) return std::nullopt;
  return std::max(*text->peak_memory, *recall->peak_memory);
}

std::vector<DemoRow> DemoRows(const Engine& engine, std::span<const EvalRow> rows,
                              int64_t context) {
  const size_t methods = rows.size() / 2;
  std::vector<DemoRow> out;
  for (size_t i = 0; i < methods; ++i) {
    const EvalRow& text = rows[i];
    const EvalRow& recall = rows[methods + i];
    PITH_CHECK(text.task == "perplexity" && recall.task == "recall" &&
               text.method == recall.method);
    const PlanReport plan = engine.Plan(context, engine.Compile(text.method));
    out.push_back({&text, &recall, RowsLeft(plan) / static_cast<double>(context)});
  }
  return out;
}

std::string DemoTable(std::span<const DemoRow> rows) {
  Table table({{"reduction", Align::kLeft},
               {"realised"},
               {"tokens left"},
               {"tail NLL"},
               {"difference ± s.e."},
               {"answers"},
               {"ans. tokens"},
               {"tok/s"},
               {"×"},
               {"peak MiB"}});
  for (const DemoRow& row : rows) {
    const EvalFigure& nll = FigureOf(*row.text, "nll");
    const auto share = [&](const char* metric) {
      return Fixed(100 * FigureOf(*row.recall, metric).estimate.value, 1) + "%";
    };
    const double dense = rows[0].TokensPerSecond();
    table.AddRow({row.text->method, Fixed(100 * row.text->realised, 1) + "%",
                  Fixed(100 * row.rows_left, 1) + "%", Fixed(nll.estimate.value, 4),
                  PlusMinus(nll.difference->value, nll.difference->standard_error, 4, true),
                  share("answers"), share("answer_tokens"), Fixed(row.TokensPerSecond(), 0),
                  dense > 0 ? Fixed(row.TokensPerSecond() / dense, 2) : "-",
                  row.peak_memory() ? std::to_string(*row.peak_memory() >> 20) : "unknown"});
  }
  return table.ToString();
}

OrderedJson DemoJson(std::span<const DemoRow> rows, std::span<const EvalTask> tasks,
                     const Journal& journal) {
  OrderedJson out = OrderedJson::array();
  for (const DemoRow& row : rows) {
    const std::string& method = row.text->method;
    std::vector<double> per_window;
    for (const Share& share : SharesOf(tasks[0], method, "nll", journal)) {
      per_window.push_back(share.sum / share.count);
    }
    const auto recall = [&](const char* metric) {
      return Sum(SharesOf(tasks[1], method, metric, journal));
    };
    OrderedJson by_depth = OrderedJson::array();
    for (const char* third : {"answers_early", "answers_middle", "answers_late"}) {
      const Share sum = recall(third);
      by_depth.push_back({{"n", static_cast<int64_t>(sum.count)},
                          {"answers_right", sum.count > 0 ? sum.sum / sum.count : 0}});
    }
    const EvalFigure& nll = FigureOf(*row.text, "nll");
    const EvalFigure& answers = FigureOf(*row.recall, "answers");
    const EvalFigure& tokens = FigureOf(*row.recall, "answer_tokens");
    out.push_back({{"reduce", method},
                   {"realised", row.text->realised},
                   {"rows_left", row.rows_left},
                   {"windows", row.text->items},
                   {"nll", nll.estimate.value},
                   {"nll_difference", ToJson(nll)},
                   {"nll_per_window", per_window},
                   {"questions", static_cast<int64_t>(recall("answers").count)},
                   {"answers_right", answers.estimate.value},
                   {"answers_difference", ToJson(answers)},
                   {"answers_by_depth", by_depth},
                   {"answer_tokens", static_cast<int64_t>(recall("answer_tokens").count)},
                   {"answer_tokens_right", tokens.estimate.value},
                   {"tokens_per_second", row.TokensPerSecond()},
                   {"peak_memory_bytes",
                    row.peak_memory() ? OrderedJson(*row.peak_memory()) : OrderedJson(nullptr)}});
  }
  return out;
}

}  // namespace pith::cli
