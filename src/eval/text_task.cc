#include "eval/text_task.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/xz.h"

namespace pith {
namespace {

constexpr std::string_view kBlanks = " \t\n\v\f\r";

// The harness keeps the last tokens of a pair that is too long; the model reads all but the last
// of them.
void CutLeft(ScoreItem& item, int64_t max_tokens) {
  const auto length = static_cast<int64_t>(item.context.size() + item.continuation.size());
  const int64_t cut = std::min<int64_t>(length - max_tokens - 1, item.context.size());
  if (cut > 0) item.context.erase(item.context.begin(), item.context.begin() + cut);
}

TaskItem Encode(const Engine& engine, const TextDocument& document, const TaskOptions& options) {
  TaskItem item{.id = std::to_string(document.line), .requests = {}, .gold = document.gold};
  for (const TextRequest& request : document.requests) {
    item.requests.push_back(engine.EncodePair(request.context, request.continuation, options.bos));
    CutLeft(item.requests.back(), options.max_tokens);
    item.choice_lengths.push_back(CountCodePoints(request.choice));
  }
  return item;
}

}  // namespace

std::vector<TextDocument> TextTask::Load(const std::filesystem::path& data, int64_t limit) const {
  const std::filesystem::path path = data / file();
  const std::string content = ReadDataFile(path);
  std::vector<TextDocument> documents;
  std::string_view rest = content;
  for (int64_t line = 1; !rest.empty() && (limit == 0 || line <= limit); ++line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string source = StrCat(path.string(), ":", line);
    const Json row = ParseJson(rest.substr(0, end), source);
    documents.push_back(Parse(JsonReader(row, source)));
    documents.back().line = line;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  Require(!documents.empty(), ErrorCode::kCorruptData, path.string(),
          ": no items, expected one a line");
  return documents;
}

std::vector<TaskItem> TextTask::MakeItems(const Engine& engine, const TaskOptions& options) const {
  Require(options.max_tokens >= 1, ErrorCode::kInvalidArgument, "max_tokens: got ",
          options.max_tokens, ", expected at least 1");
  std::vector<TaskItem> items;
  for (const TextDocument& document : Load(options.data, options.limit)) {
    items.push_back(Encode(engine, document, options));
  }
  return items;
}

ChoiceTask::ChoiceTask(Headline headline) {
  metrics_.push_back({.name = "acc",
                      .meaning = "share of questions whose right choice is the likeliest",
                      .headline = headline != Headline::kAccNorm});
  if (headline == Headline::kAccOnly) return;
  metrics_.push_back({.name = "acc_norm",
                      .meaning = "the same by log-likelihood per code point of the choice",
                      .headline = headline == Headline::kAccNorm});
}

std::vector<Share> ChoiceTask::Measure(const TaskItem& item,
                                       std::span<const ScoreResult> results) const {
  PITH_CHECK(results.size() == item.requests.size() && !results.empty());
  size_t best = 0;
  size_t best_norm = 0;
  const auto norm = [&](size_t i) {
    return results[i].logprob / static_cast<double>(item.choice_lengths[i]);
  };
  for (size_t i = 1; i < results.size(); ++i) {
    if (results[i].logprob > results[best].logprob) best = i;
    if (metrics_.size() > 1 && norm(i) > norm(best_norm)) best_norm = i;
  }
  const auto right = [&](size_t i) {
    return Share{static_cast<int64_t>(i) == item.gold ? 1. : 0.};
  };
  std::vector<Share> shares = {right(best)};
  if (metrics_.size() > 1) shares.push_back(right(best_norm));
  return shares;
}

std::vector<TextRequest> ChoiceRequests(const std::string& context,
                                        const std::vector<std::string>& choices) {
  std::vector<TextRequest> requests;
  for (const std::string& choice : choices) requests.push_back({context, " " + choice, choice});
  return requests;
}

std::vector<std::string> ReadStrings(const JsonReader& row, const char* field) {
  const Json& list = row.Field(field);
  if (!list.is_array() || list.size() < 2) row.Fail(field, "a list of at least two texts");
  std::vector<std::string> texts;
  for (const Json& entry : list) {
    if (!entry.is_string() || entry.get_ref<const std::string&>().empty()) {
      row.Fail(field, "texts that are not empty");
    }
    texts.push_back(entry);
  }
  return texts;
}

std::string_view Strip(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

int64_t CountCodePoints(std::string_view utf8) {
  return std::ranges::count_if(utf8, [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace pith
