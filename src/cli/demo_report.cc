#include "cli/demo_report.h"

#include <algorithm>

#include "cli/text.h"
#include "core/error.h"
#include "eval/report/inspect_blocks.h"
#include "pith/version.h"

namespace pith::cli {
namespace {

constexpr size_t kUtrcContexts = 2;
constexpr size_t kLongTokens = 4096;
constexpr size_t kPassageTokens = 200;
constexpr const char* kShortSkim = "skim:chunk=16,window=64";  // the passage is below a window

}  // namespace

std::string ReportFooter(const EngineOptions& engine, const Context& context) {
  return StrCat("Command: ", context.command, "\n\nDevice ", engine.device, ", ", engine.dtype,
                ". ", BuildDescription());
}

ReportTable ContinuationTable(const OrderedJson& list) {
  ReportTable table{.title = "The same prompt, continued greedily",
                    .columns = {"reduction", "realised", "rows left", "continuation"},
                    .prose = true};
  for (const OrderedJson& entry : list) {
    table.rows.push_back(
        {entry.at("reduce").get<std::string>(), Percent(entry.at("realised").get<double>()),
         Grouped(entry.at("rows_left").get<int64_t>()), entry.at("text").get<std::string>()});
  }
  return table;
}

ReportSection SurvivalSection(const Engine& engine, const std::string& name,
                              std::span<const TaskItem> windows, bool all,
                              const std::atomic<bool>* cancel) {
  ReportSection section{name + ": what survives of the prompt", {}};
  const auto add = [&](const char* reduce, size_t count) {
    std::vector<std::vector<int32_t>> contexts;
    for (const TaskItem& window : windows.first(std::min(count, windows.size()))) {
      contexts.push_back(window.requests[0].context);
    }
    section.blocks.emplace_back(
        KeptPositions(engine, contexts, engine.Compile(reduce), {.cancel = cancel}));
  };
  add("utrc@30%", kUtrcContexts);
  if (!all) return section;
  for (const char* reduce : {"truncate@30%", "prefix-thin@30%", "random@30%"}) add(reduce, 1);
  return section;
}

ReportSection SkimSection(const Engine& engine, const std::string& name,
                          std::span<const int32_t> document, const std::atomic<bool>* cancel) {
  const InspectReport report =
      engine.Inspect(document.first(std::min(kLongTokens, document.size())), engine.Compile("skim"),
                     {.control = {.cancel = cancel}});
  return {name + ": what skim writes of a long prompt", {WrittenPairs(report)}};
}

ReportSection PassageSection(const Engine& engine, const std::string& name,
                             std::span<const int32_t> document, const std::atomic<bool>* cancel) {
  ReportSection section{name + ": a passage, token by token", {}};
  const auto passage = document.first(std::min(kPassageTokens, document.size()));
  for (const char* reduce : {"utrc@30%", kShortSkim}) {
    const InspectReport report =
        engine.Inspect(passage, engine.Compile(reduce), {.control = {.cancel = cancel}});
    section.blocks.emplace_back(FateTokens(report, engine));
  }
  return section;
}

}  // namespace pith::cli
