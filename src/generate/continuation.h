// One text that is being generated: how tokens are drawn, what they say, and when it ends.
#ifndef PITH_GENERATE_CONTINUATION_H_
#define PITH_GENERATE_CONTINUATION_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "generate/sampler.h"
#include "generate/stop.h"
#include "pith/options.h"
#include "pith/results.h"
#include "tokenize/tokenizer.h"

namespace pith {

// Throws kInvalidArgument for an option out of range, as Continuation's constructor would.
void CheckGenerateOptions(const GenerateOptions& options, int64_t vocab_size);

class Continuation {
 public:
  // `text` is what the repetition penalty has seen. Any of `end_of_text` ends the output where the
  // options say so. Tokenizer, end_of_text and options must outlive it.
  Continuation(const Tokenizer& tokenizer, std::span<const int32_t> end_of_text,
               const GenerateOptions& options, std::span<const int32_t> text, int64_t vocab_size);

  // Whether another token is wanted. Ends the text with "length" where it has all it may have.
  bool WantsToken();
  // What the next token is drawn by, from the logits that follow the text.
  DrawRow NextDraw() { return sampler_.Next(); }
  // Goes on with what DrawTokens gave for it, and passes on the text that became final. Returns
  // the token. Throws kCorruptData where it gave none. Allocates nothing but room for text that
  // grows.
  int32_t Take(int32_t drawn);

  // How many of the most likely tokens are listed with each token; −1: nothing is.
  int64_t logprobs() const { return options_.logprobs; }
  // What the token that is taken next was drawn from.
  void AddLogprob(TokenLogprob logprob) { result_.logprobs.push_back(std::move(logprob)); }
  // What was written so far.
  const GenerateResult& so_far() const { return result_; }
  // Ends a text that wants more.
  void End(std::string finish);

  // ids, text, finish and decode_seconds, once no token is wanted any more.
  GenerateResult TakeResult();

 private:
  void Emit(std::string_view piece);

  const GenerateOptions& options_;
  std::span<const int32_t> end_of_text_;
  Sampler sampler_;
  StreamDecoder decoder_;
  StopFilter filter_;
  bool refused_ = false;  // on_text wants no more
  GenerateResult result_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace pith

#endif  // PITH_GENERATE_CONTINUATION_H_
