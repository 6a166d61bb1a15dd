// Which pages may call the server from a browser, by the headers that a browser sets and a page
// cannot.
#ifndef PITH_SERVE_ORIGIN_H_
#define PITH_SERVE_ORIGIN_H_

#include <string>
#include <string_view>

namespace pith::serve {

// A name or address, IPv6 with or without brackets, that no other machine can have.
bool IsLoopback(std::string_view host);

struct OriginRule {
  std::string cors;         // the origin whose pages may call, or "*"; empty: none
  std::string bound;        // the name or address that the server was told to listen at
  bool at_loopback = true;  // what it listens at
};

// Why a page of `origin` may not call; empty: it may. It may where `cors` says so, and where
// `host`, the address that its browser asked, is the page's own: `https://example.org:8443` and
// `example.org:8443`, in any case, with or without the scheme's usual port. A name that anybody may
// have pointed at this machine (DNS rebinding) is no own address of a server at loopback. It may be
// one under https, which the server does not speak: then a proxy with a certificate for it asked.
std::string WhyRefused(std::string_view origin, std::string_view host, const OriginRule& rule);

}  // namespace pith::serve

#endif  // PITH_SERVE_ORIGIN_H_
