#include "core/nearest.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include "core/printable.h"

namespace pith {
namespace {

// Damerau and Levenshtein's distance in its restricted form, by rows of the usual table: a.size() ×
// b.size() steps.
size_t TypingErrors(std::string_view a, std::string_view b) {
  std::array<std::vector<size_t>, 3> rows;  // of two characters before, of the one before, of now
  for (auto& row : rows) row.resize(b.size() + 1);
  std::iota(rows[2].begin(), rows[2].end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    std::rotate(rows.begin(), rows.begin() + 1, rows.end());
    auto& [before, last, now] = rows;
    now[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        now[j] = std::min(now[j], before[j - 2] + 1);
      }
    }
  }
  return rows[2][b.size()];
}

}  // namespace

std::string DidYouMean(std::string_view got, std::span<const std::string> names) {
  constexpr size_t kLongest = 100;  // nobody types a name of that length
  if (got.empty() || got.size() > kLongest) return "";
  const std::string* nearest = nullptr;
  size_t fewest = std::max<size_t>(1, got.size() / 3) + 1;
  for (const std::string& name : names) {
    const size_t errors = TypingErrors(got, name);
    if (errors >= fewest || errors >= name.size()) continue;
    fewest = errors;
    nearest = &name;
  }
  return nearest ? "; did you mean '" + Printable(*nearest) + "'?" : "";
}

}  // namespace pith
