// Answers in OpenAI's shapes.
#ifndef PITH_SERVE_REPLY_H_
#define PITH_SERVE_REPLY_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "pith/results.h"
#include "pith/scheduler.h"
#include "pith/tokenizer.h"

namespace pith::serve {

// What all pieces of an answer share.
struct ReplyHead {
  bool chat = false;
  std::string id;
  int64_t created = 0;  // seconds since 1970
  std::string model;    // as the client named it
};

OrderedJson ErrorJson(int status, const std::string& message);

// "stop" or "length".
std::string FinishReason(const std::string& finish);

// What was read and written, over the texts of a request. Each prompt counts once, whatever n is.
class Usage {
 public:
  explicit Usage(std::string reduce) : reduce_(std::move(reduce)) {}
  // `whole_tail`: tokens of the prompt that were no part of its context.
  void AddPrompt(const PrefillReport& prefill, int64_t whole_tail);
  void AddText(const GenerateResult& text) { written_ += std::ssize(text.ids); }
  OrderedJson ToJson() const;

 private:
  std::string reduce_;
  int64_t read_ = 0;
  int64_t kept_ = 0;
  int64_t reused_ = 0;
  int64_t context_ = 0;
  double saved_ = 0;  // of the contexts, in tokens
  int64_t written_ = 0;
};

// The log-probabilities of one text as they come, in the shape of its kind of request.
class LogprobsWriter {
 public:
  // `top`: how many of the most likely tokens are listed.
  LogprobsWriter(const Tokenizer& tokenizer, bool chat, int64_t top)
      : tokenizer_(tokenizer), chat_(chat), top_(top) {}

  // A prompt's tokens, the last of which have `scores`; of a completion alone.
  void AddPrompt(std::span<const int32_t> ids, std::span<const TokenLogprob> scores);
  void Add(std::span<const TokenLogprob> tokens);
  // What was added since the last call; null: nothing.
  OrderedJson Take();

 private:
  void Open();
  void AddToken(int32_t id, const TokenLogprob* score);
  OrderedJson ChatToken(int32_t id, double logprob) const;

  const Tokenizer& tokenizer_;
  bool chat_;
  int64_t top_;
  int64_t offset_ = 0;  // code points of the text so far
  OrderedJson added_;
};

// A whole choice, and one of a stream; `finish` empty: there is more to come.
OrderedJson ChoiceJson(const ReplyHead& head, size_t index, const std::string& text,
                       OrderedJson logprobs, const std::string& finish);
OrderedJson DeltaJson(const ReplyHead& head, size_t index, const std::string& text,
                      OrderedJson logprobs, const std::string& finish);
// The answer or piece around its choices.
OrderedJson ReplyJson(const ReplyHead& head, OrderedJson choices, bool streams);

}  // namespace pith::serve

#endif  // PITH_SERVE_REPLY_H_
