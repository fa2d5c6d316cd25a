// The only file that knows the listener of cpprestsdk. What the library lacks is added here (limits, Date,
// reason phrases, header hygiene, an answer for every request) and in connection_guard.cc (timeouts); what
// cannot be added from outside stands in docs/placement-api.md.
#include <cpprest/http_listener.h>
#include <netdb.h>
#include <pplx/threadpool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <thread>

#include "common/http/connection_guard.h"
#include "common/http/server.h"
#include "common/log.h"
#include "common/unique_fd.h"

namespace berth::http {
namespace {

using web::http::http_request;
using web::http::http_response;
using web::http::experimental::listener::http_listener;

// What requests in work share with the server; they may outlive it by a moment.
struct Shared {
  explicit Shared(const ServerOptions& o, Handler& h) : options(o), handler(h) {}

  const ServerOptions options;
  Handler& handler;
  std::atomic<bool> stopping{false};
  std::atomic<uint64_t> refused_busy{0};
  std::atomic<uint64_t> refused_body{0};
  std::mutex mutex;  // guards in_work
  std::condition_variable idle;
  size_t in_work = 0;

  // False when as many are in work as may be. Counted even then: the refusal is work too.
  bool Begin() {
    std::lock_guard lock(mutex);
    return ++in_work <= options.max_concurrent;
  }
  void End() {
    std::lock_guard lock(mutex);
    if (--in_work == 0) idle.notify_all();
  }
};

http_response ToLibrary(Response response, bool head) {
  http_response out(static_cast<web::http::status_code>(response.status));
  out.set_reason_phrase(std::string(ReasonPhrase(response.status)));
  std::string type;
  for (const auto& [name, value] : response.headers.fields()) {
    // The library writes what it is given: a line break in a value would end the header. And it aborts on a
    // length without a body.
    if (!IsHeaderText(name) || !IsHeaderText(value) || EqualsIgnoreCase(name, "content-length")) continue;
    if (EqualsIgnoreCase(name, "content-type")) {
      type = value;
    } else {
      out.headers().add(name, value);
    }
  }
  out.headers().add("Date", FormatHttpDate(std::time(nullptr)));
  if (!head && !response.body.empty()) {
    out.set_body(std::move(response.body), type);
  } else if (!type.empty()) {
    out.headers().set_content_type(type);
  }
  return out;
}

// One request and its answer. The last owner sends a 500 if nobody has answered.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(std::shared_ptr<Shared> shared, http_request request)
      : shared_(std::move(shared)), message_(std::move(request)), thread_(std::this_thread::get_id()) {}
  ~Exchange() {
    if (!answered_.exchange(true)) Send({.status = 500, .headers = {}, .body = {}});
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  http_request& message() { return message_; }
  const Request& request() const { return request_; }
  void SetRequest(Request request) { request_ = std::move(request); }

  void Answer(Response response) {
    if (answered_.exchange(true)) return;
    if (std::this_thread::get_id() == thread_) return Send(std::move(response));
    // Another thread's time (the writer's, usually) is not ours to spend.
    auto self = shared_from_this();
    auto moved = std::make_shared<Response>(std::move(response));
    crossplat::threadpool::shared_instance().service().post([self, moved] { self->Send(std::move(*moved)); });
  }
  void Refuse(int status, const std::string& reason) {
    Response response = shared_->handler.Refuse(request_, status, reason);
    response.headers.Set("Connection", "close");
    Answer(std::move(response));
  }

 private:
  void Send(Response response) {
    auto shared = shared_;
    try {
      // An exception in a chain that nobody looks at would end the process: this is the one place that looks.
      message_.reply(ToLibrary(std::move(response), message_.method() == "HEAD"))
          .then([shared](const pplx::task<void>& sent) {
            try {
              sent.get();
            } catch (const std::exception& gone) {
              LOG(kDebug, "http_answer_lost", {{"error", gone.what()}});
            }
            shared->End();
          });
    } catch (const std::exception& error) {
      LOG(kWarning, "http_answer_failed", {{"error", error.what()}});
      shared->End();
    }
  }

  std::shared_ptr<Shared> shared_;
  http_request message_;
  Request request_;
  std::thread::id thread_;
  std::atomic<bool> answered_{false};
};

size_t ReadHead(const http_request& message, Request& request) {
  size_t bytes = 0;
  request.method = message.method();
  request.path = message.request_uri().path();
  request.query = message.request_uri().query();
  request.remote = message.remote_address();
  bytes += request.path.size() + request.query.size();
  for (const auto& [name, value] : message.headers()) {
    request.headers.Add(name, value);
    bytes += name.size() + value.size() + 4;
  }
  return bytes;
}

void Dispatch(const std::shared_ptr<Exchange>& exchange, Shared& shared, Request request) {
  shared.handler.Handle(std::move(request),
                        [exchange](Response response) { exchange->Answer(std::move(response)); });
}

void ReadBody(const std::shared_ptr<Exchange>& exchange, const std::shared_ptr<Shared>& shared,
              Request request) {
  auto head = std::make_shared<Request>(std::move(request));
  exchange->message().extract_vector().then(
      [exchange, shared, head](const pplx::task<std::vector<unsigned char>>& read) {
        try {
          const std::vector<unsigned char>& bytes = read.get();
          if (bytes.size() > shared->options.max_body_bytes) {
            shared->refused_body.fetch_add(1);
            return exchange->Refuse(413, "the body is larger than this server takes");
          }
          head->body.assign(bytes.begin(), bytes.end());
          Dispatch(exchange, *shared, std::move(*head));
        } catch (const std::exception& error) {
          LOG(kDebug, "http_body_lost", {{"error", error.what()}});
          exchange->Answer({.status = 400, .headers = {}, .body = {}});
        }
      });
}

void Receive(const std::shared_ptr<Shared>& shared, http_request message) {
  bool room = shared->Begin();
  auto exchange = std::make_shared<Exchange>(shared, std::move(message));
  Request request;
  size_t head_bytes = ReadHead(exchange->message(), request);
  exchange->SetRequest(request);
  const web::http::http_headers& headers = exchange->message().headers();
  if (shared->stopping.load()) return exchange->Refuse(503, "the service is stopping");
  if (!room) {
    shared->refused_busy.fetch_add(1);
    return exchange->Refuse(503, "too many requests are in work");
  }
  if (head_bytes > shared->options.max_header_bytes) {
    return exchange->Refuse(431, "the header is larger than this server takes");
  }
  auto length = headers.find("Content-Length");
  bool chunked = headers.has("Transfer-Encoding");
  if (length == headers.end() && !chunked) return Dispatch(exchange, *shared, std::move(request));
  if (!chunked && headers.content_length() > shared->options.max_body_bytes) {
    shared->refused_body.fetch_add(1);
    return exchange->Refuse(413, "the body is larger than this server takes");
  }
  ReadBody(exchange, shared, std::move(request));
}

// A port that nobody listens on, or that `port` can be listened on at all: the library neither tells the one
// nor says why the other fails.
Result<int> ProbePort(const std::string& host, int port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  if (int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); error != 0) {
    return Unavailable("cannot listen on " + host + ": " + gai_strerror(error));
  }
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  UniqueFd fd(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || listen(fd.get(), 1) != 0) {
    return Unavailable("cannot listen on " + host + ":" + std::to_string(port) + ": " +
                       ErrnoStatus("", errno).message().substr(2));
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  return bound.ss_family == AF_INET6 ? ntohs(reinterpret_cast<const sockaddr_in6&>(bound).sin6_port)
                                     : ntohs(reinterpret_cast<const sockaddr_in&>(bound).sin_port);
}

class CpprestServer final : public Server {
 public:
  CpprestServer(std::shared_ptr<Shared> shared, std::unique_ptr<http_listener> listener, int port)
      : shared_(std::move(shared)), listener_(std::move(listener)), port_(port) {
    const ServerOptions& o = shared_->options;
    guard_ = std::make_unique<ConnectionGuard>(
        port, ConnectionGuard::Limits{.request_bytes = o.max_header_bytes + o.max_body_bytes + (64 << 10),
                                      .request_timeout = o.request_timeout,
                                      .idle_timeout = o.idle_timeout,
                                      .connections = o.max_connections});
  }
  ~CpprestServer() override { Stop(std::chrono::milliseconds(0)); }

  int port() const override { return port_; }
  Counters counters() const override {
    Counters c{.refused_busy = shared_->refused_busy.load(), .refused_body = shared_->refused_body.load()};
    if (guard_) {
      c.closed_slow = guard_->counters().slow.load();
      c.closed_oversized = guard_->counters().oversized.load();
      c.closed_excess = guard_->counters().excess.load();
      c.connections = guard_->counters().open.load();
    }
    std::lock_guard lock(shared_->mutex);
    c.in_work = shared_->in_work;
    return c;
  }

  void RunSoon(std::function<void()> work) override {
    crossplat::threadpool::shared_instance().service().post(std::move(work));
  }

  void Stop(std::chrono::milliseconds grace) override {
    if (!listener_) return;
    shared_->stopping.store(true);
    {
      std::unique_lock lock(shared_->mutex);
      shared_->idle.wait_for(lock, grace, [this] { return shared_->in_work == 0; });
    }
    try {
      listener_->close().wait();
    } catch (const std::exception& error) {
      LOG(kWarning, "http_listener_close_failed", {{"error", error.what()}});
    }
    listener_.reset();
  }

 private:
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<http_listener> listener_;
  std::unique_ptr<ConnectionGuard> guard_;
  int port_;
};

}  // namespace

Result<std::unique_ptr<Server>> StartServer(const ServerOptions& options, Handler& handler) {
  // The library has one pool for all, made at its first use.
  static std::once_flag once;
  std::call_once(once, [&] {
    try {
      // cpprestsdk waits for one task within another: a single thread would wait for ever.
      crossplat::threadpool::initialize_with_threads(std::max<size_t>(options.threads, 2));
    } catch (const std::exception&) {
      LOG(kDebug, "http_pool_exists_already");
    }
  });
  // The library cuts its address at the first colon.
  if (options.host.find(':') != std::string::npos) {
    return InvalidArgument("cpprestsdk cannot listen on the IPv6 address " + options.host, "host",
                           "use the listener beast");
  }
  auto shared = std::make_shared<Shared>(options, handler);
  Status failed;
  for (int attempt = 0; attempt < (options.port == 0 ? 8 : 1); ++attempt) {
    TRY_ASSIGN(int port, ProbePort(options.host, options.port));
    try {
      auto listener = std::make_unique<http_listener>(
          web::uri("http://" + options.host + ":" + std::to_string(port) + "/"));
      auto receive = [shared](const http_request& message) { Receive(shared, message); };
      listener->support(receive);
      for (const char* method : {"OPTIONS", "TRACE"}) {  // else the library answers these by itself
        listener->support(method, receive);
      }
      listener->open().wait();
      return std::unique_ptr<Server>(
          std::make_unique<CpprestServer>(std::move(shared), std::move(listener), port));
    } catch (const std::exception& error) {
      failed =
          Unavailable("cannot listen on " + options.host + ":" + std::to_string(port) + ": " + error.what());
    }
  }
  return failed;
}

}  // namespace berth::http
