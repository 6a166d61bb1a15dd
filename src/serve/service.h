// What the server does with checked requests: everything but HTTP.
#ifndef PITH_SERVE_SERVICE_H_
#define PITH_SERVE_SERVICE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/json.h"
#include "pith/engine.h"
#include "pith/scheduler.h"
#include "pith/tokenizer.h"
#include "serve/chat_template.h"
#include "serve/reply.h"
#include "serve/request.h"
#include "serve/saved_states.h"

namespace pith::serve {

struct ServiceOptions {
  std::string model_name;
  ReductionChoice reduction;    // of requests that name none
  CompileOptions compile;       // of that one
  bool bos = false;             // the end-of-text token before each text
  int64_t default_tokens = 16;  // that a completion writes at most, where it does not say
  int64_t default_chat_tokens = 1024;
  double max_seconds = 600;               // of one text; 0: no limit
  std::string state_directory;            // empty: no states are saved
  int64_t state_disk = int64_t{4} << 30;  // bytes of saved states
  SchedulerOptions scheduler;
};

// Reductions by their text, each compiled once while it is among those used last.
class Reductions {
 public:
  explicit Reductions(const Engine& engine) : engine_(engine) {}
  // Throws kInvalidArgument; for texts that name files too.
  Reduction Get(const std::string& text);

 private:
  static constexpr size_t kMost = 64;
  const Engine& engine_;
  std::mutex mutex_;
  std::list<std::pair<std::string, Reduction>> used_;  // the last one first
};

// Few threads that encode for many: each thread that encodes keeps a cache of its own.
class Encoders {
 public:
  Encoders(const Engine& engine, int threads);
  ~Encoders();
  Encoders(const Encoders&) = delete;
  Encoders& operator=(const Encoders&) = delete;

  std::vector<int32_t> Encode(std::string_view text, bool bos);

 private:
  void Run();

  const Engine& engine_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<std::vector<int32_t>()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// The texts of one request: for each prompt n of them, in order.
struct PreparedTexts {
  ReplyHead head;
  GenerationRequest request;
  std::vector<TextRequest> texts;
  std::vector<std::vector<int32_t>> prompts;  // one for each text, for those that echo them
  std::vector<std::string> echoes;            // likewise
  std::string reduce;                         // canonical
  int64_t whole_tail = 0;
  int64_t piece = 0;
};

class Service {
 public:
  // The engine must outlive it.
  Service(const Engine& engine, ChatTemplate chat, const ServiceOptions& options);

  // `header`: the reduction of X-Pith-Reduce; empty: none. Throws pith::Error for what the client
  // may mend, and StatusError.
  PreparedTexts Prepare(GenerationRequest request, const std::string& header);

  // What a completion's reduction does to each token of its one prompt (docs/serving.md). One at a
  // time: it shares the device with the texts. `gone` is asked between chunks; true ends it with
  // kCancelled.
  OrderedJson Inspect(const GenerationRequest& request, const std::string& header,
                      const std::function<bool()>& gone);

  OrderedJson Models() const;
  OrderedJson Tokenize(const TokenizeRequest& request);
  OrderedJson Detokenize(const std::vector<int32_t>& ids) const;
  OrderedJson TokenizerInfo() const;

  Scheduler& scheduler() { return scheduler_; }
  const Engine& engine() const { return engine_; }
  const SavedStates& states() const { return states_; }
  const std::string& model_name() const { return options_.model_name; }

 private:
  struct Chosen {
    Reduction reduction;
    int64_t whole_tail;
    int64_t piece;
  };

  Chosen Choose(const GenerationRequest& request, const std::string& header);
  void CheckModel(const std::string& name) const;
  TextRequest MakeText(const PreparedTexts& prepared, std::vector<int32_t> prompt,
                       const Reduction& reduction, int64_t choice) const;

  const Engine& engine_;
  const ChatTemplate chat_;
  const ServiceOptions options_;
  const int64_t created_;
  Reductions reductions_;
  const Reduction default_;
  const SavedStates states_;
  std::mutex inspecting_;
  Encoders encoders_;
  Scheduler scheduler_;
};

}  // namespace pith::serve

#endif  // PITH_SERVE_SERVICE_H_
