#include "eval/report/markup.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/utf8.h"

namespace pith {
namespace {

// XML 1.0 §2.2: of the control characters only tab, line feed and carriage return; no U+FFFE/F.
// Nor what would show the page's own text in another order.
bool IsPageCharacter(int32_t c) {
  return c == '\t' || c == '\n' || c == '\r' || (!IsUnsafeToShow(c) && c != 0xFFFE && c != 0xFFFF);
}

std::string Trimmed(std::string number) {
  if (number.find('.') != std::string::npos) {
    number.erase(number.find_last_not_of('0') + 1);
    if (number.back() == '.') number.pop_back();
  }
  return number == "-0" ? "0" : number;
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  const std::string valid = ReplaceInvalidUtf8(text);
  std::string out;
  out.reserve(valid.size() + valid.size() / 8);
  for (size_t i = 0; i < valid.size();) {
    const CodePoint point = DecodeUtf8(valid.data() + i);
    switch (point.value) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (IsPageCharacter(point.value)) {
          out.append(valid, i, point.length);
        } else {
          out += kReplacementCharacter;
        }
    }
    i += point.length;
  }
  return out;
}

std::string Coordinate(double value) {
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, 2).ptr;
  return Trimmed(std::string(buffer, end));
}

std::string Significant(double value, int digits) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  char buffer[400];
  if (size < 1e-4 || size >= 1e7) {
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                   std::chars_format::scientific, digits - 1);
    return std::string(buffer, end.ptr);
  }
  const int after = std::max(0, digits - 1 - static_cast<int>(std::floor(std::log10(size))));
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, after);
  return Trimmed(std::string(buffer, end.ptr));
}

std::string TitleHtml(std::string_view title) {
  return title.empty() ? "" : StrCat("<figcaption>", EscapeHtml(title), "</figcaption>\n");
}

std::string NoteHtml(std::string_view note) {
  return note.empty() ? "" : StrCat("<p class=\"note\">", EscapeHtml(note), "</p>\n");
}

}  // namespace pith
