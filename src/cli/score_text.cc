#include "cli/score_text.h"

#include <cstdio>

#include "cli/text.h"

namespace pith::cli {
namespace {

std::string TokenText(const Engine& engine, int32_t id) { return engine.Detokenize({&id, 1}); }

// Nats a token, or "-" where no token was scored.
std::string Mean(double logprob, int64_t tokens) {
  return tokens > 0 ? Fixed(logprob / tokens, 4) : "-";
}

}  // namespace

OrderedJson ScoreJson(const ScoreResult& result, const Engine& engine) {
  OrderedJson json = {{"logprob", result.logprob},
                      {"tokens", result.tokens},
                      {"greedy", result.greedy},
                      {"greedy_tokens", result.greedy_tokens},
                      {"context_tokens", result.context_tokens},
                      {"realised", result.realised}};
  if (result.token_logprobs.empty()) return json;
  OrderedJson& list = json["token_logprobs"] = OrderedJson::array();
  for (const TokenLogprob& token : result.token_logprobs) {
    list.push_back({{"id", token.id},
                    {"text", TokenText(engine, token.id)},
                    {"logprob", token.logprob},
                    {"top",
                     {{"id", token.top_id},
                      {"text", TokenText(engine, token.top_id)},
                      {"logprob", token.top_logprob}}}});
  }
  return json;
}

std::string ScoreText(const ScoreResult& result) {
  Fields fields;
  fields.Add("logprob", Fixed(result.logprob, 6) + " nats");
  fields.Add("  a token", Mean(result.logprob, result.tokens));
  fields.Add("tokens", Grouped(result.tokens) + " scored, " + Grouped(result.greedy_tokens) +
                           " of them the most likely");
  fields.Add("greedy", result.greedy ? "yes" : "no");
  fields.Add("context", Grouped(result.context_tokens) + " tokens, realised reduction " +
                            Percent(result.realised));
  return fields.ToString();
}

std::string LogprobsText(const ScoreResult& result, const Engine& engine) {
  Table table({{"id"},
               {"text", Align::kLeft},
               {"logprob"},
               {"top id"},
               {"top", Align::kLeft},
               {"top logprob"}});
  const auto shown = [&](int32_t id) { return Quoted(TokenText(engine, id)); };
  for (const TokenLogprob& token : result.token_logprobs) {
    table.AddRow({std::to_string(token.id), shown(token.id), Fixed(token.logprob, 4),
                  std::to_string(token.top_id), shown(token.top_id), Fixed(token.top_logprob, 4)});
  }
  return table.ToString();
}

std::string ItemHeader() { return "    line       logprob  tokens  greedy  context  realised\n"; }

std::string ItemText(int64_t line, const ScoreResult& result) {
  char buffer[128];
  const int length = std::snprintf(
      buffer, sizeof buffer, "%8lld  %12.6f  %6lld  %6s  %7lld  %8s\n",
      static_cast<long long>(line), result.logprob, static_cast<long long>(result.tokens),
      result.greedy ? "yes" : "no", static_cast<long long>(result.context_tokens),
      Percent(result.realised).c_str());
  return std::string(buffer, length);
}

void ScoreSummary::Add(const ScoreResult& result) {
  ++items_;
  tokens_ += result.tokens;
  context_tokens_ += result.context_tokens;
  greedy_ += result.greedy;
  logprob_ += result.logprob;
  realised_ += result.realised;
}

std::string ScoreSummary::ToText(double seconds) const {
  Fields fields;
  fields.Add("items", Grouped(items_) + ", " + Grouped(greedy_) + " greedy");
  fields.Add("logprob", Fixed(logprob_, 6) + " nats, " + Mean(logprob_, tokens_) + " a token");
  fields.Add("tokens", Grouped(tokens_) + " scored after " + Grouped(context_tokens_) +
                           " of context (realised reduction " +
                           Percent(items_ > 0 ? realised_ / items_ : 0) + " on average)");
  fields.Add("time", Fixed(seconds, 2) + " s, " + PerSecond(tokens_ + context_tokens_, seconds));
  return fields.ToString();
}

}  // namespace pith::cli
