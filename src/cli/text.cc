#include "cli/text.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace pith::cli {
namespace {

// Code points, which is what most terminals give one cell each.
size_t Width(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

std::string PerSecond(double count, double seconds) {
  if (!(seconds > 0)) return "-";
  const double rate = count / seconds;
  return Fixed(rate, rate < 100 ? 1 : 0) + " tok/s";
}

std::string Quoted(std::string_view bytes) { return StrCat("'", Excerpt(bytes), "'"); }

void Table::AddRow(std::vector<std::string> cells) {
  PITH_CHECK(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::ToString(bool header) const {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    widths.push_back(header ? Width(columns_[c].name) : 0);
    for (const auto& row : rows_) widths[c] = std::max(widths[c], Width(row[c]));
  }
  std::string out;
  const auto add_row = [&](auto&& cell) {
    std::string line;
    for (size_t c = 0; c < columns_.size(); ++c) {
      const std::string& text = cell(c);
      const std::string blanks(widths[c] - Width(text), ' ');
      if (c > 0) line += "  ";
      line += columns_[c].align == Align::kRight ? blanks + text : text + blanks;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  if (header) add_row([&](size_t c) -> const std::string& { return columns_[c].name; });
  for (const auto& row : rows_) add_row([&](size_t c) -> const std::string& { return row[c]; });
  return out;
}

std::string TextOf(const ReportTable& table) {
  std::vector<Table::Column> columns;
  for (const std::string& name : table.columns) {
    columns.push_back({name, columns.empty() ? Align::kLeft : Align::kRight});
  }
  Table text(std::move(columns));
  for (const std::vector<std::string>& row : table.rows) text.AddRow(row);
  return text.ToString();
}

std::string StoredText(const std::map<std::string, int64_t>& types) {
  std::string text;
  for (const auto& [type, count] : types) {
    text += text.empty() ? StrCat(type, " (", count, count == 1 ? " tensor)" : " tensors)")
                         : StrCat(", ", type, " (", count, ")");
  }
  return text;
}

}  // namespace pith::cli
