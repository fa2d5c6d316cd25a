#include "common/host_port.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

std::string Shown(std::string_view text) {
  Result<HostPort> parsed = ParseListen(text, "listen");
  return parsed.has_value() ? parsed->ToString() : "refused";
}

TEST(HostPort, ReadsNamesAndAddresses) {
  EXPECT_EQ(Shown("127.0.0.1:0"), "127.0.0.1:0");
  EXPECT_EQ(Shown("node-1.example.com:65535"), "node-1.example.com:65535");
  EXPECT_EQ(Shown("[::1]:8778"), "[::1]:8778");
  EXPECT_EQ(ParseListen("[::1]:8778", "listen")->host, "::1");
  EXPECT_EQ(ParseListen("[fe80::1%eth0]:1", "listen")->host, "fe80::1%eth0");
  EXPECT_TRUE(ParseListen("[::]:1", "listen")->is_ipv6());
}

TEST(HostPort, RefusesWhatGrpcWouldTakeAsSomethingElse) {
  for (const char* text : {"127.0.0.1:70000",
                           "127.0.0.1:65536",
                           "127.0.0.1",
                           "bad:xx",
                           "bad",
                           "",
                           ":1",
                           "a:",
                           "a:-1",
                           "a:+1",
                           "a:1x",
                           "a: 1",
                           "a b:1",
                           "[]:1",
                           "[a]:1",
                           "[::1]",
                           "::1:80",
                           "[::1:80",
                           "a:99999999999999999999",
                           "unix:/run/berth.sock"}) {
    EXPECT_EQ(Shown(text), "refused") << text;
  }
}

TEST(HostPort, NamesOptionValueAndRange) {
  EXPECT_EQ(
      ParseListen("h:70000", "grpc-listen").error().ToString(),
      "INVALID_ARGUMENT: grpc-listen: \"h:70000\" is no address (expected HOST:PORT or [IPv6]:PORT, port 0 "
      "to 65535)");
  EXPECT_EQ(ParsePeer("h:0", "placement").error().hint(),
            "expected HOST:PORT or [IPv6]:PORT, port 1 to 65535");
  EXPECT_EQ(ParsePeer("h:1", "placement")->port, 1);
}

TEST(HostPort, KnowsLoopbackAddresses) {
  for (const char* host : {"localhost", "::1", "127.0.0.1", "127.9.9.9"})
    EXPECT_TRUE(IsLoopback(host)) << host;
  for (const char* host : {"127.example.com", "0.0.0.0", "::", "10.0.0.1", ""})
    EXPECT_FALSE(IsLoopback(host)) << host;
}

}  // namespace
}  // namespace berth
