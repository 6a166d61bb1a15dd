// Answers as cpp-httplib takes them: JSON, and errors in OpenAI's shape.
#ifndef PITH_SERVE_HTTP_REPLY_H_
#define PITH_SERVE_HTTP_REPLY_H_

#include <httplib.h>

#include <exception>
#include <string>

#include "core/json.h"

namespace pith::serve {

void SendJson(httplib::Response& response, const OrderedJson& json);
void SendError(httplib::Response& response, int status, const std::string& message);
// Ends the connection behind the answer: the bytes that follow are no request.
void SendErrorAndClose(httplib::Response& response, int status, const std::string& message);
// StatusError, pith::Error and others.
void SendThrown(httplib::Response& response, std::exception_ptr thrown);
// For an error of cpp-httplib's own, of which it knows the status alone.
void Explain(const httplib::Request& request, httplib::Response& response);

}  // namespace pith::serve

#endif  // PITH_SERVE_HTTP_REPLY_H_
