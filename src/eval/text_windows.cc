#include "eval/text_windows.h"

#include "core/error.h"
#include "eval/data.h"

namespace pith {

std::filesystem::path TextPath(const TaskOptions& options) {
  return options.text.empty() ? options.data / "text/heldout-1mb.txt.xz" : options.text;
}

std::vector<std::vector<int32_t>> ReadTokens(const Engine& engine, const TaskOptions& options) {
  std::vector<std::vector<int32_t>> documents;
  for (const std::string& document : ReadDocuments(TextPath(options))) {
    documents.push_back(engine.Tokenize(document));
  }
  return documents;
}

std::vector<TextWindow> StridedWindows(const std::vector<std::vector<int32_t>>& documents,
                                       const TaskOptions& options) {
  constexpr int64_t kMost = int64_t{1} << 30;
  Require(options.context >= 2 && options.context <= kMost, ErrorCode::kInvalidArgument,
          "context: got ", options.context, ", expected 2 to ", kMost);
  Require(options.tail >= 1 && options.tail <= kMost, ErrorCode::kInvalidArgument, "tail: got ",
          options.tail, ", expected 1 to ", kMost);
  std::vector<TextWindow> all;
  for (size_t d = 0; d < documents.size(); ++d) {
    const auto tokens = static_cast<int64_t>(documents[d].size());
    for (int64_t begin = 0; tokens - begin >= options.context - 1 + options.tail;
         begin += options.tail) {
      all.push_back({d, begin});
    }
  }
  Require(!all.empty(), ErrorCode::kInvalidArgument, "windows: got no document of ",
          options.context - 1 + options.tail, " tokens, expected one at least in ",
          TextPath(options).string());
  const auto count = static_cast<int64_t>(all.size());
  if (options.limit == 0 || options.limit >= count) return all;
  std::vector<TextWindow> some;
  for (int64_t i = 0; i < options.limit; ++i) some.push_back(all[i * count / options.limit]);
  return some;
}

TaskItem WindowItem(const Engine& engine, const std::vector<std::vector<int32_t>>& documents,
                    const TextWindow& window, const TaskOptions& options) {
  const auto begin = documents[window.document].begin() + window.begin;
  const auto border = begin + options.context - 1;
  ScoreItem request{.context = engine.Tokenize("", true), .continuation = {}};
  request.context.insert(request.context.end(), begin, border);
  request.continuation.assign(border, border + options.tail);
  return {.id = StrCat(window.document, ":", window.begin), .requests = {std::move(request)}};
}

}  // namespace pith
