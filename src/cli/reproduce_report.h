// What reproduce measured, as a report.
#ifndef PITH_CLI_REPRODUCE_REPORT_H_
#define PITH_CLI_REPRODUCE_REPORT_H_

#include <map>
#include <span>
#include <string>
#include <vector>

#include "eval/report/report.h"
#include "eval/reproduce/results.h"
#include "eval/task.h"
#include "pith/engine.h"

namespace pith::cli {

// What becomes of the positions of a text under the methods that several reductions of a grid share
// (Tables 1, 2 and 6) at 30 %: one map for each that moves rows. Throws as Engine::Inspect does.
std::vector<ReportMap> KeptMaps(const Engine& engine, std::span<const Grid> grids,
                                const TaskOptions& options, const RunControl& control);

// `kept`: for each model by name, what became of the positions of a text.
Report ReproduceReport(const ReproduceResults& results,
                       const std::map<std::string, std::vector<ReportMap>>& kept,
                       const std::string& footer);

}  // namespace pith::cli

#endif  // PITH_CLI_REPRODUCE_REPORT_H_
