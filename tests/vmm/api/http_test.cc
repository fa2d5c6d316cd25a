#include "vmm/api/http.h"

#include <gtest/gtest.h>

namespace berth::vmm {
namespace {

constexpr HttpLimits kSmall = {256, 32};

// The status that a buffer is refused with, 0 when it parses, -1 when more is needed.
int Verdict(std::string_view buffer, const HttpLimits& limits = kSmall) {
  ParseOutcome outcome = ParseHttpRequest(buffer, limits);
  if (std::holds_alternative<NeedMore>(outcome)) return -1;
  if (auto* bad = std::get_if<BadRequest>(&outcome)) return bad->status;
  return 0;
}

HttpRequest Parsed(std::string_view buffer) {
  ParseOutcome outcome = ParseHttpRequest(buffer, kSmall);
  auto* parsed = std::get_if<ParsedRequest>(&outcome);
  EXPECT_NE(parsed, nullptr) << buffer;
  return parsed == nullptr ? HttpRequest() : parsed->request;
}

TEST(Http, ReadsARequestWithABody) {
  std::string_view text = "PUT /api/v1/vm.create HTTP/1.1\r\nHost: x\r\nContent-Length:  2 \r\n\r\n{}GET";
  ParseOutcome outcome = ParseHttpRequest(text, kSmall);

  auto* parsed = std::get_if<ParsedRequest>(&outcome);
  ASSERT_NE(parsed, nullptr);
  EXPECT_EQ(parsed->request.method, "PUT");
  EXPECT_EQ(parsed->request.target, "/api/v1/vm.create");
  EXPECT_EQ(parsed->request.body, "{}");
  EXPECT_TRUE(parsed->request.keep_alive);
  EXPECT_EQ(text.substr(parsed->consumed), "GET");
}

TEST(Http, EveryProperPrefixOfARequestNeedsMore) {
  std::string text = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
  for (size_t size = 0; size < text.size(); ++size)
    EXPECT_EQ(Verdict(std::string_view(text).substr(0, size)), -1) << size;
  EXPECT_EQ(Verdict(text), 0);
}

TEST(Http, ConnectionsAreKeptAsTheVersionAndTheFieldSay) {
  EXPECT_TRUE(Parsed("GET / HTTP/1.1\r\n\r\n").keep_alive);
  EXPECT_FALSE(Parsed("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n").keep_alive);
  EXPECT_FALSE(Parsed("GET / HTTP/1.0\r\n\r\n").keep_alive);
  EXPECT_TRUE(Parsed("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
  EXPECT_FALSE(Parsed("GET / HTTP/1.1\r\nConnection: close, keep-alive\r\n\r\n").keep_alive);
}

TEST(Http, RefusesMalformedRequests) {
  for (const char* text : {"\r\n\r\n",
                           "GET\r\n\r\n",
                           "GET /\r\n\r\n",
                           "GET  / HTTP/1.1\r\n\r\n",
                           "GET / x HTTP/1.1\r\n\r\n",
                           "G=T / HTTP/1.1\r\n\r\n",
                           "GET x HTTP/1.1\r\n\r\n",
                           "GET /\x01 HTTP/1.1\r\n\r\n",
                           "GET / FTP/1.1\r\n\r\n",
                           "GET / HTTP/1.1\nHost: x\n\n",
                           "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
                           "GET / HTTP/1.1\r\n folded\r\n\r\n",
                           "GET / HTTP/1.1\r\nnocolon\r\n\r\n",
                           "GET / HTTP/1.1\r\n: x\r\n\r\n",
                           "GET / HTTP/1.1\r\nA: \x7f\r\n\r\n",
                           "GET / HTTP/1.1\r\nA: b\nB: c\r\n\r\n",
                           "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                           "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                           "GET / HTTP/1.1\r\nContent-Length: 1,1\r\n\r\n",
                           "GET / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n",
                           "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
                           "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                           "\n"})
    EXPECT_EQ(Verdict(text), 400) << text;
}

TEST(Http, RefusesWhatItDoesNotSpeak) {
  EXPECT_EQ(Verdict("GET / HTTP/2.0\r\n\r\n"), 505);
  EXPECT_EQ(Verdict("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 501);
  EXPECT_EQ(Verdict("GET / HTTP/1.1\r\nExpect: 200-ok\r\n\r\n"), 417);
}

TEST(Http, TellsThatAClientWaitsToBeToldToGoOn) {
  const auto waits = [](std::string_view buffer) {
    ParseOutcome outcome = ParseHttpRequest(buffer, kSmall);
    const auto* more = std::get_if<NeedMore>(&outcome);
    return more != nullptr && more->awaits_continue;
  };
  const std::string header = "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";

  EXPECT_TRUE(waits(header));
  EXPECT_FALSE(waits(header.substr(0, header.size() - 1)));
  EXPECT_FALSE(waits(header + "{")) << "it does not wait any more";
  EXPECT_FALSE(waits("PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_FALSE(waits("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_EQ(Verdict("GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n"), 0) << "nothing to wait for";
  EXPECT_EQ(Verdict("PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 33\r\n\r\n"), 413);
  EXPECT_EQ(Parsed(header + "{}").body, "{}");
}

TEST(Http, HoldsItsLimits) {
  EXPECT_EQ(Verdict("GET / HTTP/1.1\r\nContent-Length: 33\r\n\r\n"), 413) << "before the body has come";
  EXPECT_EQ(Verdict("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"), 413);
  EXPECT_EQ(Verdict("GET /" + std::string(250, 'a')), -1);
  EXPECT_EQ(Verdict("GET /" + std::string(251, 'a')), 431);
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 65; ++i) many += "A:\r\n";
  EXPECT_EQ(Verdict(many + "\r\n", {8192, 32}), 431);
}

TEST(Http, FormatsAnswers) {
  EXPECT_EQ(
      FormatHttpResponse({200, "{}", {}}, true),
      "HTTP/1.1 200 OK\r\nServer: berth-vmm\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"
      "Content-Length: 2\r\n\r\n{}");
  EXPECT_EQ(FormatHttpResponse({204, "", {}}, false),
            "HTTP/1.1 204 No Content\r\nServer: berth-vmm\r\nConnection: close\r\n\r\n");
  EXPECT_NE(FormatHttpResponse({405, "[]", "GET"}, true).find("\r\nAllow: GET\r\n"), std::string::npos);
}

TEST(Http, ErrorsAreArraysOfObjects) {
  EXPECT_EQ(ErrorBody("ABORTED", "a \"b\"", "f", "h"),
            R"([{"code":"ABORTED","message":"a \"b\"","field":"f","hint":"h"}])");
  EXPECT_EQ(ErrorBody("X", "\xff"), "[{\"code\":\"X\",\"message\":\"\xef\xbf\xbd\"}]");
}

}  // namespace
}  // namespace berth::vmm
