// A report as data: sections of text, tables, plots and maps. html.h makes one page of it that
// needs nothing else.
#ifndef PITH_EVAL_REPORT_REPORT_H_
#define PITH_EVAL_REPORT_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace pith {

// Plain text throughout: html.h escapes it.
struct ReportText {
  std::string text;
};

struct ReportTable {
  std::string title;
  std::vector<std::string> columns;  // the first one is left-aligned, the others to the right
  std::vector<std::vector<std::string>> rows;  // as wide as `columns`
  std::string note;                            // below the table; may be empty
  bool prose = false;  // cells are texts: all to the left, broken into lines
};

struct ReportPoint {
  double x = 0;
  double y = 0;
  double error = 0;  // standard error of y; 0: no bar
  std::string label;
};

// The points of one method; a plot that joins them does so in their order.
struct ReportSeries {
  std::string name;
  std::vector<ReportPoint> points;
};

struct ReportPlot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<ReportSeries> series;
  std::optional<double> baseline;  // a level line across, such as the dense model's
  bool log_x = false;
  bool log_y = false;
  std::string note;
  std::string baseline_name = "dense";
  bool joined = true;               // a line through a series' points
  std::optional<double> x_start;    // the x axis begins there, or before where points do
  std::optional<double> y_floor;    // no value can lie below: bars are cut there
  std::optional<double> y_ceiling;  // nor above
};

// Shares 0 … 1 as shades: rows of cells with labels. A negative value has no cell.
struct ReportMap {
  std::string title;
  std::string row_title;
  std::string column_title;
  std::vector<std::string> row_labels;      // empty strings leave a row unlabelled
  std::vector<std::string> column_labels;   // likewise
  std::vector<std::vector<double>> values;  // [rows][columns]
  bool numbers = false;                     // print each share in its cell
  std::string note;
};

enum class ReportFate : uint8_t { kKept, kPruned, kMerged, kFar };

// A text whose tokens are marked by what became of them.
struct ReportTokens {
  struct Token {
    std::string text;  // valid UTF-8
    ReportFate fate = ReportFate::kKept;
    std::string detail;  // shown on pointing at it; may be empty
  };
  std::string title;
  std::vector<Token> tokens;
  std::string note;
};

using ReportBlock = std::variant<ReportText, ReportTable, ReportPlot, ReportMap, ReportTokens>;

struct ReportSection {
  std::string heading;
  std::vector<ReportBlock> blocks;
};

struct Report {
  std::string title;
  std::string summary;  // one paragraph below the title
  std::vector<ReportSection> sections;
  std::string footer;  // versions, device, the command that made it
};

}  // namespace pith

#endif  // PITH_EVAL_REPORT_REPORT_H_
