// The texts of a scheduler, and all that its threads share.
#ifndef PITH_ENGINE_TEXT_QUEUE_H_
#define PITH_ENGINE_TEXT_QUEUE_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/prompt_reader.h"
#include "generate/continuation.h"
#include "model/state_pool.h"
#include "pith/scheduler.h"

namespace pith {

struct Text {
  explicit Text(TextRequest of) : request(std::move(of)) {}

  double Age() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - submitted).count();
  }
  bool Late() const { return request.max_seconds > 0 && Age() > request.max_seconds; }

  TextRequest request;
  int64_t number = 0;
  const std::chrono::steady_clock::time_point submitted = std::chrono::steady_clock::now();
  std::atomic<bool> cancel = false;
  bool reads = false;  // its prompt; the queue's lock guards it
  // From here on the scheduler's thread alone.
  bool has_slot = false;
  Sequence sequence;
  std::unique_ptr<PromptReader> reader;        // while the prompt is read
  std::unique_ptr<Continuation> continuation;  // while the text is written
  std::string fresh;                           // text that nobody was told of
  size_t told = 0;                             // log-probabilities that somebody was told of
  TextResult result;
};
using TextPtr = std::shared_ptr<Text>;

class TextQueue {
 public:
  TextQueue(int64_t max_running, int64_t max_waiting)
      : max_running_(max_running), max_waiting_(max_waiting) {}

  // As the scheduler's, for requests that were checked.
  std::vector<int64_t> Submit(std::vector<TextRequest> requests);
  void Cancel(int64_t number);
  void Drain();
  void Stop();
  SchedulerCounts counts() const;

  // For the scheduler's thread. Waits for a text; false: there is none, and none will come.
  bool WaitForWork();
  // Waiting and begun texts that nobody waits for any more.
  std::vector<TextPtr> Ended() const;
  // The text that has waited longest, now among those that have begun; null: none waits.
  TextPtr Next();
  // The prompt of a text that has begun is read.
  void StartsWriting(const TextPtr& text);
  void Remove(const TextPtr& text);
  template <class Change>
  void Count(Change change) {
    const std::scoped_lock lock(mutex_);
    change(counts_);
  }

 private:
  int64_t Live() const { return std::ssize(waiting_) + std::ssize(begun_); }

  const int64_t max_running_;
  const int64_t max_waiting_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<TextPtr> waiting_;
  std::deque<TextPtr> begun_;
  bool draining_ = false;
  bool stopping_ = false;
  int64_t last_number_ = 0;
  SchedulerCounts counts_;
};

}  // namespace pith

#endif  // PITH_ENGINE_TEXT_QUEUE_H_
