// Rows from the journal: sums over the items in their order, so that they do not depend on who
// scored which item, or when.
#include <algorithm>
#include <map>
#include <optional>

#include "core/error.h"
#include "eval/cell.h"

namespace pith {
namespace {

using ShareLists = std::vector<std::vector<Share>>;  // [metrics][items]

// What was asked for, and where it reduces.
EvalRow Head(const Engine& engine, const EvalCell& cell, ScoringMode mode) {
  EvalRow row{.task = cell.task->name,
              .method = cell.method,
              .scoring = mode,
              .wanted = cell.reduction.wanted()};
  if (cell.reduction.by_length()) return row;
  for (const SiteRows& site : engine.Plan(1, cell.reduction).sites) {
    row.sites.push_back(site.layer);
  }
  return row;
}

void AddItem(const TaskItem& item, const JournalEntry& entry, EvalRow& row) {
  const bool context_mode = row.scoring == ScoringMode::kContext;
  ++row.items;
  row.left_out += std::ranges::all_of(
      entry.shares, [](double n) { return n == 0; }, &Share::count);
  row.labels += LabelsOf(item);
  row.scored_labels += entry.scored_labels;
  row.contexts += entry.contexts;
  row.realised += entry.realised;
  row.realised_total += entry.saved_tokens;
  // The other modes read pairs, which are contexts to the plan.
  row.tokens += context_mode ? TokensOf(item) : entry.context_tokens;
  row.context_tokens += entry.context_tokens;
  row.context_seconds += entry.seconds;
  if (entry.peak_memory) {
    row.peak_memory = std::max(row.peak_memory.value_or(0), *entry.peak_memory);
  }
}

EvalRow MakeRow(const Engine& engine, const EvalCell& cell, ScoringMode mode,
                const Journal& journal, ShareLists& shares) {
  EvalRow row = Head(engine, cell, mode);
  const std::vector<Metric>& metrics = cell.task->task->metrics();
  shares.assign(metrics.size(), {});
  for (const TaskItem& item : cell.task->items) {
    const JournalEntry* entry = FindEntry(journal, cell, item);
    PITH_CHECK(entry != nullptr);
    for (size_t m = 0; m < metrics.size(); ++m) shares[m].push_back(entry->shares[m]);
    AddItem(item, *entry, row);
  }
  if (row.contexts > 0) row.realised /= static_cast<double>(row.contexts);
  if (row.tokens > 0) row.realised_total /= static_cast<double>(row.tokens);
  for (size_t m = 0; m < metrics.size(); ++m) {
    row.figures.push_back(
        {.metric = metrics[m], .estimate = EstimateMetric(metrics[m], shares[m])});
  }
  return row;
}

}  // namespace

std::vector<EvalRow> MakeRows(const Engine& engine, std::span<const EvalCell> cells,
                              ScoringMode mode, const Journal& journal) {
  std::vector<EvalRow> rows;
  std::map<std::string, ShareLists> dense;
  std::vector<ShareLists> shares(cells.size());
  for (size_t c = 0; c < cells.size(); ++c) {
    rows.push_back(MakeRow(engine, cells[c], mode, journal, shares[c]));
    if (cells[c].method == "none") dense[rows[c].task] = shares[c];
  }
  for (size_t c = 0; c < rows.size(); ++c) {
    const auto base = dense.find(rows[c].task);
    if (base == dense.end()) continue;
    for (size_t m = 0; m < rows[c].figures.size(); ++m) {
      EvalFigure& figure = rows[c].figures[m];
      figure.difference = EstimateDifference(figure.metric, shares[c][m], base->second[m]);
    }
  }
  return rows;
}

}  // namespace pith
