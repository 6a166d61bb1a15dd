#include "core/numbers.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "core/error.h"

namespace pith {

std::string Fixed(double value, int digits, bool sign) {
  if (!std::isfinite(value)) return "-";
  char buffer[512];
  std::string text(buffer, std::snprintf(buffer, sizeof buffer, "%.*f", digits, value));
  if (text[0] == '-' && text.find_first_of("123456789") == text.npos) text.erase(0, 1);
  if (sign && text[0] != '-') text.insert(0, 1, '+');
  return text;
}

std::string Percent(double share) { return Fixed(100 * share, 1) + " %"; }

std::string Grouped(int64_t value) {
  std::string text = std::to_string(value);
  const size_t first = value < 0 ? 2 : 1;  // no comma before the first digit
  for (size_t at = text.size(); at > first + 2; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string PlusMinus(double value, double error, int digits, bool sign) {
  if (!std::isfinite(value)) return "-";
  return Fixed(value, digits, sign) + " ± " + Fixed(error, digits);
}

std::string ExactDigits(double value) {
  if (!std::isfinite(value)) return "";
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  PITH_CHECK(error == std::errc());
  return {buffer.data(), end};
}

std::string CsvCell(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

}  // namespace pith
