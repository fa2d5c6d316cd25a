#include "common/http/server.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "common/unique_fd.h"
#include "tests/common/http/raw_client.h"

namespace berth::http {
namespace {

using std::chrono::milliseconds;

// Answers at once with what it was asked, but for /hold (answered when Release is called) and /drop (never).
class TestHandler final : public Handler {
 public:
  void Handle(Request request, Respond respond) override {
    if (request.path == "/drop") return;
    if (request.path == "/hold") {
      std::lock_guard lock(mutex_);
      held_.push_back(std::move(respond));
      changed_.notify_all();
      return;
    }
    Response response;
    response.headers.Add("content-type", "text/plain");
    response.headers.Add("x-evil", "a\r\nx-injected: 1");
    response.headers.Add("x-query", request.query);
    response.body = request.method + " " + request.path + " " + request.body;
    respond(std::move(response));
  }
  Response Refuse(const Request&, int status, const std::string& reason) override {
    return {.status = status, .headers = {}, .body = reason};
  }
  void WaitHeld(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_.size() >= count; });
  }
  void Release() {
    std::lock_guard lock(mutex_);
    for (Respond& respond : held_) respond({.status = 200, .headers = {}, .body = "late"});
    held_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Respond> held_;
};

using StartFunction = Result<std::unique_ptr<Server>> (*)(const ServerOptions&, Handler&);
struct Listener {
  const char* name;
  StartFunction start;
};

// What every listener does.
class HttpServer : public testing::TestWithParam<Listener> {
 protected:
  void Start(ServerOptions options = {}) {
    Result<std::unique_ptr<Server>> started = GetParam().start(options, handler_);
    ASSERT_TRUE(started) << started.error().ToString();
    server_ = *std::move(started);
  }
  RawClient Connect() { return RawClient(server_->port()); }

  TestHandler handler_;
  std::unique_ptr<Server> server_;
};

TEST_P(HttpServer, GivesTheHandlerWhatWasSentAndTheClientWhatWasAnswered) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("PUT /a%20b?x=1&x=2 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"));
  std::string answer = client.Answer();
  ASSERT_TRUE(client.Send("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n"));
  std::string second = client.Answer();

  EXPECT_EQ(StatusOf(answer), 200);
  EXPECT_TRUE(answer.ends_with("\r\n\r\nPUT /a%20b body")) << answer;
  EXPECT_NE(answer.find("x-query: x=1&x=2\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("Date: "), std::string::npos) << answer;
  EXPECT_TRUE(second.ends_with("OPTIONS / ")) << second;
}

TEST_P(HttpServer, DropsAHeaderThatWouldSplitTheAnswer) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));

  EXPECT_EQ(client.Answer().find("injected"), std::string::npos);
}

TEST_P(HttpServer, AnswersHeadWithoutABody) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n"));

  EXPECT_TRUE(client.Answer().ends_with("\r\n\r\n"));
}

TEST_P(HttpServer, AnswersForAHandlerThatDoesNot) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET /drop HTTP/1.1\r\nHost: h\r\n\r\n"));

  EXPECT_EQ(StatusOf(client.Answer()), 500);
}

TEST_P(HttpServer, RefusesALargeBodyByItsLengthOrItsChunks) {
  Start({.max_body_bytes = 1000});
  RawClient sized = Connect(), chunked = Connect(), fitting = Connect();

  ASSERT_TRUE(
      sized.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x')));
  ASSERT_TRUE(chunked.Send("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" +
                           std::string(1001, 'x') + "\r\n0\r\n\r\n"));
  ASSERT_TRUE(
      fitting.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'x')));

  EXPECT_EQ(StatusOf(sized.Answer()), 413);
  EXPECT_EQ(StatusOf(chunked.Answer()), 413);
  EXPECT_EQ(StatusOf(fitting.Answer()), 200);
  EXPECT_EQ(server_->counters().refused_body, 2u);
}

TEST_P(HttpServer, RefusesALargeHeader) {
  Start({.max_header_bytes = 1000});
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\nX-Long: " + std::string(1000, 'x') + "\r\n\r\n"));

  EXPECT_EQ(StatusOf(client.Answer()), 431);
}

TEST_P(HttpServer, RefusesMoreRequestsThanMayBeInWork) {
  Start({.max_concurrent = 1});
  RawClient first = Connect(), second = Connect();
  ASSERT_TRUE(first.Send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
  handler_.WaitHeld(1);

  ASSERT_TRUE(second.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  std::string refused = second.Answer();
  handler_.Release();

  EXPECT_EQ(StatusOf(refused), 503);
  EXPECT_EQ(StatusOf(first.Answer()), 200);
}

TEST_P(HttpServer, ClosesAClientThatDoesNotFinishItsHeader) {
  Start({.request_timeout = milliseconds(300)});
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\nX-Sl"));

  EXPECT_TRUE(client.Closed());
  EXPECT_EQ(server_->counters().closed_slow, 1u);
}

TEST_P(HttpServer, ClosesAClientThatDoesNotFinishItsBody) {
  Start({.request_timeout = milliseconds(300)});
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf"));

  EXPECT_TRUE(client.Closed());
}

TEST_P(HttpServer, ClosesAnIdleConnection) {
  Start({.idle_timeout = milliseconds(300)});
  RawClient client = Connect();

  EXPECT_TRUE(client.Closed());
}

TEST_P(HttpServer, ClosesAClientWhoseHeaderNeverEnds) {
  Start({.max_body_bytes = 1000, .max_header_bytes = 1000});
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\nX-Long: "));
  while (client.Send(std::string(16 << 10, 'x'))) {
  }

  EXPECT_TRUE(client.Closed());
  EXPECT_GE(server_->counters().closed_oversized, 1u);
}

TEST_P(HttpServer, ClosesConnectionsBeyondTheLimit) {
  Start({.max_connections = 2});
  RawClient first = Connect(), second = Connect(), third = Connect();

  EXPECT_TRUE(third.Closed() || first.Closed() || second.Closed());
  EXPECT_EQ(server_->counters().closed_excess, 1u);
}

// Descriptors' numbers are used again: who comes late may have a lower one than those who were there.
TEST_P(HttpServer, ClosesTheNewcomerWhateverItsNumberIs) {
  Start({.max_connections = 2});
  std::vector<UniqueFd> low;
  for (int i = 0; i < 8; ++i) low.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  RawClient first = Connect(), second = Connect();
  while (server_->counters().connections < 2) std::this_thread::sleep_for(milliseconds(1));
  low.clear();
  RawClient third = Connect();

  EXPECT_TRUE(third.Closed());
  EXPECT_EQ(server_->counters().closed_excess, 1u);
  EXPECT_TRUE(first.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") && StatusOf(first.Answer()) != 0);
}

TEST_P(HttpServer, FinishesWhatIsInWorkWhenItStops) {
  Start();
  RawClient client = Connect(), late = Connect();
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
  handler_.WaitHeld(1);

  std::thread stopper([&] { server_->Stop(milliseconds(10'000)); });
  int status = 0;
  while (status != 503 && late.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")) status = StatusOf(late.Answer());
  handler_.Release();
  std::string answer = client.Answer();
  stopper.join();

  EXPECT_TRUE(answer.ends_with("late")) << answer;
  EXPECT_FALSE(RawClient(server_->port()).connected());
}

TEST_P(HttpServer, SaysWhyItCannotListen) {
  Start();

  Result<std::unique_ptr<Server>> second = GetParam().start({.port = server_->port()}, handler_);

  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("in use"), std::string::npos) << second.error().message();
}

TEST_P(HttpServer, AnswersALengthThatIsNoNumberInsteadOfHanging) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: hi mom\r\n\r\n"));
  std::string answer = client.Answer();

  // One library leaves it to the handler, the other refuses it as the handler says.
  if (GetParam().start == StartServer) {
    EXPECT_TRUE(answer.ends_with("PUT / ")) << answer;
  } else {
    EXPECT_EQ(StatusOf(answer), 400);
    EXPECT_TRUE(answer.ends_with("content-length header must be an integer")) << answer;
  }
}

TEST_P(HttpServer, SendsALargeAnswerWhole) {
  Start();
  RawClient client = Connect();
  std::string body(3 << 20, 'x');

  ASSERT_TRUE(client.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) +
                          "\r\n\r\n" + body));
  std::string answer = client.Answer();

  EXPECT_TRUE(answer.ends_with("\r\n\r\nPUT / " + body));
}

TEST_P(HttpServer, RunsWorkOnItsOwnThreads) {
  Start();
  std::mutex mutex;
  std::condition_variable ran;
  std::thread::id id;
  server_->RunSoon([&] {
    std::lock_guard lock(mutex);
    id = std::this_thread::get_id();
    ran.notify_all();
  });

  std::unique_lock lock(mutex);
  ASSERT_TRUE(ran.wait_for(lock, std::chrono::seconds(20), [&] { return id != std::thread::id(); }));
  EXPECT_NE(id, std::this_thread::get_id());
}

TEST_P(HttpServer, TakesAnAnswerThatComesAfterItsEnd) {
  Start();
  RawClient client = Connect();
  ASSERT_TRUE(client.Send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
  handler_.WaitHeld(1);

  server_->Stop(milliseconds(0));
  handler_.Release();

  EXPECT_TRUE(client.Closed());
}

INSTANTIATE_TEST_SUITE_P(Listeners, HttpServer,
                         testing::Values(Listener{"cpprestsdk", StartServer},
                                         Listener{"beast", StartBeastServer}),
                         [](const auto& tested) { return tested.param.name; });

// What cpprestsdk's does not (docs/placement-api.md).
class BeastServerTest : public HttpServer {};

TEST_P(BeastServerTest, AnswersPipelinedRequestsInTheirOrder) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send(
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPUT /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
      "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n"));

  EXPECT_TRUE(client.Answer().ends_with("GET /1 "));
  EXPECT_TRUE(client.Answer().ends_with("PUT /2 ab"));
  EXPECT_TRUE(client.Answer().ends_with("GET /3 "));
}

TEST_P(BeastServerTest, GivesLeaveToSendABody) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
  std::string leave = client.Answer();
  ASSERT_TRUE(client.Send("body"));

  EXPECT_EQ(StatusOf(leave), 100);
  EXPECT_TRUE(client.Answer().ends_with("PUT / body"));
}

TEST_P(BeastServerTest, RefusesWhatHasNoCertainEnd) {
  Start();
  for (const char* framing :
       {"Content-Length: 4\r\nContent-Length: 5\r\n", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: -1\r\n", "Content-Length: 99999999999999999999\r\n"}) {
    RawClient client = Connect();
    ASSERT_TRUE(client.Send("PUT / HTTP/1.1\r\nHost: h\r\n" + std::string(framing) + "\r\n0\r\n\r\n"));

    EXPECT_EQ(StatusOf(client.Answer()), 400) << framing;
    EXPECT_TRUE(client.Closed()) << framing;
  }
}

TEST_P(BeastServerTest, RefusesWhatIsNoRequest) {
  Start();
  for (std::string text : {"\r\n\r\n\r\n\r\n ", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                           "\x16\x03\x01\x02 hello tls\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n"}) {
    RawClient client = Connect();
    ASSERT_TRUE(client.Send(text));

    EXPECT_EQ(StatusOf(client.Answer()), 400) << text;
    EXPECT_TRUE(client.Closed()) << text;
  }
}

TEST_P(BeastServerTest, ClosesAfterAnAnswerWhenAskedTo) {
  Start();
  RawClient polite = Connect(), old = Connect();

  ASSERT_TRUE(polite.Send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
  ASSERT_TRUE(old.Send("GET / HTTP/1.0\r\n\r\n"));

  EXPECT_EQ(StatusOf(polite.Answer()), 200);
  EXPECT_TRUE(polite.Closed());
  EXPECT_EQ(StatusOf(old.Answer()), 200);
  EXPECT_TRUE(old.Closed());
  EXPECT_EQ(server_->counters().closed_slow, 0u);
}

INSTANTIATE_TEST_SUITE_P(Listeners, BeastServerTest, testing::Values(Listener{"beast", StartBeastServer}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace berth::http
