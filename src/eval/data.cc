#include "eval/data.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/xz.h"

namespace pith {
namespace {

std::vector<std::string_view> Split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + separator.size());
  }
}

RecallItem ParseRecall(std::string_view line, const std::string& source) {
  const Json json = ParseJson(line, source);
  const JsonReader item(json, source);
  RecallItem out{.context = item.String("context"), .questions = {}};
  if (!item.Field("questions").is_array()) item.Fail("questions", "a list");
  for (const Json& entry : item.Field("questions")) {
    const JsonReader question(entry, source, "questions.");
    // Else its first token could join the prompt's last one, and bytes would be lost.
    if (!question.String("answer").starts_with(' ')) question.Fail("answer", "a leading blank");
    out.questions.push_back({.prompt = question.String("prompt"),
                             .answer = question.String("answer"),
                             .depth = question.Number("depth", 0)});
  }
  return out;
}

size_t CommonPrefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

std::vector<std::string> ReadDocuments(const std::filesystem::path& path) {
  std::vector<std::string> documents;
  const std::string text = ReadDataFile(path);
  for (const std::string_view part : Split(text, "\n<|endoftext|>\n")) documents.emplace_back(part);
  return documents;
}

std::vector<RecallItem> ReadRecall(const std::filesystem::path& path) {
  const std::string text = ReadDataFile(path);
  std::vector<RecallItem> items;
  int64_t number = 0;
  for (const std::string_view line : Split(text, "\n")) {
    ++number;
    if (!line.empty()) items.push_back(ParseRecall(line, StrCat(path.string(), ":", number)));
  }
  return items;
}

RecallSet MakeRecall(const Engine& engine, const std::vector<RecallItem>& contexts) {
  RecallSet set;
  for (const RecallItem& item : contexts) {
    std::vector<std::vector<int32_t>> texts;
    // Tokens may join over the border of context and prompt: the context ends where the ids of the
    // whole text still agree with its own, for all questions alike, so that they share it.
    std::vector<int32_t> context = engine.Tokenize(item.context, true);
    for (const RecallItem::Question& question : item.questions) {
      const std::string asked = item.context + question.prompt;
      ScoreItem pair = engine.EncodePair(asked, question.answer, true);
      set.answer_tokens.push_back(static_cast<int64_t>(pair.continuation.size()));
      set.depths.push_back(question.depth);
      texts.push_back(std::move(pair.context));
      context.resize(CommonPrefix(context, texts.back()));
      texts.back().insert(texts.back().end(), pair.continuation.begin(), pair.continuation.end());
    }
    for (const std::vector<int32_t>& text : texts) {
      set.items.push_back(
          {context, {text.begin() + static_cast<int64_t>(context.size()), text.end()}});
    }
  }
  return set;
}

}  // namespace pith
