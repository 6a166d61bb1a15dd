#include "serve/chat_template.h"

#include <algorithm>
#include <cctype>
#include <minja.hpp>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/gguf.h"
#include "core/json.h"

namespace pith::serve {
namespace {

// minja parses by recursion: these bounds, far above those of templates in use, bound its stack.
constexpr size_t kLongestTemplate = 64 << 10;
constexpr size_t kLongestTag = 4000;
constexpr int kDeepestBrackets = 32;
constexpr int kDeepestBlocks = 64;
constexpr int64_t kLargestConfig = 64 << 20;

void CheckTag(std::string_view tag, const std::string& name) {
  Require(tag.size() <= kLongestTag, ErrorCode::kUnsupported, name, ": a tag of ", tag.size(),
          " bytes, expected at most ", kLongestTag);
  int depth = 0;
  for (const char c : tag) {
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    Require(depth <= kDeepestBrackets, ErrorCode::kUnsupported, name,
            ": brackets are nested deeper than ", kDeepestBrackets, " levels");
  }
}

// +1 for a tag that opens a block, −1 for one that closes it.
int BlockStep(std::string_view tag) {
  const size_t at = tag.find_first_not_of("%-+ \t\r\n");
  if (at == std::string_view::npos) return 0;
  const std::string_view words = tag.substr(at);
  if (words.starts_with("end")) return -1;
  const auto begins = [&](std::string_view word) { return words.starts_with(word); };
  const bool block_set = begins("set") && words.find('=') == std::string_view::npos;
  return begins("if") || begins("for") || begins("macro") || begins("call") || begins("filter") ||
                 begins("generation") || block_set
             ? 1
             : 0;
}

void CheckNesting(std::string_view source, const std::string& name) {
  Require(source.size() <= kLongestTemplate, ErrorCode::kUnsupported, name, ": a chat template of ",
          source.size(), " bytes, expected at most ", kLongestTemplate);
  int blocks = 0;
  for (size_t at = source.find('{'); at != std::string_view::npos; at = source.find('{', at)) {
    const char kind = at + 1 < source.size() ? source[at + 1] : '\0';
    const std::string_view end = kind == '{' ? "}}" : kind == '%' ? "%}" : kind == '#' ? "#}" : "";
    ++at;
    if (end.empty()) continue;
    const size_t stop = std::min(source.find(end, at + 1), source.size());
    const std::string_view tag = source.substr(at + 1, stop - at - 1);
    at = stop;
    if (kind == '#') continue;
    CheckTag(tag, name);
    if (kind == '%') blocks += BlockStep(tag);
    Require(blocks <= kDeepestBlocks, ErrorCode::kUnsupported, name,
            ": blocks are nested deeper than ", kDeepestBlocks, " levels");
  }
}

// A special token of tokenizer_config.json: a text, or an object that holds it.
std::string SpecialToken(const JsonReader& config, const char* field) {
  if (!config.Has(field)) return "";
  const Json& token = config.Field(field);
  if (token.is_object()) return JsonReader(token, config.source()).String("content");
  return config.String(field);
}

// A text, or the one of several that is called "default".
std::string TemplateText(const JsonReader& config) {
  if (!config.Has("chat_template")) return "";
  const Json& field = config.Field("chat_template");
  if (!field.is_array()) return config.String("chat_template");
  for (const Json& one : field) {
    const JsonReader named(one, config.source(), "chat_template.");
    if (named.String("name") == "default") return named.String("template");
  }
  config.Fail("chat_template", "a text, or a list that has one named \"default\"");
}

ChatTemplate OfGguf(const std::filesystem::path& model) {
  const MappedFile file(model);
  const Gguf gguf(file.bytes(), model.string());
  if (!gguf.Has("tokenizer.chat_template")) return {};
  const auto token = [&](const char* key) -> std::string {
    if (!gguf.Has(key)) return "";
    const std::vector<std::string_view> tokens = gguf.Strings("tokenizer.ggml.tokens");
    return std::string(tokens[gguf.Int(key, 0, std::ssize(tokens) - 1)]);
  };
  return {std::string(gguf.String("tokenizer.chat_template")), model.string(),
          token("tokenizer.ggml.bos_token_id"), token("tokenizer.ggml.eos_token_id")};
}

std::string PlainRole(const std::string& role) {
  if (role == "developer") return "System";
  std::string name = role;
  name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  return name;
}

}  // namespace

ChatTemplate::ChatTemplate(const std::string& source, const std::string& name, std::string bos,
                           std::string eos)
    : source_(source), bos_(std::move(bos)), eos_(std::move(eos)) {
  CheckNesting(source, name);
  try {
    root_ = minja::Parser::parse(
        source, {.trim_blocks = true, .lstrip_blocks = true, .keep_trailing_newline = false});
  } catch (const std::exception& error) {
    Throw(ErrorCode::kCorruptData, name, ": chat template: ", error.what());
  }
}

ChatTemplate ChatTemplate::Of(const std::filesystem::path& model) {
  if (IsModelFile(model)) return OfGguf(model);
  const std::filesystem::path config_path = model / "tokenizer_config.json";
  const std::filesystem::path own_path = model / "chat_template.jinja";
  std::string source;
  std::string bos;
  std::string eos;
  std::string name = config_path.string();
  if (std::filesystem::exists(config_path)) {
    const Json json = ParseJson(ReadTextFile(config_path, kLargestConfig), name);
    const JsonReader config(json, name);
    bos = SpecialToken(config, "bos_token");
    eos = SpecialToken(config, "eos_token");
    source = TemplateText(config);
  }
  if (std::filesystem::exists(own_path)) {
    name = own_path.string();
    source = ReadTextFile(own_path, kLargestConfig);
  }
  if (source.empty()) return {};
  return {source, name, bos, eos};
}

std::string ChatTemplate::Render(std::span<const ChatMessage> messages) const {
  if (plain()) {
    std::string text;
    for (const ChatMessage& message : messages) {
      text += PlainRole(message.role) + ": " + message.content + "\n\n";
    }
    return text + "Assistant:";
  }
  OrderedJson values = {{"messages", OrderedJson::array()},
                        {"add_generation_prompt", true},
                        {"bos_token", bos_},
                        {"eos_token", eos_}};
  for (const ChatMessage& message : messages) {
    values["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  try {
    const auto context = minja::Context::make(minja::Value(values));
    return static_cast<const minja::TemplateNode*>(root_.get())->render(context);
  } catch (const std::exception& error) {
    Throw(ErrorCode::kInvalidArgument,
          "messages: the model's chat template refuses them: ", error.what());
  }
}

std::vector<std::string> ChatTemplate::Stops() const {
  if (plain()) return {"\nUser:", "\nSystem:"};
  return {};
}

}  // namespace pith::serve
