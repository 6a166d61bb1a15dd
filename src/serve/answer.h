// The answer to one request for texts: whole, or piece by piece as server-sent events.
#ifndef PITH_SERVE_ANSWER_H_
#define PITH_SERVE_ANSWER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "serve/job.h"
#include "serve/reply.h"
#include "serve/service.h"

namespace pith::serve {

class Answer {
 public:
  // Submits the texts. The service must outlive it. Throws pith::Error, and StatusError where they
  // may not wait.
  Answer(Service& service, PreparedTexts prepared);

  bool streams() const { return request_.stream; }
  bool done() const { return job_.done(); }
  // Waits for what comes next, at most 100 ms. Before a stream has begun: throws StatusError where
  // a text failed.
  void Wait();
  // Whether anything came yet: a stream may begin.
  bool begun() const { return begun_; }

  // All texts, once they are done.
  OrderedJson Whole();
  // What came since the last call, as events; with the end of the stream once the texts are done.
  std::string Events();

  std::optional<double> first_seconds() const { return job_.first_seconds(); }

 private:
  struct Choice {
    TextResult result;
    bool done = false;
  };

  void Take(JobEvent event);
  OrderedJson Logprobs(size_t text);
  std::string EndOfStream();
  void AddEvent(OrderedJson choices);

  const SavedStates& states_;
  const ReplyHead head_;
  const GenerationRequest request_;
  const std::vector<std::vector<int32_t>> prompts_;
  const std::vector<std::string> echoes_;
  const int64_t whole_tail_;
  Usage usage_;
  std::vector<Choice> choices_;
  std::vector<LogprobsWriter> logprobs_;  // one a text
  std::string events_;
  bool begun_ = false;
  bool ended_ = false;  // the end of the stream is told
  Job job_;
};

}  // namespace pith::serve

#endif  // PITH_SERVE_ANSWER_H_
