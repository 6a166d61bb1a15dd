#include "serve/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "core/error.h"

namespace pith::serve {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower;
}

struct Scheme {
  std::string_view start;
  std::string_view port;
};
constexpr std::array<Scheme, 2> kSchemes = {{{"http://", ":80"}, {"https://", ":443"}}};

std::string_view WithoutPort(std::string_view address, std::string_view port) {
  if (address.ends_with(port)) address.remove_suffix(port.size());
  return address;
}

// "[::1]:8080" and "localhost:8080" → "[::1]" and "localhost".
std::string_view NameOf(std::string_view address) {
  const size_t end = address.starts_with('[') ? address.find(']') + 1 : address.find(':');
  return address.substr(0, end == 0 ? std::string_view::npos : end);
}

}  // namespace

bool IsLoopback(std::string_view host) {
  std::string name = Lower(host);
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  in_addr v4 = {};
  if (::inet_pton(AF_INET, name.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6 = {};
  return ::inet_pton(AF_INET6, name.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string WhyRefused(std::string_view origin, std::string_view host, const OriginRule& rule) {
  if (!rule.cors.empty() && (rule.cors == "*" || rule.cors == origin)) return {};
  const std::string page = Lower(origin);
  const std::string asked = Lower(host);
  const auto* scheme = std::ranges::find_if(
      kSchemes, [&](const Scheme& one) { return page.starts_with(one.start); });
  const bool own = scheme != kSchemes.end() && !asked.empty() &&
                   WithoutPort(std::string_view(page).substr(scheme->start.size()), scheme->port) ==
                       WithoutPort(asked, scheme->port);
  if (!own) {
    return Message("Origin: got \"", origin, "\", expected this server's own, \"", host,
                   "\": pages of other origins may call it where --cors names them");
  }
  const std::string_view name = NameOf(asked);
  const bool secure = scheme == &kSchemes.back();
  if (!rule.at_loopback || secure || IsLoopback(name) || name == Lower(rule.bound)) return {};
  return Message("Host: got \"", host, "\" from a page, expected ", rule.bound,
                 " or localhost, where this server listens: other names may call it over https "
                 "through a proxy, or where --cors names them");
}

}  // namespace pith::serve
