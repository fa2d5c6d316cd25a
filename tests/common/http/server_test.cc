#include "common/http/server.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

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

class HttpServer : public testing::Test {
 protected:
  void Start(ServerOptions options = {}) {
    Result<std::unique_ptr<Server>> started = StartServer(options, handler_);
    ASSERT_TRUE(started) << started.error().ToString();
    server_ = *std::move(started);
  }
  RawClient Connect() { return RawClient(server_->port()); }

  TestHandler handler_;
  std::unique_ptr<Server> server_;
};

TEST_F(HttpServer, GivesTheHandlerWhatWasSentAndTheClientWhatWasAnswered) {
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

TEST_F(HttpServer, DropsAHeaderThatWouldSplitTheAnswer) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));

  EXPECT_EQ(client.Answer().find("injected"), std::string::npos);
}

TEST_F(HttpServer, AnswersHeadWithoutABody) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n"));

  EXPECT_TRUE(client.Answer().ends_with("\r\n\r\n"));
}

TEST_F(HttpServer, AnswersForAHandlerThatDoesNot) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET /drop HTTP/1.1\r\nHost: h\r\n\r\n"));

  EXPECT_EQ(StatusOf(client.Answer()), 500);
}

TEST_F(HttpServer, RefusesALargeBodyByItsLengthOrItsChunks) {
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

TEST_F(HttpServer, RefusesALargeHeader) {
  Start({.max_header_bytes = 1000});
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\nX-Long: " + std::string(1000, 'x') + "\r\n\r\n"));

  EXPECT_EQ(StatusOf(client.Answer()), 431);
}

TEST_F(HttpServer, RefusesMoreRequestsThanMayBeInWork) {
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

TEST_F(HttpServer, ClosesAClientThatDoesNotFinishItsHeader) {
  Start({.request_timeout = milliseconds(300)});
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\nX-Sl"));

  EXPECT_TRUE(client.Closed());
  EXPECT_EQ(server_->counters().closed_slow, 1u);
}

TEST_F(HttpServer, ClosesAClientThatDoesNotFinishItsBody) {
  Start({.request_timeout = milliseconds(300)});
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf"));

  EXPECT_TRUE(client.Closed());
}

TEST_F(HttpServer, ClosesAnIdleConnection) {
  Start({.idle_timeout = milliseconds(300)});
  RawClient client = Connect();

  EXPECT_TRUE(client.Closed());
}

TEST_F(HttpServer, ClosesAClientWhoseHeaderNeverEnds) {
  Start({.max_body_bytes = 1000, .max_header_bytes = 1000});
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\nX-Long: "));
  while (client.Send(std::string(16 << 10, 'x'))) {
  }

  EXPECT_TRUE(client.Closed());
  EXPECT_GE(server_->counters().closed_oversized, 1u);
}

TEST_F(HttpServer, ClosesConnectionsBeyondTheLimit) {
  Start({.max_connections = 2});
  RawClient first = Connect(), second = Connect(), third = Connect();

  EXPECT_TRUE(third.Closed() || first.Closed() || second.Closed());
  EXPECT_EQ(server_->counters().closed_excess, 1u);
}

TEST_F(HttpServer, FinishesWhatIsInWorkWhenItStops) {
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

TEST_F(HttpServer, SaysWhyItCannotListen) {
  Start();

  Result<std::unique_ptr<Server>> second = StartServer({.port = server_->port()}, handler_);

  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("in use"), std::string::npos) << second.error().message();
}

TEST_F(HttpServer, AnswersALengthThatIsNoNumberInsteadOfHanging) {
  Start();
  RawClient client = Connect();

  ASSERT_TRUE(client.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: hi mom\r\n\r\n"));

  EXPECT_TRUE(client.Answer().ends_with("PUT / "));
}

}  // namespace
}  // namespace berth::http
