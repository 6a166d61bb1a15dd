// Text for people: numbers, tables, quoted bytes.
#ifndef PITH_CLI_TEXT_H_
#define PITH_CLI_TEXT_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/numbers.h"
#include "eval/report/report.h"

namespace pith::cli {

std::string PerSecond(double count, double seconds);  // "812 tok/s", or "-" for no time at all

std::string Quoted(std::string_view bytes);  // 'an excerpt' (core/printable.h)

enum class Align { kLeft, kRight };

// Columns as wide as their widest cell, two blanks apart.
class Table {
 public:
  struct Column {
    std::string name;
    Align align = Align::kRight;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void AddRow(std::vector<std::string> cells);  // one per column
  std::string ToString(bool header = true) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// A page's table for the terminal, without title and note.
std::string TextOf(const ReportTable& table);

// "name  value" lines, aligned.
class Fields {
 public:
  void Add(std::string name, std::string value) {
    table_.AddRow({std::move(name), std::move(value)});
  }
  std::string ToString() const { return table_.ToString(false); }

 private:
  Table table_{{{"", Align::kLeft}, {"", Align::kLeft}}};
};

// How many tensors files hold of each type: "F32 (241 tensors), Q8_0 (97)".
std::string StoredText(const std::map<std::string, int64_t>& types);

}  // namespace pith::cli

#endif  // PITH_CLI_TEXT_H_
