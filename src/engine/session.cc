#include <chrono>
#include <utility>

#include "core/error.h"
#include "engine/impl.h"
#include "generate/generate.h"
#include "model/head.h"
#include "model/prefill.h"
#include "model/workspace.h"
#include "pith/engine.h"

namespace pith {

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(const Session& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(const Session& other) {
  impl_ = std::make_unique<Impl>(*other.impl_);
  return *this;
}
Session& Session::operator=(Session&&) noexcept = default;

Session Engine::NewSession() const {
  return Session(std::make_unique<Session::Impl>(
      Session::Impl{impl_, SequenceState(impl_->model.config()), {}, {}}));
}

Session Engine::LoadSession(const std::filesystem::path& state_file) const {
  return Session(std::make_unique<Session::Impl>(Session::Impl{
      impl_, LoadState(impl_->model.config(), impl_->model.fingerprint(), state_file), {}, {}}));
}

PrefillReport Session::Append(std::span<const int32_t> ids, const Reduction& reduction,
                              const RunControl& control) {
  const auto start = std::chrono::steady_clock::now();
  const Engine::Impl& engine = *impl_->engine;
  std::vector<int32_t> all(ids.begin(), ids.end());
  if (impl_->state.pending) all.insert(all.begin(), *impl_->state.pending);
  const Reduction here = reduction.For(std::ssize(all));

  // Works on a copy, so that a cancelled or failed read leaves the session as it was.
  SequenceState state = impl_->state;
  state.pending.reset();
  std::vector<float> logits(engine.model.config().vocab_size);
  Workspace workspace;
  const SequenceInput input{all, &state, WantRows::kLast};
  const PrefillResult result =
      Prefill(engine.model, engine.exec, {&input, 1}, engine.Prefilling(control, here), workspace,
              [&](std::span<const OutputRow>, MatView<const float> normed) {
                StepLogits(engine.model, engine.exec, normed,
                           {logits.data(), 1, static_cast<int64_t>(logits.size())});
              });
  impl_->state = std::move(state);
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
  const Decoder decoder{engine.model, engine.exec, engine.RequireTokenizer(), engine.end_of_text};
  CheckGenerateOptions(options, engine.model.config().vocab_size);  // before any work
  PrefillReport prefill;
  if (!prompt.empty() || impl_->logits.empty()) {
    prefill = Append(prompt, options.reduction, options.control);
  }
  Workspace workspace;
  GenerateResult result =
      Decode(decoder, options, impl_->read, impl_->logits, impl_->state, workspace);
  // What follows the text is known only after its pending token is read.
  if (impl_->state.pending) impl_->logits.clear();
  result.prefill = prefill;
  return result;
}

int64_t Session::tokens() const { return impl_->state.tokens(); }

void Session::Save(const std::filesystem::path& state_file) const {
  SaveState(impl_->state, impl_->engine->model.fingerprint(), state_file);
}

}  // namespace pith
