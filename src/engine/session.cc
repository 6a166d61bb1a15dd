#include <chrono>
#include <utility>

#include "core/error.h"
#include "engine/impl.h"
#include "generate/continuation.h"
#include "generate/decode.h"
#include "model/prefill.h"
#include "model/state.h"
#include "pith/engine.h"

namespace pith {

void Engine::Impl::ReadLogits(MatView<const float> normed, std::span<float> to) const {
  DeviceMat<float> logits;
  logits.Resize(exec, 1, std::ssize(to));
  model.StepLogits(exec, normed, logits.view());
  DownloadRows(exec, logits.view(), {to.data(), 1, std::ssize(to)});
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(const Session& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(const Session& other) {
  impl_ = std::make_unique<Impl>(*other.impl_);
  return *this;
}
Session& Session::operator=(Session&&) noexcept = default;

Session::Impl::Impl(std::shared_ptr<const Engine::Impl> of)
    : engine(std::move(of)), pool(engine->model, engine->exec, 2) {
  sequence.slot = pool.Take();
  spare = pool.Take();
}

Session::Impl::Impl(const Impl& other) : Impl(other.engine) {
  pool.CopyFrom(other.pool, other.sequence.slot, sequence.slot);
  sequence.tokens = other.sequence.tokens;
  sequence.pending = other.sequence.pending;
  logits = other.logits;
  read = other.read;
}

Session Engine::NewSession() const { return Session(std::make_unique<Session::Impl>(impl_)); }

Session Engine::LoadSession(const std::filesystem::path& state_file) const {
  auto session = std::make_unique<Session::Impl>(impl_);
  LoadState(impl_->model, state_file, session->pool, session->sequence);
  return Session(std::move(session));
}

std::span<const float> Session::logits() const {
  Require(!impl_->logits.empty(), ErrorCode::kInvalidArgument,
          "logits: no token was read since the session was made or loaded, or the last one was "
          "written and not read yet");
  return impl_->logits;
}

PrefillReport Session::Append(std::span<const int32_t> ids, const Reduction& reduction,
                              const RunControl& control) {
  const auto start = std::chrono::steady_clock::now();
  const Engine::Impl& engine = *impl_->engine;
  std::vector<int32_t> all(ids.begin(), ids.end());
  if (impl_->sequence.pending) all.insert(all.begin(), *impl_->sequence.pending);
  const Reduction here = reduction.For(std::ssize(all));

  // Reads in the spare slot, so that a cancelled or failed read leaves the session as it was.
  impl_->pool.Copy(impl_->sequence.slot, impl_->spare);
  Sequence ahead{.slot = impl_->spare, .tokens = impl_->sequence.tokens};
  std::vector<float> logits(engine.model.config().vocab_size);
  const SequenceInput input{all, &ahead, WantRows::kLast};
  const PrefillResult result =
      Prefill(engine.model, engine.exec, impl_->pool, {&input, 1}, engine.Prefilling(control, here),
              impl_->workspace, [&](std::span<const OutputRow>, MatView<const float> normed) {
                engine.ReadLogits(normed, logits);
              });
  impl_->spare = impl_->sequence.slot;
  impl_->sequence = ahead;
  impl_->logits = std::move(logits);
  impl_->read.insert(impl_->read.end(), all.begin(), all.end());
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const auto tokens = static_cast<int64_t>(all.size());
  return {.tokens = tokens,
          .rows_left = result.RowsLeft(0, tokens),
          .realised = result.realised,
          .seconds = elapsed.count()};
}

GenerateResult Session::Generate(std::span<const int32_t> prompt, const GenerateOptions& options) {
  const Engine::Impl& engine = *impl_->engine;
  const Tokenizer& tokenizer = engine.RequireTokenizer();
  const int64_t vocab = engine.model.config().vocab_size;
  CheckGenerateOptions(options, vocab);  // before any work
  PrefillReport prefill;
  if (!prompt.empty() || impl_->logits.empty()) {
    prefill = Append(prompt, options.reduction, options.control);
  }
  Continuation text(tokenizer, engine.end_of_text, options, impl_->read, vocab);
  Decoder decoder(engine.model, engine.exec, impl_->pool, impl_->workspace);
  decoder.Join(text, impl_->sequence, impl_->logits);
  while (decoder.active() > 0) decoder.Step();
  // What follows the text is known only after its pending token is read.
  if (impl_->sequence.pending) impl_->logits.clear();
  GenerateResult result = text.TakeResult();
  result.prefill = prefill;
  return result;
}

int64_t Session::tokens() const { return impl_->sequence.tokens; }

void Session::Save(const std::filesystem::path& state_file) const {
  SaveState(impl_->engine->model, impl_->pool, impl_->sequence, state_file);
}

}  // namespace pith
