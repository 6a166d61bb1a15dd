// What the page of pith demo shows of a model beside its table.
#ifndef PITH_CLI_DEMO_REPORT_H_
#define PITH_CLI_DEMO_REPORT_H_

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/verbs.h"
#include "core/json.h"
#include "eval/report/report.h"
#include "eval/task.h"
#include "pith/engine.h"

namespace pith::cli {

// Version, backends, device and the command line, for the foot of a page.
std::string ReportFooter(const EngineOptions& engine, const Context& context);

// `list` as the demo's JSON has it: reduce, realised, rows_left, text.
ReportTable ContinuationTable(const OrderedJson& list);

// Which tenths of the contexts survive: utrc@30% on a few windows, and, with `all`, the methods
// that look at no text on one of them.
ReportSection SurvivalSection(const Engine& engine, const std::string& name,
                              std::span<const TaskItem> windows, bool all,
                              const std::atomic<bool>* cancel);

// What skim wrote of a document's first 4096 tokens, and a short passage token by token under
// utrc@30% and skim.
ReportSection SkimSection(const Engine& engine, const std::string& name,
                          std::span<const int32_t> document, const std::atomic<bool>* cancel);
ReportSection PassageSection(const Engine& engine, const std::string& name,
                             std::span<const int32_t> document, const std::atomic<bool>* cancel);

}  // namespace pith::cli

#endif  // PITH_CLI_DEMO_REPORT_H_
