#include "generate/generate.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/error.h"
#include "generate/sampler.h"
#include "generate/stop.h"
#include "model/step.h"

namespace pith {
namespace {

// Turns tokens into final text, up to a stop text, and hands it on.
class TextOutput {
 public:
  TextOutput(const Tokenizer& tokenizer, const GenerateOptions& options)
      : decoder_(tokenizer, /*skip_special=*/false, /*continues=*/true),
        filter_(options.stop),
        options_(options) {}

  void Push(int32_t id) { Emit(filter_.Push(decoder_.Push(id))); }
  void Finish() {
    Emit(filter_.Push(decoder_.Finish()));
    if (!filter_.stopped()) Emit(filter_.Flush());
  }
  bool at_stop() const { return filter_.stopped(); }
  bool refused() const { return refused_; }
  std::string TakeText() { return std::move(text_); }

 private:
  void Emit(const std::string& piece) {
    if (piece.empty() || refused_) return;
    text_ += piece;
    if (options_.on_text && !options_.on_text(piece)) refused_ = true;
  }

  StreamDecoder decoder_;
  StopFilter filter_;
  const GenerateOptions& options_;
  std::string text_;
  bool refused_ = false;  // on_text wants no more
};

}  // namespace

void CheckGenerateOptions(const GenerateOptions& options, int64_t vocab_size) {
  Require(options.max_tokens >= 0, ErrorCode::kInvalidArgument, "max-tokens: got ",
          options.max_tokens, ", expected at least 0");
  [[maybe_unused]] const Sampler sampler(options.sampling, vocab_size);
  [[maybe_unused]] const StopFilter filter(options.stop);
}

GenerateResult Decode(const Decoder& decoder, const GenerateOptions& options,
                      std::span<const int32_t> text, std::vector<float> logits,
                      SequenceState& state, Workspace& workspace) {
  const auto start = std::chrono::steady_clock::now();
  Sampler sampler(options.sampling, static_cast<int64_t>(logits.size()));
  sampler.Observe(text);
  TextOutput output(decoder.tokenizer, options);
  GenerateResult result;
  const auto ended = [&](int32_t id) {
    return options.stop_at_end_of_text && std::ranges::count(decoder.end_of_text, id) > 0;
  };
  const auto vocab = static_cast<int64_t>(logits.size());
  while (result.finish.empty()) {
    if (static_cast<int64_t>(result.ids.size()) == options.max_tokens) {
      result.finish = "length";
      break;
    }
    if (state.pending) {
      SequenceState* states[] = {&state};
      Step(decoder.model, decoder.exec, {&*state.pending, 1}, states, workspace,
           {logits.data(), 1, vocab});
      state.pending.reset();
    }
    const int32_t id = sampler.Sample(logits);
    sampler.Observe({&id, 1});
    result.ids.push_back(id);
    state.pending = id;
    if (ended(id)) {
      result.finish = "end-of-text";
      break;
    }
    output.Push(id);
    if (output.at_stop()) {
      result.finish = "stop";
    } else if (output.refused()) {
      result.finish = "stopped";
    } else if (options.control.cancel != nullptr && options.control.cancel->load()) {
      result.finish = "cancelled";
    }
  }
  output.Finish();
  result.text = output.TakeText();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  result.decode_seconds = elapsed.count();
  return result;
}

}  // namespace pith
