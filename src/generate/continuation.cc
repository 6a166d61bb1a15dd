#include "generate/continuation.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace pith {

void CheckGenerateOptions(const GenerateOptions& options, int64_t vocab_size) {
  Require(options.max_tokens >= 0, ErrorCode::kInvalidArgument, "max-tokens: got ",
          options.max_tokens, ", expected at least 0");
  Require(options.logprobs >= -1 && options.logprobs <= vocab_size, ErrorCode::kInvalidArgument,
          "logprobs: got ", options.logprobs, ", expected -1 to ", vocab_size);
  [[maybe_unused]] const Sampler sampler(options.sampling, vocab_size);
  [[maybe_unused]] const StopFilter filter(options.stop);
}

Continuation::Continuation(const Tokenizer& tokenizer, std::span<const int32_t> end_of_text,
                           const GenerateOptions& options, std::span<const int32_t> text,
                           int64_t vocab_size)
    : options_(options),
      end_of_text_(end_of_text),
      sampler_(options.sampling, vocab_size),
      decoder_(tokenizer, /*skip_special=*/false, /*continues=*/true),
      filter_(options.stop) {
  constexpr int64_t kMostReserved = 1 << 16;
  const int64_t most = std::clamp<int64_t>(options.max_tokens, 0, kMostReserved);
  constexpr int64_t kBytesPerToken = 8;  // more than most texts need
  result_.ids.reserve(most);
  result_.text.reserve(most * kBytesPerToken);
  sampler_.Observe(text);
}

bool Continuation::WantsToken() {
  if (result_.finish.empty() && std::ssize(result_.ids) == options_.max_tokens) {
    result_.finish = "length";
  }
  return result_.finish.empty();
}

int32_t Continuation::Take(int32_t drawn) {
  const int32_t id = Sampler::RequireSound(drawn);
  sampler_.Observe({&id, 1});
  result_.ids.push_back(id);
  if (options_.stop_at_end_of_text && std::ranges::count(end_of_text_, id) > 0) {
    result_.finish = "end-of-text";
    return id;
  }
  Emit(filter_.Push(decoder_.Push(id)));
  if (filter_.stopped()) {
    result_.finish = "stop";
  } else if (refused_) {
    result_.finish = "stopped";
  } else if (options_.control.cancel != nullptr && options_.control.cancel->load()) {
    result_.finish = "cancelled";
  }
  return id;
}

void Continuation::End(std::string finish) {
  PITH_CHECK(result_.finish.empty() && !finish.empty());
  result_.finish = std::move(finish);
}

GenerateResult Continuation::TakeResult() {
  PITH_CHECK(!result_.finish.empty());
  Emit(filter_.Push(decoder_.Finish()));
  if (!filter_.stopped()) Emit(filter_.Flush());
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  result_.decode_seconds = elapsed.count();
  return std::move(result_);
}

void Continuation::Emit(std::string_view piece) {
  if (piece.empty() || refused_) return;
  result_.text += piece;
  if (options_.on_text && !options_.on_text(piece)) refused_ = true;
}

}  // namespace pith
