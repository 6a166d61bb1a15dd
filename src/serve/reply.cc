#include "serve/reply.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"

namespace pith::serve {
namespace {

// A token as text; one that is no whole text by itself, as OpenAI writes its bytes.
std::string TokenText(const std::string& bytes) {
  if (ValidUtf8Prefix(bytes) == bytes.size()) return bytes;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text = "bytes:";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text += {kHex[byte >> 4], kHex[byte & 15]};
  }
  return text;
}

int64_t CodePoints(const std::string& bytes) {
  return std::ranges::count_if(bytes, [](char c) { return (c & 0xC0) != 0x80; });
}

// Of several tokens with one text, the most likely one is shown.
void Rank(OrderedJson& top, const std::string& text, double logprob) {
  const auto at = top.find(text);
  if (at == top.end() || at->get<double>() < logprob) top[text] = logprob;
}

}  // namespace

OrderedJson ErrorJson(int status, const std::string& message) {
  const char* type = "invalid_request_error";
  if (status == 401) type = "authentication_error";
  if (status == 429) type = "rate_limit_error";
  if (status >= 500) type = "server_error";
  return {{"error", {{"message", message}, {"type", type}, {"param", nullptr}, {"code", status}}}};
}

std::string FinishReason(const std::string& finish) {
  return finish == "end-of-text" || finish == "stop" ? "stop" : "length";
}

void Usage::AddPrompt(const PrefillReport& prefill, int64_t whole_tail) {
  read_ += prefill.tokens;
  kept_ += prefill.rows_left;
  reused_ += prefill.reused;
  const int64_t context = std::max<int64_t>(0, prefill.tokens - whole_tail);
  context_ += context;
  saved_ += prefill.realised * static_cast<double>(context);
}

OrderedJson Usage::ToJson() const {
  const double realised = context_ > 0 ? saved_ / static_cast<double>(context_) : 0;
  return {{"prompt_tokens", read_},
          {"completion_tokens", written_},
          {"total_tokens", read_ + written_},
          {"prompt_tokens_details", {{"cached_tokens", reused_}}},
          {"pith", {{"reduce", reduce_}, {"tokens_kept", kept_}, {"realised", realised}}}};
}

void LogprobsWriter::Open() {
  if (!added_.is_null()) return;
  if (chat_) {
    added_ = {{"content", OrderedJson::array()}};
    return;
  }
  for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
    added_[list] = OrderedJson::array();
  }
}

void LogprobsWriter::AddPrompt(std::span<const int32_t> ids, std::span<const TokenLogprob> scores) {
  const size_t first = ids.size() - scores.size();
  for (size_t i = 0; i < ids.size(); ++i) {
    AddToken(ids[i], i < first ? nullptr : &scores[i - first]);
  }
}

void LogprobsWriter::Add(std::span<const TokenLogprob> tokens) {
  for (const TokenLogprob& token : tokens) AddToken(token.id, &token);
}

OrderedJson LogprobsWriter::ChatToken(int32_t id, double logprob) const {
  const std::string bytes = tokenizer_.TokenBytes(id);
  OrderedJson numbers = OrderedJson::array();
  for (const char c : bytes) numbers.push_back(static_cast<unsigned char>(c));
  return {{"token", TokenText(bytes)}, {"logprob", logprob}, {"bytes", numbers}};
}

void LogprobsWriter::AddToken(int32_t id, const TokenLogprob* score) {
  Open();
  if (chat_) {
    OrderedJson token = ChatToken(id, score->logprob);
    token["top_logprobs"] = OrderedJson::array();
    for (const RankedToken& ranked : score->ranked) {
      token["top_logprobs"].push_back(ChatToken(ranked.id, ranked.logprob));
    }
    added_["content"].push_back(token);
    return;
  }
  const std::string bytes = tokenizer_.TokenBytes(id);
  added_["tokens"].push_back(TokenText(bytes));
  added_["text_offset"].push_back(offset_);
  offset_ += CodePoints(bytes);
  if (score == nullptr) {
    added_["token_logprobs"].push_back(nullptr);
    added_["top_logprobs"].push_back(nullptr);
    return;
  }
  added_["token_logprobs"].push_back(score->logprob);
  OrderedJson top = OrderedJson::object();
  const auto rank = [&](int32_t token, double logprob) {
    Rank(top, TokenText(tokenizer_.TokenBytes(token)), logprob);
  };
  if (top_ == 1) rank(score->top_id, score->top_logprob);
  for (const RankedToken& ranked : score->ranked) rank(ranked.id, ranked.logprob);
  if (top_ > 0) rank(id, score->logprob);  // the token itself is always among them
  added_["top_logprobs"].push_back(std::move(top));
}

OrderedJson LogprobsWriter::Take() { return std::exchange(added_, nullptr); }

OrderedJson ChoiceJson(const ReplyHead& head, size_t index, const std::string& text,
                       OrderedJson logprobs, const std::string& finish) {
  OrderedJson choice = {{"index", index}};
  if (head.chat) {
    choice["message"] = {{"role", "assistant"}, {"content", text}};
  } else {
    choice["text"] = text;
  }
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = finish;
  return choice;
}

OrderedJson DeltaJson(const ReplyHead& head, size_t index, const std::string& text,
                      OrderedJson logprobs, const std::string& finish) {
  OrderedJson choice = {{"index", index}};
  if (head.chat) {
    choice["delta"] = OrderedJson::object();
    if (!text.empty()) choice["delta"]["content"] = text;
  } else {
    choice["text"] = text;
  }
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = finish.empty() ? OrderedJson(nullptr) : OrderedJson(finish);
  return choice;
}

OrderedJson ReplyJson(const ReplyHead& head, OrderedJson choices, bool streams) {
  const char* object = "text_completion";
  if (head.chat) object = streams ? "chat.completion.chunk" : "chat.completion";
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model},
          {"choices", std::move(choices)}};
}

}  // namespace pith::serve
