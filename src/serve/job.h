// The texts of one HTTP request, from the scheduler's thread to the one that answers.
#ifndef PITH_SERVE_JOB_H_
#define PITH_SERVE_JOB_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pith/scheduler.h"

namespace pith::serve {

struct JobEvent {
  size_t text = 0;    // which one
  std::string piece;  // of what was written
  std::vector<TokenLogprob> logprobs;
  bool prompt_read = false;
  std::optional<TextResult> result;  // the text is done
};

class Job {
 public:
  Job(Scheduler& scheduler, std::vector<TextRequest> requests);
  // Texts that are not done are cancelled.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  bool accepted() const { return !numbers_.empty(); }
  bool done() const { return open_ == 0; }
  // What happened since the last call, at most 100 ms later.
  std::vector<JobEvent> Wait();
  // Seconds from the start until a first text was written or done.
  std::optional<double> first_seconds() const { return first_seconds_; }

 private:
  // Outlives the job where a text ends after it.
  struct Mailbox {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<JobEvent> events;

    void Post(JobEvent event);
  };

  Scheduler& scheduler_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  std::vector<int64_t> numbers_;
  std::vector<bool> ended_;
  size_t open_;
  std::optional<double> first_seconds_;
};

}  // namespace pith::serve

#endif  // PITH_SERVE_JOB_H_
