#include "engine/text_queue.h"

#include <algorithm>
#include <utility>

namespace pith {

std::vector<int64_t> TextQueue::Submit(std::vector<TextRequest> requests) {
  const std::scoped_lock lock(mutex_);
  // What may begin at once does not wait.
  const int64_t room = max_waiting_ + max_running_ - Live();
  if (draining_ || std::ssize(requests) > room) {
    counts_.refused += std::ssize(requests);
    return {};
  }
  std::vector<int64_t> numbers;
  for (TextRequest& request : requests) {
    const auto text = std::make_shared<Text>(std::move(request));
    text->number = ++last_number_;
    text->request.options.control = {.cancel = &text->cancel, .progress = nullptr};
    text->request.options.on_text = [at = text.get()](std::string_view piece) {
      at->fresh += piece;
      return true;
    };
    numbers.push_back(text->number);
    waiting_.push_back(text);
  }
  changed_.notify_one();
  return numbers;
}

void TextQueue::Cancel(int64_t number) {
  const std::scoped_lock lock(mutex_);
  for (const auto* texts : {&waiting_, &begun_}) {
    for (const TextPtr& text : *texts) {
      if (text->number == number) text->cancel = true;
    }
  }
}

void TextQueue::Drain() {
  const std::scoped_lock lock(mutex_);
  draining_ = true;
  for (const TextPtr& text : waiting_) text->cancel = true;
}

void TextQueue::Stop() {
  const std::scoped_lock lock(mutex_);
  draining_ = stopping_ = true;
  for (const auto* texts : {&waiting_, &begun_}) {
    for (const TextPtr& text : *texts) text->cancel = true;
  }
  changed_.notify_one();
}

SchedulerCounts TextQueue::counts() const {
  const std::scoped_lock lock(mutex_);
  SchedulerCounts counts = counts_;
  counts.waiting = std::ssize(waiting_);
  counts.reading = std::ranges::count_if(begun_, [](const TextPtr& text) { return text->reads; });
  counts.writing = std::ssize(begun_) - counts.reading;
  return counts;
}

bool TextQueue::WaitForWork() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return Live() > 0 || stopping_; });
  return Live() > 0;
}

std::vector<TextPtr> TextQueue::Ended() const {
  const std::scoped_lock lock(mutex_);
  std::vector<TextPtr> ended;
  for (const auto* texts : {&waiting_, &begun_}) {
    for (const TextPtr& text : *texts) {
      if (text->cancel || text->Late()) ended.push_back(text);
    }
  }
  return ended;
}

TextPtr TextQueue::Next() {
  const std::scoped_lock lock(mutex_);
  if (waiting_.empty()) return nullptr;
  TextPtr text = std::move(waiting_.front());
  waiting_.pop_front();
  begun_.push_back(text);
  text->reads = true;
  return text;
}

void TextQueue::StartsWriting(const TextPtr& text) {
  const std::scoped_lock lock(mutex_);
  text->reads = false;
}

void TextQueue::Remove(const TextPtr& text) {
  const std::scoped_lock lock(mutex_);
  std::erase(waiting_, text);
  std::erase(begun_, text);
}

}  // namespace pith
