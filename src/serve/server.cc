#include "serve/server.h"

#include <httplib.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "serve/answer.h"
#include "serve/http_reply.h"
#include "serve/http_server.h"
#include "serve/metrics.h"
#include "serve/origin.h"
#include "serve/page.h"
#include "serve/request.h"
#include "serve/status_error.h"

namespace pith::serve {
namespace {

using httplib::Request;
using httplib::Response;
using HandlerResponse = httplib::Server::HandlerResponse;

constexpr char kReductionHeader[] = "X-Pith-Reduce";
constexpr size_t kMostOfAConnection = 1000;  // requests

// In a time that does not depend on where they differ.
bool SameKey(std::string_view got, std::string_view expected) {
  size_t difference = got.size() ^ expected.size();
  for (size_t i = 0; i < expected.size(); ++i) {
    const char c = i < got.size() ? got[i] : '\0';
    difference |= static_cast<unsigned char>(c ^ expected[i]);
  }
  return difference == 0;
}

bool IsNumber(const std::string& text) {
  constexpr size_t kMostDigits = 18;
  return !text.empty() && text.size() <= kMostDigits &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

std::chrono::milliseconds Milliseconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::duration<double>(seconds));
}

// cpp-httplib takes paths as regular expressions.
std::string Pattern(const std::string& path) {
  std::string pattern;
  for (const char c : path) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || (c & 0x80) != 0;
    if (!plain) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace

class Server::Impl {
 public:
  Impl(Service& service, const ServerOptions& options)
      : service_(service),
        options_(options),
        http_({.request = Milliseconds(options.request_seconds)}) {
    Configure();
    Route();
    Bind();
  }

  int port() const { return port_; }
  void Run() {
    const std::unique_ptr<std::atomic<bool>, void (*)(std::atomic<bool>*)> at_the_end(
        &ran_, [](std::atomic<bool>* ran) { *ran = true; });
    http_.listen_after_bind();
  }
  // cpp-httplib ends streams as it stops, so it goes on until there are none; and it forgets to
  // stop where it has not begun to listen.
  void Stop() {
    stopping_ = true;
    service_.scheduler().Drain();
    constexpr std::chrono::milliseconds kLook(10);
    while (answering_ > 0 || !(http_.is_running() || ran_)) std::this_thread::sleep_for(kLook);
    http_.stop();
  }

 private:
  void Configure() {
    http_.new_task_queue = [threads = options_.connections] {
      return new httplib::ThreadPool(threads);
    };
    http_.set_socket_options([](socket_t socket) {  // no SO_REUSEPORT: a taken port is an error
      const int on = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
    http_.set_tcp_nodelay(true);
    http_.set_keep_alive_max_count(kMostOfAConnection);
    http_.set_payload_max_length(options_.max_body);
    http_.set_pre_routing_handler(
        [this](const Request& request, Response& response) { return Guard(request, response); });
    http_.set_error_handler(
        httplib::Server::Handler([](const Request& request, Response& response) {
          if (!response.has_header("Content-Type")) Explain(request, response);
        }));
    http_.set_exception_handler([](const Request&, Response& response, std::exception_ptr thrown) {
      SendThrown(response, std::move(thrown));
    });
    http_.set_logger([this](const Request& request, const Response& response) {
      metrics_.CountAnswer(Known(request.path) ? request.path : "other", response.status);
    });
  }

  static bool Known(const std::string& path) {
    constexpr std::string_view kPaths[] = {"/",           "/health",         "/metrics",
                                           "/v1/models",  "/v1/completions", "/v1/chat/completions",
                                           "/v1/states",  "/tokenize",       "/inspect",
                                           "/detokenize", "/tokenizer_info"};
    return std::ranges::find(kPaths, path) != std::ranges::end(kPaths);
  }

  // Before the body is read: whoever sends one must say how long it is, so that the limit holds.
  HandlerResponse Guard(const Request& request, Response& response) {
    if (!options_.cors.empty()) {
      response.set_header("Access-Control-Allow-Origin", options_.cors);
      response.set_header("Vary", "Origin");
    }
    const auto refuse = [&](int status, const std::string& message) {
      SendErrorAndClose(response, status, message);
      return HandlerResponse::Handled;
    };
    if (const std::string why = WhyForeign(request); !why.empty()) return refuse(403, why);
    const std::string length = request.get_header_value("Content-Length");
    const bool one_length = request.get_header_value_count("Content-Length") == 1;
    const bool posts = request.method == "POST";
    if (request.has_header("Transfer-Encoding") || (posts && !one_length)) {
      return refuse(411, "expected a body with one Content-Length and no Transfer-Encoding");
    }
    constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"};
    if (std::ranges::find(kMethods, request.method) == std::ranges::end(kMethods)) {
      return refuse(405, Message("got ", request.method, ", expected GET, POST or DELETE"));
    }
    if (request.has_header("Content-Length") && (!one_length || !IsNumber(length))) {
      return refuse(400, Message("Content-Length: got \"", length, "\", expected one number"));
    }
    if (!posts && !length.empty() && length != "0") {
      return refuse(400, Message(request.method, " with a body, expected none"));
    }
    if (posts && std::stoll(length) > options_.max_body) {
      return refuse(413, StrCat("the body is too large: got ", length, " bytes, expected at most ",
                                options_.max_body));
    }
    if (request.has_header("Content-Encoding")) {
      return refuse(415, "Content-Encoding: expected a body that is not compressed");
    }
    if (request.method != "OPTIONS") return HandlerResponse::Unhandled;
    response.status = 204;
    if (!options_.cors.empty()) {
      response.set_header("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
      response.set_header("Access-Control-Allow-Headers",
                          StrCat("Authorization, Content-Type, ", kReductionHeader));
    }
    return HandlerResponse::Handled;
  }

  // Programs send no Origin, and neither does a browser that asks for a page or a picture.
  std::string WhyForeign(const Request& request) const {
    const size_t origins = request.get_header_value_count("Origin");
    if (origins == 0) return {};
    if (origins > 1 || request.get_header_value_count("Host") > 1) {
      return "expected one Origin and one Host";
    }
    return WhyRefused(request.get_header_value("Origin"), request.get_header_value("Host"),
                      {.cors = options_.cors, .bound = options_.host, .at_loopback = at_loopback_});
  }

  void RequireKey(const Request& request) const {
    if (options_.api_key.empty()) return;
    constexpr std::string_view kScheme = "Bearer ";
    const std::string header = request.get_header_value("Authorization");
    const std::string_view got = std::string_view(header).starts_with(kScheme)
                                     ? std::string_view(header).substr(kScheme.size())
                                     : std::string_view();
    if (SameKey(got, options_.api_key)) return;
    throw StatusError{401, "Authorization: expected Bearer and the server's key"};
  }

  using Handle = std::function<void(const Request&, Response&)>;

  Handle Keyed(Handle handle) {
    return [this, handle = std::move(handle)](const Request& request, Response& response) {
      try {
        RequireKey(request);
        handle(request, response);
      } catch (...) {
        SendThrown(response, std::current_exception());
      }
    };
  }

  void Route() {
    http_.Get("/health", [this](const Request&, Response& response) {
      if (stopping_) return SendError(response, 503, "the server is shutting down");
      SendJson(response, {{"status", "ok"}});
    });
    http_.Get("/", [](const Request&, Response& response) {  // asks for the key itself
      response.set_header("Content-Security-Policy",
                          "default-src 'none'; style-src 'unsafe-inline'; script-src "
                          "'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; "
                          "base-uri 'none'; form-action 'none'");
      response.set_content(kPage, "text/html; charset=utf-8");
    });
    http_.Get("/metrics", Keyed([this](const Request&, Response& response) {
                response.set_content(metrics_.Text(service_.scheduler().counts()),
                                     "text/plain; version=0.0.4");
              }));
    http_.Get("/v1/models", Keyed([this](const Request&, Response& response) {
                SendJson(response, service_.Models());
              }));
    http_.Get(Pattern("/v1/models/" + service_.model_name()),
              Keyed([this](const Request&, Response& response) {
                SendJson(response, service_.Models()["data"][0]);
              }));
    http_.Get("/tokenizer_info", Keyed([this](const Request&, Response& response) {
                SendJson(response, service_.TokenizerInfo());
              }));
    http_.Get("/v1/states", Keyed([this](const Request&, Response& response) {
                SendJson(response, service_.states().List());
              }));
    http_.Delete(R"(/v1/states/([A-Za-z0-9][A-Za-z0-9._-]{0,63}))",
                 Keyed([this](const Request& request, Response& response) {
                   const std::string name = request.matches[1];
                   service_.states().Remove(name);
                   SendJson(response, {{"id", name}, {"object", "state"}, {"deleted", true}});
                 }));
    http_.Post("/tokenize", Keyed([this](const Request& request, Response& response) {
                 SendJson(response, service_.Tokenize(ParseTokenize(request.body)));
               }));
    http_.Post("/inspect", Keyed([this](const Request& request, Response& response) {
                 const Peer peer = Peer::OfThisThread();
                 SendJson(response, service_.Inspect(ParseCompletion(request.body),
                                                     request.get_header_value(kReductionHeader),
                                                     [&] { return peer.Gone(); }));
               }));
    http_.Post("/detokenize", Keyed([this](const Request& request, Response& response) {
                 SendJson(response, service_.Detokenize(ParseDetokenize(request.body)));
               }));
    http_.Post("/v1/completions", Keyed([this](const Request& request, Response& response) {
                 Generate(ParseCompletion(request.body), request, response);
               }));
    http_.Post("/v1/chat/completions", Keyed([this](const Request& request, Response& response) {
                 Generate(ParseChat(request.body), request, response);
               }));
  }

  // Counts those that are being answered.
  class Turn {
   public:
    explicit Turn(std::atomic<int>& count) : count_(count) { ++count_; }
    ~Turn() { --count_; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    std::atomic<int>& count_;
  };

  void Generate(GenerationRequest read, const Request& request, Response& response) {
    const auto turn = std::make_shared<Turn>(answering_);
    const Peer peer = Peer::OfThisThread();
    PreparedTexts texts =
        service_.Prepare(std::move(read), request.get_header_value(kReductionHeader));
    const std::shared_ptr<Answer> answer = Begin(std::move(texts));
    while (answer->streams() ? !answer->begun() : !answer->done()) {
      answer->Wait();
      if (peer.Gone()) return;  // nobody to tell; the texts are cancelled
    }
    if (!answer->streams()) {
      SendJson(response, answer->Whole());
      CountFirst(*answer);
      return;
    }
    response.set_header("Cache-Control", "no-cache");
    response.set_chunked_content_provider(
        "text/event-stream", [this, answer, peer, turn](size_t, httplib::DataSink& sink) {
          if (peer.Gone()) return false;
          const std::string events = answer->Events();
          if (!events.empty() && !sink.write(events.data(), events.size())) return false;
          if (answer->done()) {
            CountFirst(*answer);
            sink.done();
          } else {
            answer->Wait();
          }
          return true;
        });
  }

  // A scheduler that is drained refuses texts as one that is full does.
  std::shared_ptr<Answer> Begin(PreparedTexts texts) {
    try {
      return std::make_shared<Answer>(service_, std::move(texts));
    } catch (const StatusError&) {
      if (stopping_) throw StatusError{503, "the server is shutting down"};
      throw;
    }
  }

  void CountFirst(const Answer& answer) {
    if (answer.first_seconds()) metrics_.CountFirst(*answer.first_seconds());
  }

  void Bind() {
    if (options_.port == 0) {
      port_ = http_.bind_to_any_port(options_.host);
    } else if (http_.bind_to_port(options_.host, options_.port)) {
      port_ = options_.port;
    }
    Require(port_ > 0, ErrorCode::kIo, "cannot listen at ", options_.host, ":", options_.port,
            ": is the address this machine's, and the port free?");
    at_loopback_ = http_.AtLoopback();
    http_.WidenBacklog();
  }

  Service& service_;
  const ServerOptions options_;
  Metrics metrics_;
  HttpServer http_;
  int port_ = -1;
  bool at_loopback_ = true;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> ran_ = false;  // and has ended
  std::atomic<int> answering_ = 0;
};

Server::Server(Service& service, const ServerOptions& options)
    : impl_(std::make_unique<Impl>(service, options)) {}
Server::~Server() = default;
int Server::port() const { return impl_->port(); }
void Server::Run() { impl_->Run(); }
void Server::Stop() { impl_->Stop(); }

}  // namespace pith::serve
