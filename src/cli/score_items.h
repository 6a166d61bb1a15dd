// The input of `pith score --items`: one JSON object a line.
#ifndef PITH_CLI_SCORE_ITEMS_H_
#define PITH_CLI_SCORE_ITEMS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"

namespace pith::cli {

struct TextPair {
  int64_t line = 0;  // 1-based
  Json id;           // "id" of the item, a string or number, or null
  std::string context;
  std::string continuation;
};

// Lines that hold no item: each is reported once and left out; the rest goes on. Under `strict` the
// first one is thrown instead.
class BadLines {
 public:
  BadLines(bool strict, std::function<void(const std::string& message)> report)
      : strict_(strict), report_(std::move(report)) {}

  // Runs `read`, which throws pith::Error where the line is bad; false then. Ctrl-C passes through.
  bool Try(int64_t line, const std::function<void()>& read);
  const std::vector<int64_t>& lines() const { return lines_; }

 private:
  bool strict_;
  std::function<void(const std::string&)> report_;
  std::vector<int64_t> lines_;
};

// Reads {"context": …, "continuation": …, "id": …} lines; other fields are the caller's own.
// Blank lines are skipped. Bad ones read "SOURCE:LINE: FIELD: got VALUE, expected …". Throws
// kCorruptData where no line is good.
std::vector<TextPair> ParseItems(std::string_view text, const std::string& source, BadLines& bad);

}  // namespace pith::cli

#endif  // PITH_CLI_SCORE_ITEMS_H_
