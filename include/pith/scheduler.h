// Many texts at once on one model: they join and leave between steps, and prompts are read in
// pieces, so that a long one does not hold up the texts that are being written.
#ifndef PITH_SCHEDULER_H_
#define PITH_SCHEDULER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pith/engine.h"
#include "pith/error.h"
#include "pith/options.h"
#include "pith/results.h"

namespace pith {

struct SchedulerOptions {
  int64_t max_running = 16;   // texts that are read or written at once, 1 … 4096; each has a
                              // state (ModelInfo::state_bytes)
  int64_t max_waiting = 256;  // texts that wait for their turn, at least 1
  int64_t max_prompt_tokens = 1 << 20;  // of one text
  // Rows of prompts that pass the model between two steps of the texts that are being written:
  // more of them read prompts faster, fewer make these texts wait less. 0: a quarter of the rows
  // that the engine has in flight.
  int64_t rows_per_round = 0;
  // Bytes for the states of prompts that were read, so that one that begins alike goes on from
  // there, with the same bits; the tokens by which they are found may take an eighth of it more.
  // What is read under a reduction is alike where the reduction and the whole context, or piece of
  // one, are the same. On the reference and with 16-bit states, where a cut costs a rounding,
  // nothing is kept of what is read whole; of models with layers whose states grow, nothing at all.
  int64_t state_memory = 0;
};

// What was written since the last call. Views are the call's.
struct TextProgress {
  std::string_view text;                   // valid UTF-8, final
  std::span<const TokenLogprob> logprobs;  // with GenerateOptions::logprobs
};

struct TextResult {
  // finish: as GenerateResult says, or "time" where the time was up; "cancelled" without a token
  // where the prompt was not read to its end.
  GenerateResult generated;
  // With TextRequest::score_prompt, of the prompt's last tokens.
  std::vector<TokenLogprob> prompt_logprobs;
  std::optional<Error> error;  // where it failed: the rest holds nothing
  double waiting_seconds = 0;  // before the text was begun
};

inline constexpr int64_t kLeastPiece = 64;

struct TextRequest {
  std::vector<int32_t> prompt;  // at least one token
  // The last tokens of the prompt, which are read whole after the reduced context that is left.
  // Without a reduction it is one pass, whatever this says.
  int64_t whole_tail = 0;
  // The context is read in consecutive pieces of so many tokens, at least kLeastPiece, each reduced
  // as a context of its own that goes on from the one before; the last one may be shorter. So a
  // longer context goes on from the pieces of a shorter one. 0: as a whole.
  int64_t piece = 0;
  // Without load_state: log-probabilities of the tokens of the prompt: without a reduction, of all
  // but the first; else of the tail, as Engine::Score has them of a continuation.
  bool score_prompt = false;
  // State files (docs/formats/state.md): the one that the text goes on from, where the prompt comes
  // behind what was read and written there, and the one that it leaves unless it is cancelled.
  // Empty: none.
  std::filesystem::path load_state;
  std::filesystem::path save_state;
  double max_seconds = 0;   // since it was submitted; 0: no limit
  GenerateOptions options;  // on_text and control are the scheduler's own
  // Called by the scheduler's thread, which waits for them: they may not throw, nor call the
  // scheduler.
  std::function<void(const PrefillReport&)> on_prompt = nullptr;  // the prompt is read
  std::function<void(const TextProgress&)> on_progress = nullptr;
  std::function<void(TextResult)> on_done = nullptr;  // once for each text that was accepted
};

// What happens now, and what has happened since the scheduler was made.
struct SchedulerCounts {
  int64_t waiting = 0;
  int64_t reading = 0;  // prompts
  int64_t writing = 0;
  int64_t texts = 0;  // that are done
  int64_t refused = 0;
  int64_t prompt_tokens = 0;
  int64_t prompt_rows_left = 0;      // of these, those that passed every layer
  int64_t prompt_tokens_reused = 0;  // likewise, those that were not read again
  int64_t generated_tokens = 0;
  int64_t steps = 0;
  int64_t states_kept = 0;  // now, of prompts that were read
  int64_t states_kept_bytes = 0;
};

// A thread of its own runs the model. What a text gets depends on nothing else that runs, to the
// last bit. All calls may come from any thread.
class Scheduler {
 public:
  // Keeps the engine alive, and does not share it: nothing else should run on its device.
  explicit Scheduler(const Engine& engine, const SchedulerOptions& options = {});
  ~Scheduler();  // cancels what is left
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // All texts get a number, in order, or none does: empty where they are more than may wait now.
  // Throws kInvalidArgument for what no text can be, naming the part; then nothing was accepted.
  std::vector<int64_t> Submit(std::vector<TextRequest> requests);
  // Ends a text early; one that is done, or that never was, is no error.
  void Cancel(int64_t text);
  // Nothing is accepted any more, and texts that were not begun are cancelled; the others go on.
  void Drain();
  // Drain, and all texts are cancelled.
  void Stop();

  SchedulerCounts counts() const;
  const SchedulerOptions& options() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith

#endif  // PITH_SCHEDULER_H_
