#include "serve/service.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <span>
#include <utility>

#include "core/error.h"
#include "serve/inspect_json.h"
#include "serve/status_error.h"

namespace pith::serve {
namespace {

constexpr int kMostEncoders = 4;
constexpr int64_t kMostInspected = 16384;  // tokens: their answer is some MiB of JSON

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

uint64_t RandomNumber() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

std::string RandomId(const char* prefix) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id = prefix;
  for (int word = 0; word < 2; ++word) {
    uint64_t bits = RandomNumber();
    for (int digit = 0; digit < 12; ++digit, bits >>= 4) id += kDigits[bits & 15];
  }
  return id;
}

}  // namespace

Reduction Reductions::Get(const std::string& text) {
  const std::scoped_lock lock(mutex_);
  const auto at = std::ranges::find(used_, text, &std::pair<std::string, Reduction>::first);
  if (at != used_.end()) {
    used_.splice(used_.begin(), used_, at);
    return used_.front().second;
  }
  used_.emplace_front(text, engine_.Compile(text, {.may_read_files = false}));
  if (used_.size() > kMost) used_.pop_back();
  return used_.front().second;
}

Encoders::Encoders(const Engine& engine, int threads) : engine_(engine) {
  for (int t = 0; t < threads; ++t) threads_.emplace_back([this] { Run(); });
}

Encoders::~Encoders() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::vector<int32_t> Encoders::Encode(std::string_view text, bool bos) {
  std::packaged_task<std::vector<int32_t>()> task([&] { return engine_.Tokenize(text, bos); });
  std::future<std::vector<int32_t>> ids = task.get_future();
  {
    const std::scoped_lock lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
  return ids.get();
}

void Encoders::Run() {
  while (true) {
    std::packaged_task<std::vector<int32_t>()> task;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

Service::Service(const Engine& engine, ChatTemplate chat, const ServiceOptions& options)
    : engine_(engine),
      chat_(std::move(chat)),
      options_(options),
      created_(Now()),
      reductions_(engine),
      default_(engine.Compile(options.reduction.reduce.value_or("none"), options.compile)),
      states_(options.state_directory, options.state_disk),
      encoders_(engine, std::clamp<int>(static_cast<int>(std::thread::hardware_concurrency()), 1,
                                        kMostEncoders)),
      scheduler_(engine, options.scheduler) {}

void Service::CheckModel(const std::string& name) const {
  if (name.empty() || name == options_.model_name) return;
  throw StatusError{
      404, Message("request: model: got \"", name, "\", expected \"", options_.model_name, "\"")};
}

Service::Chosen Service::Choose(const GenerationRequest& request, const std::string& header) {
  CheckModel(request.model);
  ReductionChoice choice = request.reduction;
  if (!choice.reduce && !header.empty()) {
    const ReductionChoice named = ParseReduction(header);
    choice.reduce = named.reduce;
    if (!choice.protect) choice.protect = named.protect;
    if (!choice.piece) choice.piece = named.piece;
  }
  if (!choice.reduce && !choice.protect) choice.protect = options_.reduction.protect;
  if (!choice.reduce && !choice.piece) choice.piece = options_.reduction.piece;
  return {choice.reduce ? reductions_.Get(*choice.reduce) : default_, choice.protect.value_or(0),
          choice.piece.value_or(0)};
}

PreparedTexts Service::Prepare(GenerationRequest request, const std::string& header) {
  const auto [reduction, whole_tail, piece] = Choose(request, header);
  PreparedTexts prepared;
  prepared.head = {.chat = request.chat,
                   .id = RandomId(request.chat ? "chatcmpl-" : "cmpl-"),
                   .created = Now(),
                   .model = request.model.empty() ? options_.model_name : request.model};
  prepared.reduce = reduction.text();
  prepared.whole_tail = whole_tail;
  prepared.piece = piece;
  if (!request.seed) request.seed = RandomNumber();
  if (request.chat) {
    request.prompts = {chat_.Render(request.messages)};
    for (std::string& stop : chat_.Stops()) request.stop.push_back(std::move(stop));
  }
  prepared.request = std::move(request);
  const GenerationRequest& read = prepared.request;
  const int64_t count = std::ssize(read.prompts) * read.n;
  const int64_t most = options_.scheduler.max_running + options_.scheduler.max_waiting;
  Require(count <= most, ErrorCode::kInvalidArgument, "request: got ", count,
          " texts (prompts times n), expected at most ", most);
  const bool bos = options_.bos && read.load_state.empty();
  for (const Prompt& prompt : read.prompts) {
    const auto* text = std::get_if<std::string>(&prompt);
    const std::vector<int32_t> ids =
        text != nullptr ? encoders_.Encode(*text, bos) : std::get<std::vector<int32_t>>(prompt);
    Require(!ids.empty(), ErrorCode::kInvalidArgument,
            "request: prompt: got no tokens, expected at least one");
    std::string echo;
    if (read.echo) echo = text != nullptr ? *text : engine_.Detokenize(ids);
    for (int64_t c = 0; c < read.n; ++c) {
      prepared.texts.push_back(MakeText(prepared, ids, reduction, c));
      prepared.prompts.push_back(read.echo ? ids : std::vector<int32_t>());
      prepared.echoes.push_back(echo);
    }
  }
  return prepared;
}

OrderedJson Service::Inspect(const GenerationRequest& request, const std::string& header,
                             const std::function<bool()>& gone) {
  const std::unique_lock turn(inspecting_, std::try_to_lock);
  if (!turn) throw StatusError{429, "another prompt is being inspected: try again"};
  const auto [reduction, whole_tail, piece] = Choose(request, header);
  Require(piece == 0, ErrorCode::kInvalidArgument, "request: pith.piece: got ", piece,
          ", expected nothing or 0: a prompt is inspected as one context");
  const Prompt& prompt = request.prompts.front();
  const auto* text = std::get_if<std::string>(&prompt);
  const std::vector<int32_t> ids = text != nullptr ? encoders_.Encode(*text, options_.bos)
                                                   : std::get<std::vector<int32_t>>(prompt);
  Require(request.prompts.size() == 1 && !ids.empty() && std::ssize(ids) <= kMostInspected,
          ErrorCode::kInvalidArgument, "request: prompt: got ", ids.size(), " tokens of ",
          request.prompts.size(), " prompts, expected one prompt of 1 to ", kMostInspected,
          " tokens");
  const int64_t context = std::max<int64_t>(0, std::ssize(ids) - whole_tail);
  if (context == 0) return InspectJson(engine_, reduction.text(), nullptr, ids);
  std::atomic<bool> cancel = false;
  const RunControl control = {.cancel = &cancel, .progress = [&](double) { cancel = gone(); }};
  const InspectReport report =
      engine_.Inspect(std::span(ids).first(context), reduction, {.control = control});
  return InspectJson(engine_, reduction.text(), &report, std::span(ids).subspan(context));
}

TextRequest Service::MakeText(const PreparedTexts& prepared, std::vector<int32_t> prompt,
                              const Reduction& reduction, int64_t choice) const {
  const GenerationRequest& request = prepared.request;
  TextRequest text;
  text.prompt = std::move(prompt);
  text.whole_tail = prepared.whole_tail;
  text.piece = prepared.piece;
  text.score_prompt = request.echo && request.logprobs >= 0;
  if (!request.load_state.empty()) text.load_state = states_.ToLoad(request.load_state);
  if (!request.save_state.empty()) text.save_state = states_.ToSave(request.save_state);
  text.max_seconds = options_.max_seconds;
  text.options.max_tokens = request.max_tokens.value_or(request.chat ? options_.default_chat_tokens
                                                                     : options_.default_tokens);
  text.options.sampling = request.sampling;
  text.options.sampling.seed = *request.seed + static_cast<uint64_t>(choice);
  text.options.stop = request.stop;
  text.options.logprobs = request.logprobs;
  text.options.reduction = reduction;
  return text;
}

OrderedJson Service::Models() const {
  const ModelInfo& info = engine_.info();
  return {
      {"object", "list"},
      {"data",
       {{{"id", options_.model_name},
         {"object", "model"},
         {"created", created_},
         {"owned_by", "pith"},
         {"max_model_len", options_.scheduler.max_prompt_tokens},
         {"pith",
          {{"kind", info.kind}, {"parameters", info.parameters}, {"reduce", default_.text()}}}}}}};
}

OrderedJson Service::Tokenize(const TokenizeRequest& request) {
  const std::vector<int32_t> ids =
      encoders_.Encode(request.prompt, request.add_special_tokens && options_.bos);
  return {{"count", ids.size()},
          {"max_model_len", options_.scheduler.max_prompt_tokens},
          {"tokens", ids}};
}

OrderedJson Service::Detokenize(const std::vector<int32_t>& ids) const {
  return {{"prompt", engine_.Detokenize(ids)}};
}

OrderedJson Service::TokenizerInfo() const {
  OrderedJson info = {{"eos_token", nullptr}, {"bos_token", nullptr}, {"pad_token", nullptr}};
  if (const auto end = engine_.info().end_of_text) {
    const std::string text = engine_.Detokenize({&*end, 1});
    info["eos_token"] = text;
    info["eos_token_id"] = *end;
    if (options_.bos) info["bos_token"] = text;
  }
  info["vocab_size"] = engine_.info().vocab_size;
  info["chat_template"] = chat_.plain() ? OrderedJson(nullptr) : OrderedJson(chat_.source());
  return info;
}

}  // namespace pith::serve
