// Which pages may call: the server's own, however its address is spelled, and the one that --cors
// names; no others, and none under a name that anybody may have pointed here.
#include "serve/origin.h"

#include <gtest/gtest.h>

#include <string>

namespace pith::serve {
namespace {

constexpr OriginRule AtLoopback() { return {.cors = "", .bound = "127.0.0.1"}; }
constexpr OriginRule AtAll() { return {.cors = "", .bound = "0.0.0.0", .at_loopback = false}; }

bool May(const std::string& origin, const std::string& host, const OriginRule& rule) {
  return WhyRefused(origin, host, rule).empty();
}

TEST(Loopback, IsANameThatNoOtherMachineHas) {
  for (const char* host : {"localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.200.3.4",
                           "::1", "[::1]", "[0:0:0:0:0:0:0:1]"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host :
       {"", "notlocalhost", "localhost.example.org", "127.0.0.1.example.org", "128.0.0.1",
        "0.0.0.0", "127.1", "[::2]", "::", "example.org", "[", "]"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(Origins, TheServersOwn) {
  EXPECT_TRUE(May("http://127.0.0.1:8080", "127.0.0.1:8080", AtLoopback()));
  EXPECT_TRUE(May("http://localhost:8080", "localhost:8080", AtLoopback()));
  EXPECT_TRUE(May("http://[::1]:8080", "[::1]:8080", AtLoopback()));
  EXPECT_TRUE(May("http://localhost", "localhost:80", AtLoopback()));
  EXPECT_TRUE(May("HTTP://LocalHost:80", "localhost", AtLoopback()));
  EXPECT_TRUE(May("http://box.lan:8080", "box.lan:8080", AtAll()));
  OriginRule named = AtLoopback();
  named.bound = "Box";  // as Debian has 127.0.1.1
  EXPECT_TRUE(May("http://box:8080", "box:8080", named));
}

TEST(Origins, Others) {
  const char* const foreign[] = {"http://example.org",
                                 "http://127.0.0.1:8081",
                                 "http://localhost:8080",
                                 "https://127.0.0.1.example.org:8080",
                                 "http://127.0.0.1",
                                 "http://x@127.0.0.1:8080",
                                 "http://127.0.0.1:8080/",
                                 "ftp://127.0.0.1:8080",
                                 "chrome-extension://abcd",
                                 "127.0.0.1:8080",
                                 "null",
                                 "",
                                 "http://"};
  for (const char* origin : foreign) {
    for (const OriginRule& rule : {AtLoopback(), AtAll()}) {
      const std::string why = WhyRefused(origin, "127.0.0.1:8080", rule);
      EXPECT_NE(why.find("Origin: got"), std::string::npos) << origin << ": " << why;
      EXPECT_NE(why.find(origin), std::string::npos);
      EXPECT_FALSE(May(origin, "", rule));  // a host that was not sent is nobody's own
    }
  }
}

// The name of the page's own server now leads to 127.0.0.1: for the browser that is one origin.
TEST(Origins, ANameThatWasPointedHere) {
  const std::string why = WhyRefused("http://evil.example:8080", "evil.example:8080", AtLoopback());
  EXPECT_NE(why.find("Host: got \"evil.example:8080\""), std::string::npos) << why;
  EXPECT_FALSE(May("http://192.168.0.7:8080", "192.168.0.7:8080", AtLoopback()));
  EXPECT_FALSE(May("http://127.0.0.1.evil.example", "127.0.0.1.evil.example", AtLoopback()));
  // A proxy that speaks TLS under this name has asked: packaging/nginx.conf.
  EXPECT_TRUE(May("https://pith.example", "pith.example", AtLoopback()));
  EXPECT_TRUE(May("https://pith.example:8443", "pith.example:8443", AtLoopback()));
  EXPECT_FALSE(May("https://evil.example", "pith.example", AtLoopback()));
}

TEST(Origins, TheOneThatCorsNames) {
  OriginRule rule = AtLoopback();
  rule.cors = "https://example.org";
  EXPECT_TRUE(May("https://example.org", "127.0.0.1:8080", rule));
  EXPECT_TRUE(May("http://127.0.0.1:8080", "127.0.0.1:8080", rule));
  EXPECT_FALSE(May("https://example.org.evil.example", "127.0.0.1:8080", rule));
  EXPECT_FALSE(May("http://example.org", "127.0.0.1:8080", rule));
  rule.cors = "*";
  EXPECT_TRUE(May("null", "127.0.0.1:8080", rule));
}

}  // namespace
}  // namespace pith::serve
