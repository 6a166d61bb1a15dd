#include "pith/reduction_spec.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "core/error.h"
#include "core/file.h"

namespace pith {
namespace {

constexpr std::string_view kGrammar = "none or METHOD[@N%][:key=value,…]";

[[noreturn]] void Fail(std::string_view text, std::string_view part, std::string_view got,
                       std::string_view expected) {
  Throw(ErrorCode::kInvalidArgument, "reduction '", text, "': ", part, ": got '", got,
        "', expected ", expected);
}

bool IsName(std::string_view name) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && lower(name[0]) && std::ranges::all_of(name, [&](char c) {
    return lower(c) || (c >= '0' && c <= '9') || c == '-';
  });
}

bool IsValue(std::string_view value) {
  return !value.empty() && std::ranges::all_of(value, [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  });
}

// A decimal without exponent, read as hundredths with one rounding, so that ToString can invert it.
double ParsePercent(std::string_view text, std::string_view percent) {
  std::string digits(percent.substr(0, percent.size() - percent.ends_with('%')));
  double value = -1;
  const bool plain = !digits.empty() && digits.find_first_not_of("0123456789.") == digits.npos;
  digits += "e-2";
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (!plain || stop != end || error != std::errc() || value >= 1) {
    Fail(text, "wanted reduction", percent, "a percentage of at least 0 and less than 100");
  }
  return value;
}

// Shortest decimal of `value` (0 … 1) with its point moved two places to the right.
std::string PercentText(double value) {
  if (value == 0) return "0";
  char buffer[64];
  const auto [end, error] =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  PITH_CHECK(error == std::errc());
  const std::string_view text(buffer, end - buffer);
  const size_t e = text.find('e');
  int point = 3 + std::stoi(std::string(text.substr(e + 1)));  // digits before the point
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  if (point <= 0) {
    digits.insert(0, 1 - point, '0');
    point = 1;
  }
  if (static_cast<int>(digits.size()) < point) digits.resize(point, '0');
  if (static_cast<int>(digits.size()) > point) digits.insert(point, 1, '.');
  return digits;
}

void ParseParams(std::string_view text, std::string_view list, ReductionSpec& spec) {
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view item = list.substr(begin, end - begin);
    const size_t equal = std::min(item.find('='), item.size());
    const std::string_view key = item.substr(0, equal);
    if (equal == item.size() || !IsName(key)) Fail(text, "option", item, "key=value");
    const std::string_view value = item.substr(equal + 1);
    if (!IsValue(value)) Fail(text, key, value, "a value without blanks");
    if (!spec.params.emplace(key, value).second) Fail(text, "option", item, "each key once");
    begin = end + 1;
  }
}

// Without the lines that begin with '#'.
std::string WithoutComments(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (!line.starts_with('#')) out.append(line).append("\n");
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return out;
}

}  // namespace

ReductionSpec ReductionSpec::Parse(std::string_view text) {
  if (text.starts_with('@')) {
    Fail(text, "method", text, "a reduction itself; files are read on the command line only");
  }
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view head = text.substr(0, colon);
  const size_t at = std::min(head.find('@'), head.size());
  ReductionSpec spec;
  spec.method = head.substr(0, at);
  if (!IsName(spec.method)) Fail(text, "method", spec.method, kGrammar);
  if (at < head.size()) spec.reduction = ParsePercent(text, head.substr(at + 1));
  if (colon < text.size()) ParseParams(text, text.substr(colon + 1), spec);
  return spec;
}

ReductionSpec ReductionSpec::ParseOrRead(std::string_view text) {
  if (!text.starts_with('@')) return Parse(text);
  constexpr int64_t kMaxBytes = 1 << 16;
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::string content = WithoutComments(ReadTextFile(std::string(text.substr(1)), kMaxBytes));
  const size_t begin = std::min(content.find_first_not_of(kBlanks), content.size());
  const size_t end = content.find_last_not_of(kBlanks) + 1;
  try {
    return Parse(std::string_view(content).substr(begin, std::max(begin, end) - begin));
  } catch (const Error& error) {
    Throw(error.code(), text.substr(1), ": ", error.what());
  }
}

std::string ReductionSpec::ToString() const {
  std::string text = method;
  if (reduction) text.append("@").append(PercentText(*reduction)).append("%");
  char separator = ':';
  for (const auto& [key, value] : params) {
    text.append(1, separator).append(key).append("=").append(value);
    separator = ',';
  }
  return text;
}

}  // namespace pith
