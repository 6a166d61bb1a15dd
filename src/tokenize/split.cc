#include "tokenize/split.h"

#include <string>
#include <utility>

#include "core/error.h"

namespace pith {

SplitBehavior ReadSplitBehavior(const Component& component, const char* field) {
  constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  const std::string name = component->String(field);
  std::string known;
  for (const auto& [candidate, behavior] : kNames) {
    if (candidate == name) return behavior;
    known += StrCat(known.empty() ? "\"" : ", \"", candidate, "\"");
  }
  component.Unsupported(field, known);
}

void Splitter::Emit(const Span& span) const {
  if (span.begin < span.end) piece_(text_.substr(span.begin, span.end - span.begin));
}

bool Splitter::Joins(const Span& span) const {
  if (!has_waiting_) return false;
  switch (behavior_) {
    case SplitBehavior::kMergedWithPrevious:
      return span.is_match && !after_match_;
    case SplitBehavior::kMergedWithNext:
      return !span.is_match && after_match_;
    case SplitBehavior::kContiguous:
      return span.is_match == after_match_;
    default:
      return false;
  }
}

void Splitter::Add(Span span) {
  if (behavior_ == SplitBehavior::kIsolated) return Emit(span);
  if (behavior_ == SplitBehavior::kRemoved) {
    if (!span.is_match) Emit(span);
    return;
  }
  if (Joins(span)) {
    waiting_.end = span.end;
  } else {
    Finish();
    waiting_ = span;
    has_waiting_ = true;
  }
  after_match_ = span.is_match;
}

void Splitter::Finish() {
  if (has_waiting_) Emit(waiting_);
  has_waiting_ = false;
}

}  // namespace pith
