// One thread goes round and round: it lets waiting texts begin, reads prompts by a budget of rows,
// each in its turn, and takes one step of all texts that are being written.
#include "pith/scheduler.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "engine/impl.h"
#include "engine/prompt_reader.h"
#include "engine/text_queue.h"
#include "generate/continuation.h"
#include "generate/decode.h"
#include "model/state.h"

namespace pith {
namespace {

constexpr int64_t kMostTokens = (int64_t{1} << 31) - 1;

void RequireRange(const char* name, int64_t got, int64_t least, int64_t most) {
  Require(got >= least && got <= most, ErrorCode::kInvalidArgument, name, ": got ", got,
          ", expected ", least, " to ", most);
}

SchedulerOptions Checked(SchedulerOptions options, int64_t rows_per_chunk) {
  RequireRange("max-running", options.max_running, 1, 4096);
  RequireRange("max-waiting", options.max_waiting, 1, int64_t{1} << 20);
  RequireRange("max-prompt-tokens", options.max_prompt_tokens, 1, kMostTokens);
  RequireRange("state-memory", options.state_memory, 0, int64_t{1} << 50);
  RequireRange("rows-per-round", options.rows_per_round, 0, kMostTokens);
  if (options.rows_per_round == 0) {
    options.rows_per_round = std::max<int64_t>(1, rows_per_chunk / 4);
  }
  return options;
}

}  // namespace

class Scheduler::Impl {
 public:
  Impl(std::shared_ptr<const Engine::Impl> engine, const SchedulerOptions& options)
      : engine_(std::move(engine)),
        options_(Checked(options, engine_->rows_per_chunk)),
        queue_(options_.max_running, options_.max_waiting),
        pool_(engine_->model, engine_->exec, options_.max_running),
        labels_(engine_->model, engine_->exec),
        decoder_(engine_->model, engine_->exec, pool_, workspace_),
        prefixes_(engine_->model, engine_->exec, StatesKept(options_, *engine_)),
        room_{*engine_, pool_,     workspace_,
              labels_,  prefixes_, std::min(engine_->rows_per_chunk, options_.rows_per_round)} {
    engine_->RequireTokenizer();
    thread_ = std::thread([this] { Run(); });
  }
  ~Impl() {
    queue_.Stop();
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  TextQueue& queue() { return queue_; }
  const SchedulerOptions& options() const { return options_; }

  void Check(const TextRequest& request) const {
    const auto tokens = std::ssize(request.prompt);
    const int64_t vocab = engine_->model.config().vocab_size;
    RequireRange("tokens of the prompt", tokens, 1, options_.max_prompt_tokens);
    CheckTokenIds(engine_->model.config(), request.prompt);
    CheckGenerateOptions(request.options, vocab);
    Require(!request.score_prompt || request.load_state.empty(), ErrorCode::kInvalidArgument,
            "the tokens of a prompt that goes on from a loaded state have no scores");
    RequireRange("whole tail", request.whole_tail, 0, kMostTokens);
    if (request.piece != 0) RequireRange("piece", request.piece, kLeastPiece, kMostTokens);
    const Reduction& reduction = request.options.reduction;
    reduction.impl().CheckModel(engine_->model.facts());
    if (reduction.none()) return;
    Require(!request.score_prompt || request.whole_tail > 0, ErrorCode::kInvalidArgument,
            "the tokens of a prompt that is reduced as a whole have no scores: say how many last "
            "tokens are to be read whole");
    const int64_t context = std::max<int64_t>(0, tokens - request.whole_tail);
    const int64_t piece = request.piece > 0 ? std::min(request.piece, context) : context;
    for (const int64_t length : {piece, piece > 0 ? context % piece : 0}) {
      // Throws where it is too short to be reduced so.
      if (length > 0) reduction.For(length).impl().Compiled().Lengths(length);
    }
  }

 private:
  static PrefixCache::Limits StatesKept(const SchedulerOptions& options,
                                        const Engine::Impl& engine) {
    constexpr int64_t kMost = 4096;
    constexpr int64_t kTokenShare = 8;
    const StateLayout& layout = engine.model.state_layout();
    if (layout.grows()) return {};  // a slot does not bound what a state takes
    const bool cuts_round =
        engine.exec.backend->device() == Device::kReference || layout.values() != layout.floats();
    return {.states = std::min(kMost, options.state_memory / layout.bytes()),
            .token_bytes = options.state_memory / kTokenShare,
            .block = cuts_round ? 0 : engine.ssd_chunk};
  }

  void Run() {
    while (queue_.WaitForWork()) {
      for (const TextPtr& text : queue_.Ended()) {
        End(text, text->cancel ? "cancelled" : "time");
      }
      Begin();
      Read();
      Write();
    }
  }

  void Begin() {
    while (pool_.free_slots() > 0) {
      const TextPtr text = queue_.Next();
      if (text == nullptr) return;
      text->result.waiting_seconds = text->Age();
      text->sequence.slot = pool_.Take();
      text->has_slot = true;
      Try(text, [&] {
        GoOn(*text);
        text->reader =
            std::make_unique<PromptReader>(room_, text->request, text->sequence, text->cancel);
        readers_.push_back(text);
      });
    }
  }

  // From the state that is loaded. Its last token may not be read yet.
  void GoOn(Text& text) {
    if (text.request.load_state.empty()) return;
    LoadState(engine_->model, text.request.load_state, pool_, text.sequence);
    std::vector<int32_t>& prompt = text.request.prompt;
    if (text.sequence.pending) prompt.insert(prompt.begin(), *text.sequence.pending);
    text.sequence.pending.reset();
  }

  // Prompts take turns, so that a short one is not held up by a long one before it.
  void Read() {
    for (int64_t left = options_.rows_per_round; left > 0 && !readers_.empty();) {
      const TextPtr text = readers_.front();
      readers_.pop_front();
      Try(text, [&] {
        left -= text->reader->Advance(left);
        text->reader->done() ? StartWriting(text) : readers_.push_back(text);
      });
    }
  }

  void StartWriting(const TextPtr& text) {
    PromptReader& reader = *text->reader;
    const PrefillReport report = reader.report();
    text->result.generated.prefill = report;
    text->result.prompt_logprobs = reader.TakeLogprobs();
    text->continuation = std::make_unique<Continuation>(
        engine_->RequireTokenizer(), engine_->end_of_text, text->request.options,
        text->request.prompt, engine_->model.config().vocab_size);
    decoder_.Join(*text->continuation, text->sequence, reader.logits());
    text->reader.reset();
    writers_.push_back(text);
    queue_.StartsWriting(text);
    queue_.Count([&](SchedulerCounts& counts) {
      counts.prompt_tokens += report.tokens;
      counts.prompt_rows_left += report.rows_left;
      counts.prompt_tokens_reused += report.reused;
      counts.states_kept = prefixes_.states();
      counts.states_kept_bytes = prefixes_.bytes();
    });
    if (text->request.on_prompt) text->request.on_prompt(report);
  }

  // One token more for each text. Those without one wanted are done.
  void Write() {
    if (writers_.empty()) return;
    try {
      decoder_.Step();
    } catch (const std::exception& error) {  // nobody knows how far each of them got
      for (const TextPtr& text : std::vector(writers_.begin(), writers_.end())) {
        Fail(text, error);
      }
      return;
    }
    queue_.Count([](SchedulerCounts& counts) { ++counts.steps; });
    std::vector<TextPtr> done;
    for (const TextPtr& text : writers_) {
      Tell(*text, text->continuation->so_far().logprobs);
      if (!text->continuation->WantsToken()) done.push_back(text);
    }
    for (const TextPtr& text : done) Finish(text);
  }

  static void Tell(Text& text, const std::vector<TokenLogprob>& logprobs) {
    if (text.fresh.empty() && text.told == logprobs.size()) return;
    if (text.request.on_progress) {
      text.request.on_progress(
          {.text = text.fresh, .logprobs = std::span(logprobs).subspan(text.told)});
    }
    text.fresh.clear();
    text.told = logprobs.size();
  }

  template <class Work>
  void Try(const TextPtr& text, Work work) {
    try {
      work();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) {
        End(text, "cancelled");
      } else {
        Fail(text, error);
      }
    } catch (const std::exception& error) {
      Fail(text, error);
    }
  }

  // Before its time.
  void End(const TextPtr& text, const std::string& why) {
    if (text->continuation) {
      text->continuation->End(why);
    } else {
      text->result.generated.finish = why;
    }
    Finish(text);
  }

  void Fail(const TextPtr& text, const std::exception& error) {
    SetError(*text, error);
    Finish(text);
  }

  static void SetError(Text& text, const std::exception& error) {
    const auto* known = dynamic_cast<const Error*>(&error);
    text.result.error.emplace(known != nullptr ? known->code() : ErrorCode::kInternal,
                              error.what());
  }

  void Finish(const TextPtr& text) {
    if (text->continuation) {
      decoder_.Leave(*text->continuation);
      if (!text->result.error) {
        TakeText(*text);
        Save(*text);
      }
    }
    text->reader.reset();
    std::erase(readers_, text);
    std::erase(writers_, text);
    if (text->has_slot) pool_.Free(text->sequence.slot);
    queue_.Remove(text);
    queue_.Count([&](SchedulerCounts& counts) {
      ++counts.texts;
      counts.generated_tokens += std::ssize(text->result.generated.ids);
    });
    if (text->request.on_done) text->request.on_done(std::move(text->result));
  }

  static void TakeText(Text& text) {
    GenerateResult generated = text.continuation->TakeResult();  // with a last piece of text
    Tell(text, generated.logprobs);
    generated.prefill = text.result.generated.prefill;
    text.result.generated = std::move(generated);
  }

  void Save(Text& text) const {
    if (text.request.save_state.empty() || text.cancel) return;
    try {
      SaveState(engine_->model, pool_, text.sequence, text.request.save_state);
    } catch (const std::exception& error) {
      SetError(text, error);
    }
  }

  const std::shared_ptr<const Engine::Impl> engine_;
  const SchedulerOptions options_;
  TextQueue queue_;
  Workspace workspace_;
  StatePool pool_;
  LabelScorer labels_;
  Decoder decoder_;
  PrefixCache prefixes_;
  const ReadingRoom room_;
  std::deque<TextPtr> readers_;  // in the order of their turns
  std::deque<TextPtr> writers_;
  std::thread thread_;
};

Scheduler::Scheduler(const Engine& engine, const SchedulerOptions& options)
    : impl_(std::make_unique<Impl>(engine.impl_, options)) {}
Scheduler::~Scheduler() = default;

std::vector<int64_t> Scheduler::Submit(std::vector<TextRequest> requests) {
  for (const TextRequest& request : requests) impl_->Check(request);
  return impl_->queue().Submit(std::move(requests));
}

void Scheduler::Cancel(int64_t text) { impl_->queue().Cancel(text); }
void Scheduler::Drain() { impl_->queue().Drain(); }
void Scheduler::Stop() { impl_->queue().Stop(); }
SchedulerCounts Scheduler::counts() const { return impl_->queue().counts(); }
const SchedulerOptions& Scheduler::options() const { return impl_->options(); }

}  // namespace pith
