#include "serve/job.h"

#include <utility>

namespace pith::serve {

void Job::Mailbox::Post(JobEvent event) {
  {
    const std::scoped_lock lock(mutex);
    events.push_back(std::move(event));
  }
  changed.notify_one();
}

Job::Job(Scheduler& scheduler, std::vector<TextRequest> requests)
    : scheduler_(scheduler), ended_(requests.size(), false), open_(requests.size()) {
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_prompt = [box = mailbox_, i](const PrefillReport&) {
      box->Post({.text = i, .prompt_read = true});
    };
    requests[i].on_progress = [box = mailbox_, i](const TextProgress& progress) {
      box->Post({.text = i,
                 .piece = std::string(progress.text),
                 .logprobs = {progress.logprobs.begin(), progress.logprobs.end()}});
    };
    requests[i].on_done = [box = mailbox_, i](TextResult result) {
      box->Post({.text = i, .result = std::move(result)});
    };
  }
  numbers_ = scheduler.Submit(std::move(requests));
  if (numbers_.empty()) open_ = 0;
}

Job::~Job() {
  for (size_t i = 0; i < numbers_.size(); ++i) {
    if (!ended_[i]) scheduler_.Cancel(numbers_[i]);
  }
}

std::vector<JobEvent> Job::Wait() {
  std::vector<JobEvent> events;
  {
    constexpr std::chrono::milliseconds kLongest(100);
    std::unique_lock lock(mailbox_->mutex);
    mailbox_->changed.wait_for(lock, kLongest, [&] { return !mailbox_->events.empty(); });
    events.swap(mailbox_->events);
  }
  for (const JobEvent& event : events) {
    if (!event.prompt_read && !first_seconds_) {
      first_seconds_ =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    if (!event.result) continue;
    ended_[event.text] = true;
    --open_;
  }
  return events;
}

}  // namespace pith::serve
