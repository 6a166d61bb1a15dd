// What pith bench shows: JSON, a table for people, and a page.
#ifndef PITH_CLI_BENCH_REPORT_H_
#define PITH_CLI_BENCH_REPORT_H_

#include <string>

#include "core/json.h"
#include "eval/report/report.h"
#include "pith/bench.h"
#include "pith/engine.h"

namespace pith::cli {

// What was measured and how.
struct BenchSubject {
  std::string command;
  std::string model;    // a directory; empty: a shape
  std::string shape;    // its name
  std::string weights;  // how a shape's are stored
  EngineOptions engine;
  ModelInfo info;
  BenchOptions options;

  const std::string& name() const { return model.empty() ? shape : model; }
};

OrderedJson BenchJson(const BenchSubject& subject, const BenchReport& report);
std::string BenchText(const BenchSubject& subject, const BenchReport& report);
// Without a footer.
Report BenchPage(const BenchSubject& subject, const BenchReport& report);

}  // namespace pith::cli

#endif  // PITH_CLI_BENCH_REPORT_H_
