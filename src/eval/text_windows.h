// Windows of long texts: contexts of one length, each with the tail that is scored.
#ifndef PITH_EVAL_TEXT_WINDOWS_H_
#define PITH_EVAL_TEXT_WINDOWS_H_

#include <cstdint>
#include <filesystem>
#include <vector>

#include "eval/task.h"

namespace pith {

// TaskOptions::text, or the shipped text where that is empty.
std::filesystem::path TextPath(const TaskOptions& options);

// Its documents, as ids.
std::vector<std::vector<int32_t>> ReadTokens(const Engine& engine, const TaskOptions& options);

// Where a window stands: `begin` is the first of its ids; the end-of-text token precedes it and
// counts as one of its `context` tokens.
struct TextWindow {
  size_t document = 0;
  int64_t begin = 0;
};

// Every window that a document holds whole, at steps of the tail, so that no token is scored twice;
// with a limit, that many of them at even distances. Throws kInvalidArgument where the lengths are
// below 2 and 1, and where no document holds a window.
std::vector<TextWindow> StridedWindows(const std::vector<std::vector<int32_t>>& documents,
                                       const TaskOptions& options);

// The window as one request; id "DOCUMENT:BEGIN".
TaskItem WindowItem(const Engine& engine, const std::vector<std::vector<int32_t>>& documents,
                    const TextWindow& window, const TaskOptions& options);

}  // namespace pith

#endif  // PITH_EVAL_TEXT_WINDOWS_H_
