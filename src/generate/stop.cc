#include "generate/stop.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace pith {

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    Require(!stop.empty(), ErrorCode::kInvalidArgument,
            "stop: got an empty text, expected at least one character");
  }
}

std::string StopFilter::Push(std::string_view text) {
  if (stopped_) return "";
  held_ += text;
  // The stop that is whole first, the longest of those that end together: the same for any pieces.
  size_t begin = 0;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos || at + stop.size() > end) continue;
    begin = at + stop.size() < end ? at : std::min(begin, at);
    end = at + stop.size();
  }
  if (end != std::string::npos) {
    stopped_ = true;
    std::string out = held_.substr(0, begin);
    held_.clear();
    return out;
  }
  size_t hold = 0;  // the longest tail that begins some stop text
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > hold; --n) {
      if (held_.ends_with(std::string_view(stop).substr(0, n))) hold = n;
    }
  }
  std::string out = held_.substr(0, held_.size() - hold);
  held_.erase(0, out.size());
  return out;
}

std::string StopFilter::Flush() { return std::exchange(held_, {}); }

}  // namespace pith
