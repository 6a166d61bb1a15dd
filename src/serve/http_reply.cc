#include "serve/http_reply.h"

#include <exception>
#include <string>
#include <utility>

#include "core/error.h"
#include "serve/http_server.h"
#include "serve/reply.h"
#include "serve/status_error.h"

namespace pith::serve {
namespace {

constexpr char kJson[] = "application/json";

}  // namespace

void SendJson(httplib::Response& response, const OrderedJson& json) {
  response.set_content(JsonText(json), kJson);
}

void SendError(httplib::Response& response, int status, const std::string& message) {
  response.status = status;
  if (status == 429) response.set_header("Retry-After", "1");
  if (status == 401) response.set_header("WWW-Authenticate", "Bearer");
  SendJson(response, ErrorJson(status, message));
}

// A body that is given by a provider which fails after its last byte is written whole and makes
// cpp-httplib close.
void SendErrorAndClose(httplib::Response& response, int status, const std::string& message) {
  SendError(response, status, message);
  const std::string body = std::exchange(response.body, {});
  response.set_header("Connection", "close");
  response.headers.erase("Content-Type");
  response.set_content_provider(body.size(), kJson,
                                [body](size_t, size_t, httplib::DataSink& sink) {
                                  sink.write(body.data(), body.size());
                                  return false;
                                });
}

void SendThrown(httplib::Response& response, std::exception_ptr thrown) {
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const StatusError& error) {
    SendError(response, error.status, error.message);
  } catch (const Error& error) {
    const bool theirs = error.code() == ErrorCode::kInvalidArgument ||
                        error.code() == ErrorCode::kCorruptData ||
                        error.code() == ErrorCode::kUnsupported;
    SendError(response, theirs ? 400 : 500, error.what());
  } catch (const std::exception& error) {
    SendError(response, 500, Message("internal: ", error.what()));
  }
}

void Explain(const httplib::Request& request, httplib::Response& response) {
  const int status = response.status;
  if (status == 400 && !HttpServer::CameWhole()) {
    response.set_header("Connection", "close");
    return SendError(response, 408, "the request did not come whole in its time");
  }
  SendError(response, status,
            status == 404   ? Message("no such path: ", request.method, " ", request.path)
            : status == 413 ? "the body is too large"
                            : "no valid HTTP request");
}

}  // namespace pith::serve
