#include "cli/text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/error.h"

namespace pith::cli {
namespace {

// Code points, which is what most terminals give one cell each.
size_t Width(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

std::string Fixed(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  char buffer[512];
  const int length = std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return std::string(buffer, length);
}

std::string Percent(double share) { return Fixed(100 * share, 1) + " %"; }

std::string PerSecond(double count, double seconds) {
  if (!(seconds > 0)) return "-";
  const double rate = count / seconds;
  return Fixed(rate, rate < 100 ? 1 : 0) + " tok/s";
}

std::string Grouped(int64_t value) {
  const std::string digits = std::to_string(value);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool first = i == 0 || (i == 1 && value < 0);
    if (!first && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
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

}  // namespace pith::cli
