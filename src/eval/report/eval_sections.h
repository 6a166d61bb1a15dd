// Sections of a report from the rows of an evaluation.
#ifndef PITH_EVAL_REPORT_EVAL_SECTIONS_H_
#define PITH_EVAL_REPORT_EVAL_SECTIONS_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/report/report.h"
#include "eval/runner.h"

namespace pith {

// The series that a reduction belongs to: what stands before its `@N%`, so that the strengths of a
// method make one line; every kind of skim is `skim`.
std::string MethodFamily(std::string_view method);

// The table of one task's rows, for a page and for the terminal. In scoring mode `context` every
// label is scored and every item counts; the other modes get columns for what was left out.
ReportTable EvalTable(std::span<const EvalRow> rows);

// A section for each task: its table, and its headline metric against the realised reduction. Where
// there are several tasks with an accuracy, first the mean of those accuracies. Rows of a task
// follow each other. Error bars are standard errors of the paired difference to dense where there
// is a dense row, else of the value.
std::vector<ReportSection> EvalSections(std::span<const EvalRow> rows);

}  // namespace pith

#endif  // PITH_EVAL_REPORT_EVAL_SECTIONS_H_
