#include "serve/answer.h"

#include <utility>

#include "core/error.h"
#include "serve/status_error.h"

namespace pith::serve {
namespace {

int StatusOf(ErrorCode code) { return code == ErrorCode::kInvalidArgument ? 400 : 500; }

// What went wrong with a text before anything was written.
std::optional<StatusError> Failure(const TextResult& result, const SavedStates& states) {
  if (result.error) {
    return StatusError{StatusOf(result.error->code()),
                       states.WithoutDirectory(result.error->what())};
  }
  const GenerateResult& text = result.generated;
  if (text.prefill.tokens > 0) return std::nullopt;  // the prompt was read
  if (text.finish == "time") {
    return StatusError{503, "the time for one text was up before its prompt was read"};
  }
  return StatusError{503, "the server is shutting down"};
}

}  // namespace

Answer::Answer(Service& service, PreparedTexts prepared)
    : states_(service.states()),
      head_(std::move(prepared.head)),
      request_(std::move(prepared.request)),
      prompts_(std::move(prepared.prompts)),
      echoes_(std::move(prepared.echoes)),
      whole_tail_(prepared.whole_tail),
      usage_(std::move(prepared.reduce)),
      choices_(prompts_.size()),
      logprobs_(prompts_.size(),
                LogprobsWriter(service.engine().tokenizer(), head_.chat, request_.logprobs)),
      job_(service.scheduler(), std::move(prepared.texts)) {
  if (!job_.accepted()) {
    throw StatusError{
        429, StrCat("too many texts are waiting: got ", choices_.size(), " more; try again")};
  }
}

void Answer::Wait() {
  for (JobEvent& event : job_.Wait()) Take(std::move(event));
}

void Answer::Take(JobEvent event) {
  const size_t i = event.text;
  if (event.result) {
    if (const std::optional<StatusError> failure = Failure(*event.result, states_)) {
      if (!request_.stream || !begun_) throw StatusError(*failure);
      events_ += "data: " + JsonText(ErrorJson(failure->status, failure->message)) + "\n\n";
      return;
    }
    if (i % request_.n == 0) usage_.AddPrompt(event.result->generated.prefill, whole_tail_);
    usage_.AddText(event.result->generated);
    choices_[i].result = std::move(*event.result);
    choices_[i].done = true;
  }
  begun_ = true;
  if (!request_.stream) return;
  if (event.prompt_read && head_.chat) {
    OrderedJson first = DeltaJson(head_, i, "", nullptr, "");
    first["delta"] = {{"role", "assistant"}, {"content", ""}};
    AddEvent(OrderedJson::array({first}));
  } else if (event.prompt_read && request_.echo) {
    AddEvent(OrderedJson::array({DeltaJson(head_, i, echoes_[i], nullptr, "")}));
  } else if (!event.prompt_read) {
    logprobs_[i].Add(event.logprobs);
    const std::string finish =
        choices_[i].done ? FinishReason(choices_[i].result.generated.finish) : "";
    AddEvent(OrderedJson::array({DeltaJson(head_, i, event.piece, logprobs_[i].Take(), finish)}));
  }
}

void Answer::AddEvent(OrderedJson choices) {
  OrderedJson piece = ReplyJson(head_, std::move(choices), /*streams=*/true);
  if (request_.include_usage) piece["usage"] = nullptr;
  events_ += "data: " + JsonText(piece) + "\n\n";
}

std::string Answer::Events() {
  if (done() && !std::exchange(ended_, true)) events_ += EndOfStream();
  return std::exchange(events_, {});
}

std::string Answer::EndOfStream() {
  std::string end;
  if (request_.include_usage) {
    OrderedJson piece = ReplyJson(head_, OrderedJson::array(), /*streams=*/true);
    piece["usage"] = usage_.ToJson();
    end = "data: " + JsonText(piece) + "\n\n";
  }
  return end + "data: [DONE]\n\n";
}

OrderedJson Answer::Logprobs(size_t text) {
  if (request_.logprobs < 0) return nullptr;
  if (request_.echo) {
    logprobs_[text].AddPrompt(prompts_[text], choices_[text].result.prompt_logprobs);
  }
  logprobs_[text].Add(choices_[text].result.generated.logprobs);
  return logprobs_[text].Take();
}

OrderedJson Answer::Whole() {
  PITH_CHECK(done());
  OrderedJson choices = OrderedJson::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    const GenerateResult& text = choices_[i].result.generated;
    choices.push_back(
        ChoiceJson(head_, i, echoes_[i] + text.text, Logprobs(i), FinishReason(text.finish)));
  }
  OrderedJson reply = ReplyJson(head_, std::move(choices), /*streams=*/false);
  reply["usage"] = usage_.ToJson();
  return reply;
}

}  // namespace pith::serve
