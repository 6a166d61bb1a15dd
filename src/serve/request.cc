#include "serve/request.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/nearest.h"

namespace pith::serve {
namespace {

constexpr char kSource[] = "request";
constexpr int kDeepest = 32;

// Fields of both requests, of each, and those that change nothing here.
const std::vector<std::string> kCommon = {
    "model", "n",    "max_tokens", "temperature", "top_p",          "top_k", "min_p",
    "seed",  "stop", "stream",     "logprobs",    "stream_options", "pith"};
const std::vector<std::string> kOfCompletion = {"prompt", "echo"};
const std::vector<std::string> kOfChat = {"messages", "max_completion_tokens", "top_logprobs"};
const std::vector<std::string> kWithoutEffect = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"};
// Fields that have one value alone at which they change nothing.
const std::vector<std::pair<std::string, Json>> kNeutral = {
    {"presence_penalty", 0},
    {"frequency_penalty", 0},
    {"best_of", 1},
    {"suffix", ""},
    {"logit_bias", Json::object()},
    {"tools", Json::array()},
    {"functions", Json::array()},
    {"tool_choice", "none"},
    {"parallel_tool_calls", true},
    {"response_format", {{"type", "text"}}}};

bool Holds(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

void CheckFields(const JsonReader& reader, const std::vector<std::string>& own) {
  for (const auto& [name, value] : reader.object().items()) {
    if (value.is_null() || Holds(kCommon, name) || Holds(own, name) ||
        Holds(kWithoutEffect, name)) {
      continue;
    }
    const auto neutral = std::ranges::find(kNeutral, name, &std::pair<std::string, Json>::first);
    if (neutral == kNeutral.end()) {
      std::vector<std::string> known = kCommon;
      known.insert(known.end(), own.begin(), own.end());
      Throw(ErrorCode::kInvalidArgument, kSource, ": ", name, ": no such field",
            DidYouMean(name, known));
    }
    // What is null, or what the text has anyway, asks for nothing.
    Require(value == neutral->second, ErrorCode::kInvalidArgument, kSource, ": ", name, ": got ",
            Excerpt(value.dump()), ", expected nothing or ", neutral->second.dump(),
            ": pith does not have it");
  }
}

int32_t TokenId(const Json& value, const JsonReader& reader, const char* field) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(kMost)) ||
      value.get<int64_t>() < 0) {
    Throw(ErrorCode::kInvalidArgument, reader.source(), ": ", field, ": got ",
          Excerpt(value.dump()), ", expected token ids, whole numbers of 0 to ", kMost);
  }
  return static_cast<int32_t>(value.get<int64_t>());
}

std::vector<int32_t> TokenIds(const Json& array, const JsonReader& reader, const char* field) {
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (const Json& value : array) ids.push_back(TokenId(value, reader, field));
  return ids;
}

// A string, strings, ids, or arrays of ids.
std::vector<Prompt> Prompts(const JsonReader& reader) {
  const Json& prompt = reader.Field("prompt");
  if (prompt.is_string()) return {prompt.get<std::string>()};
  if (!prompt.is_array() || prompt.empty()) {
    reader.Fail("prompt", "a text, token ids, or a list of either, none of them empty");
  }
  if (prompt.front().is_number()) return {TokenIds(prompt, reader, "prompt")};
  Require(std::ssize(prompt) <= kMostPrompts, ErrorCode::kInvalidArgument, reader.source(),
          ": prompt: got ", prompt.size(), " prompts, expected at most ", kMostPrompts);
  std::vector<Prompt> prompts;
  for (const Json& one : prompt) {
    if (one.is_string() && prompt.front().is_string()) {
      prompts.emplace_back(one.get<std::string>());
    } else if (one.is_array() && prompt.front().is_array()) {
      prompts.emplace_back(TokenIds(one, reader, "prompt"));
    } else {
      reader.Fail("prompt", "a list whose members are all texts, or all lists of token ids");
    }
  }
  return prompts;
}

// A text, or the texts of a list of parts.
std::string Content(const JsonReader& message) {
  if (!message.Has("content")) return "";  // an assistant's may be null
  const Json& content = message.Field("content");
  if (content.is_string()) return content.get<std::string>();
  constexpr char kExpected[] = R"(a text, or a list of {"type": "text", "text": …})";
  if (!content.is_array()) message.Fail("content", kExpected);
  std::string text;
  for (const Json& part : content) {
    if (!part.is_object()) message.Fail("content", kExpected);
    const JsonReader reader(part, message.source(), "content.");
    if (reader.String("type") != "text") reader.Fail("type", "\"text\"");
    text += reader.String("text");
  }
  return text;
}

std::vector<ChatMessage> Messages(const JsonReader& reader) {
  const Json& messages = reader.Field("messages");
  if (!messages.is_array() || messages.empty() || std::ssize(messages) > kMostPrompts) {
    reader.Fail("messages", StrCat("a list of 1 to ", kMostPrompts, " messages"));
  }
  std::vector<ChatMessage> chat;
  for (const Json& one : messages) {
    const JsonReader message(one, StrCat(kSource, ": messages[", chat.size(), "]"));
    const std::string role = message.String("role");
    const std::vector<std::string> roles = {"system", "developer", "user", "assistant", "tool"};
    if (!Holds(roles, role)) message.Fail("role", "system, developer, user, assistant or tool");
    if (message.Has("tool_calls")) message.Fail("tool_calls", "nothing: pith does not have it");
    chat.push_back({role, Content(message)});
  }
  return chat;
}

std::vector<std::string> Stops(const JsonReader& reader) {
  if (!reader.Has("stop")) return {};
  const Json& stop = reader.Field("stop");
  const std::string expected =
      StrCat("a text or at most ", kMostStops, " of them, each of 1 to ", kLongestStop, " bytes");
  std::vector<std::string> stops;
  if (stop.is_string()) stops.push_back(stop.get<std::string>());
  if (!stop.is_string() && !stop.is_array()) reader.Fail("stop", expected);
  if (stop.is_array()) {
    Require(std::ssize(stop) <= kMostStops, ErrorCode::kInvalidArgument, reader.source(),
            ": stop: got ", stop.size(), " texts, expected ", expected);
    for (const Json& one : stop) {
      if (!one.is_string()) reader.Fail("stop", expected);
      stops.push_back(one.get<std::string>());
    }
  }
  for (const std::string& one : stops) {
    if (one.empty() || one.size() > kLongestStop) reader.Fail("stop", expected);
  }
  return stops;
}

std::string StateName(const JsonReader& own, const char* field) {
  std::string name = own.String(field, "");
  if (!name.empty() && !IsStateName(name)) {
    own.Fail(field,
             StrCat("a name of at most ", kLongestStateName,
                    " letters, digits, '.', '_' and '-', which begins with one of the first two"));
  }
  return name;
}

void ReadOwnField(const JsonReader& reader, GenerationRequest& request) {
  if (!reader.Has("pith")) return;
  const JsonReader own(reader.Field("pith"), kSource, "pith.");
  const std::vector<std::string> known = {"reduce", "protect", "piece", "load_state", "save_state"};
  for (const auto& [name, value] : own.object().items()) {
    Require(Holds(known, name), ErrorCode::kInvalidArgument, kSource, ": pith.", name,
            ": no such field, expected reduce, protect, piece, load_state or save_state",
            DidYouMean(name, known));
  }
  if (own.Has("reduce")) request.reduction = ParseReduction(own.String("reduce"));
  if (own.Has("protect")) {
    request.reduction.protect = own.Int("protect", 0, std::numeric_limits<int32_t>::max());
  }
  if (own.Has("piece")) request.reduction.piece = PieceOf(own);
  request.load_state = StateName(own, "load_state");
  request.save_state = StateName(own, "save_state");
}

// A state is one text's, and only a text that is read whole goes on from one.
void CheckStates(const GenerationRequest& request) {
  const bool named = !request.load_state.empty() || !request.save_state.empty();
  Require(!named || !request.chat, ErrorCode::kInvalidArgument, kSource,
          ": pith: got load_state or save_state in a chat, expected them in completions alone: a "
          "chat is sent whole, and what was read of it before is not read again");
  Require(request.save_state.empty() || (request.n == 1 && request.prompts.size() == 1),
          ErrorCode::kInvalidArgument, kSource, ": pith.save_state: got ", request.prompts.size(),
          " prompts and n = ", request.n, ", expected one text, whose state it is");
  Require(request.load_state.empty() || !request.echo || request.logprobs < 0,
          ErrorCode::kInvalidArgument, kSource,
          ": pith.load_state: expected nothing with both echo and logprobs");
}

void ReadCommon(const JsonReader& reader, GenerationRequest& request) {
  request.model = reader.String("model", "");
  request.reduction = TakeReduction(request.model);
  ReadOwnField(reader, request);
  request.n = reader.Int("n", 1, kMostChoices, 1);
  if (reader.Has("max_tokens")) request.max_tokens = reader.Int("max_tokens", 0, kMostNewTokens);
  request.sampling.temperature = reader.Number("temperature", 1);
  request.sampling.top_p = reader.Number("top_p", 1);
  request.sampling.min_p = reader.Number("min_p", 0);
  // Clients of other servers say −1 for "all".
  request.sampling.top_k =
      std::max<int64_t>(0, reader.Int("top_k", -1, std::numeric_limits<int32_t>::max(), 0));
  if (reader.Has("seed")) {
    request.seed = static_cast<uint64_t>(reader.Int("seed", std::numeric_limits<int64_t>::min(),
                                                    std::numeric_limits<int64_t>::max()));
  }
  request.stop = Stops(reader);
  request.stream = reader.Bool("stream", false);
  if (reader.Has("stream_options")) {
    const JsonReader options(reader.Field("stream_options"), kSource, "stream_options.");
    request.include_usage = options.Bool("include_usage", false);
  }
}

}  // namespace

GenerationRequest ParseCompletion(std::string_view body) {
  const Json json = ParseJson(body, kSource, kDeepest);
  const JsonReader reader(json, kSource);
  CheckFields(reader, kOfCompletion);
  GenerationRequest request;
  ReadCommon(reader, request);
  request.prompts = Prompts(reader);
  request.echo = reader.Bool("echo", false);
  request.logprobs = reader.Int("logprobs", 0, kMostLogprobs, -1);
  Require(!request.echo || !request.stream || request.logprobs < 0, ErrorCode::kInvalidArgument,
          kSource, ": stream: got true, expected false with both echo and logprobs");
  Require(!request.echo || request.logprobs <= 1, ErrorCode::kInvalidArgument, kSource,
          ": logprobs: got ", request.logprobs, ", expected 0 or 1 with echo");
  CheckStates(request);
  return request;
}

GenerationRequest ParseChat(std::string_view body) {
  const Json json = ParseJson(body, kSource, kDeepest);
  const JsonReader reader(json, kSource);
  CheckFields(reader, kOfChat);
  GenerationRequest request{.chat = true};
  ReadCommon(reader, request);
  request.messages = Messages(reader);
  if (reader.Has("max_completion_tokens")) {
    request.max_tokens = reader.Int("max_completion_tokens", 0, kMostNewTokens);
  }
  const int64_t top = reader.Int("top_logprobs", 0, kMostLogprobs, 0);
  if (reader.Bool("logprobs", false)) {
    request.logprobs = top;
  } else {
    Require(top == 0, ErrorCode::kInvalidArgument, kSource, ": top_logprobs: got ", top,
            ", expected 0 without \"logprobs\": true");
  }
  CheckStates(request);
  return request;
}

TokenizeRequest ParseTokenize(std::string_view body) {
  const Json json = ParseJson(body, kSource, kDeepest);
  const JsonReader reader(json, kSource);
  return {.prompt = reader.String("prompt"),
          .add_special_tokens = reader.Bool("add_special_tokens", true)};
}

std::vector<int32_t> ParseDetokenize(std::string_view body) {
  const Json json = ParseJson(body, kSource, kDeepest);
  const JsonReader reader(json, kSource);
  if (!reader.Field("tokens").is_array()) reader.Fail("tokens", "a list of token ids");
  return TokenIds(reader.Field("tokens"), reader, "tokens");
}

}  // namespace pith::serve
