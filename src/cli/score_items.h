// The input of `pith score --items`: one JSON object a line.
#ifndef PITH_CLI_SCORE_ITEMS_H_
#define PITH_CLI_SCORE_ITEMS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace pith::cli {

struct TextPair {
  int64_t line = 0;  // 1-based
  Json id;           // "id" of the item, a string or number, or null
  std::string context;
  std::string continuation;
};

// Reads {"context": …, "continuation": …, "id": …} lines; other fields are the caller's own.
// Blank lines are skipped. Throws kCorruptData as "SOURCE:LINE: FIELD: got VALUE, expected …".
std::vector<TextPair> ParseItems(std::string_view text, const std::string& source);

}  // namespace pith::cli

#endif  // PITH_CLI_SCORE_ITEMS_H_
