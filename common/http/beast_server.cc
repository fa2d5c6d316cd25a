// The only file that knows Boost.Beast, whose parser reads the requests; connections, limits and answers are
// here. A connection lives on a strand: its members are touched there only.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

#include "common/host_port.h"
#include "common/http/server.h"
#include "common/log.h"

namespace berth::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kSweep{250};
constexpr std::chrono::milliseconds kLinger{1000};
constexpr size_t kReadBytes = 16 << 10;
constexpr int64_t kNever = INT64_MAX;

class Connection;

// What connections share with the server. Answers in work may outlive the server by a moment, and with them
// this.
struct Shared {
  Shared(const ServerOptions& o, Handler& h) : options(o), handler(h) {}

  const ServerOptions options;
  Handler& handler;
  asio::io_context context;
  std::atomic<bool> stopping{false};
  std::atomic<uint64_t> refused_busy{0};
  std::atomic<uint64_t> refused_body{0};
  std::atomic<uint64_t> closed_slow{0};
  std::atomic<uint64_t> closed_oversized{0};
  std::atomic<uint64_t> closed_excess{0};
  std::mutex mutex;  // guards the rest
  std::condition_variable idle;
  size_t in_work = 0;
  bool ended = false;  // nobody runs the context any more
  std::unordered_map<const Connection*, std::weak_ptr<Connection>> connections;

  std::vector<std::shared_ptr<Connection>> Open() {
    std::vector<std::shared_ptr<Connection>> open;
    std::lock_guard lock(mutex);
    open.reserve(connections.size());
    for (const auto& [at, weak] : connections) {
      if (auto connection = weak.lock()) open.push_back(std::move(connection));
    }
    return open;
  }
};

// A request in work, from its last byte to the last one of its answer.
class InWork {
 public:
  explicit InWork(Shared& shared) : shared_(shared) {
    std::lock_guard lock(shared_.mutex);
    room_ = ++shared_.in_work <= shared_.options.max_concurrent;
  }
  ~InWork() {
    std::lock_guard lock(shared_.mutex);
    if (--shared_.in_work == 0) shared_.idle.notify_all();
  }
  InWork(const InWork&) = delete;
  InWork& operator=(const InWork&) = delete;

  // False when more are in work than may be: the refusal is work too.
  bool room() const { return room_; }

 private:
  Shared& shared_;
  bool room_ = false;
};

void WriteHead(const Response& response, bool is_head, bool keep, std::string& out) {
  out = "HTTP/1.1 " + std::to_string(response.status) + " ";
  out += ReasonPhrase(response.status);
  out += "\r\n";
  for (const auto& [name, value] : response.headers.fields()) {
    // A line break in a value would end the header.
    if (!IsHeaderText(name) || !IsHeaderText(value)) continue;
    if (EqualsIgnoreCase(name, "content-length") || EqualsIgnoreCase(name, "connection")) continue;
    out.append(name).append(": ").append(value).append("\r\n");
  }
  out.append("Date: ").append(FormatHttpDate(std::time(nullptr))).append("\r\n");
  if (response.status != 204 && !is_head) {
    out.append("Content-Length: ").append(std::to_string(response.body.size())).append("\r\n");
  }
  if (!keep) out += "Connection: close\r\n";
  out += "\r\n";
}

// For what cannot help any more when it fails.
void Ignore(const error_code&) {}

std::string_view View(beast::string_view text) {
  return {text.data(), text.size()};
}

// One client's connection, and its request that is in work.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Shared> shared, tcp::socket socket)
      : shared_(std::move(shared)), socket_(std::move(socket)) {
    error_code ignored;
    Ignore(socket_.set_option(tcp::no_delay(true), ignored));
    remote_ = socket_.remote_endpoint(ignored).address().to_string();
  }
  ~Connection() {
    work_.reset();
    std::lock_guard lock(shared_->mutex);
    shared_->connections.erase(this);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Start() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->NextRequest(); });
  }
  // On any thread: closes it when its time is over.
  void CloseIfLate(Clock::time_point now) {
    if (deadline_.load() > now.time_since_epoch().count()) return;
    asio::post(socket_.get_executor(), [self = shared_from_this(), now] {
      if (self->deadline_.load() > now.time_since_epoch().count() || !self->socket_.is_open()) return;
      if (!self->lingers_) self->shared_->closed_slow.fetch_add(1);
      self->Close();
    });
  }
  // On any thread.
  void CloseSoon() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->Close(); });
  }
  // On any thread, once a request.
  void Answer(Response response) {
    if (handles_.load() == std::this_thread::get_id()) return Send(std::move(response));
    auto moved = std::make_shared<Response>(std::move(response));
    auto self = shared_from_this();
    std::lock_guard lock(shared_->mutex);
    if (shared_->ended) return;  // what nobody runs would keep all this alive
    asio::post(socket_.get_executor(), [self, moved] { self->Send(std::move(*moved)); });
  }

 private:
  using Parser = beast::http::request_parser<beast::http::string_body>;

  void SetDeadline(std::chrono::milliseconds after) {
    deadline_.store((Clock::now() + after).time_since_epoch().count());
  }

  void Close() {
    error_code ignored;
    Ignore(socket_.shutdown(tcp::socket::shutdown_both, ignored));
    Ignore(socket_.close(ignored));
    deadline_.store(kNever);
    work_.reset();
  }

  void NextRequest() {
    parser_.emplace();
    parser_->eager(true);
    parser_->header_limit(static_cast<uint32_t>(shared_->options.max_header_bytes));
    parser_->body_limit(shared_->options.max_body_bytes);
    asked_to_continue_ = false;
    if (buffer_.size() > 0) {
      SetDeadline(shared_->options.request_timeout);
      return Parse();
    }
    SetDeadline(shared_->options.idle_timeout);
    Read();
  }

  void Read() {
    socket_.async_read_some(buffer_.prepare(kReadBytes),
                            [self = shared_from_this()](const error_code& error, size_t bytes) {
                              if (error) return self->Close();
                              if (!self->parser_->got_some())
                                self->SetDeadline(self->shared_->options.request_timeout);
                              self->buffer_.commit(bytes);
                              self->Parse();
                            });
  }

  void Parse() {
    while (!parser_->is_done() && buffer_.size() > 0) {
      error_code error;
      size_t used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
      if (error == beast::http::error::need_more) break;
      if (error) return Broken(error);
    }
    if (parser_->is_done()) return Receive();
    if (parser_->is_header_done() && !asked_to_continue_) return Continue();
    Read();
  }

  // A client that asks leave before it sends its body (RFC 9110, 10.1.1) gets it.
  void Continue() {
    asked_to_continue_ = true;
    if (!EqualsIgnoreCase(View(parser_->get()[beast::http::field::expect]), "100-continue")) return Read();
    head_ = "HTTP/1.1 100 Continue\r\n\r\n";
    body_.clear();
    Write(0, &Connection::Read);
  }

  Request Head() const {
    const auto& message = parser_->get();
    Request request;
    request.method = View(message.method_string());
    request.remote = remote_;
    std::string_view target = View(message.target());
    if (target.starts_with("http://")) {  // the absolute form (RFC 9112, 3.2.2)
      size_t path = target.find('/', 7);
      target = path == std::string_view::npos ? "/" : target.substr(path);
    }
    target = target.substr(0, target.find('#'));
    size_t question = target.find('?');
    request.path = target.substr(0, question);
    if (question != std::string_view::npos) request.query = target.substr(question + 1);
    for (const auto& field : message) {
      request.headers.Add(std::string(View(field.name_string())), std::string(View(field.value())));
    }
    return request;
  }

  void Receive() {
    work_.emplace(*shared_);
    deadline_.store(kNever);
    Request request = Head();
    if (shared_->stopping.load()) return Refuse(request, 503, "the service is stopping");
    if (!work_->room()) {
      shared_->refused_busy.fetch_add(1);
      return Refuse(request, 503, "too many requests are in work");
    }
    request.body = std::move(parser_->get().body());
    // The last owner answers if nobody has.
    struct Exchange {
      explicit Exchange(std::shared_ptr<Connection> c) : connection(std::move(c)) {}
      ~Exchange() { Answer({.status = 500, .headers = {}, .body = {}}); }
      Exchange(const Exchange&) = delete;
      Exchange& operator=(const Exchange&) = delete;
      void Answer(Response response) {
        if (!answered.exchange(true)) connection->Answer(std::move(response));
      }
      std::shared_ptr<Connection> connection;
      std::atomic<bool> answered{false};
    };
    auto exchange = std::make_shared<Exchange>(shared_from_this());
    handles_.store(std::this_thread::get_id());
    shared_->handler.Handle(std::move(request),
                            [exchange](Response response) { exchange->Answer(std::move(response)); });
    exchange.reset();
    handles_.store({});
  }

  // What cannot be read as a request: nobody knows where the next one would begin.
  void Broken(const error_code& broken) {
    using beast::http::error;
    work_.emplace(*shared_);
    Request request = Head();
    if (broken == error::body_limit) {
      shared_->refused_body.fetch_add(1);
      return Refuse(request, 413, "the body is larger than this server takes");
    }
    if (broken == error::header_limit) {
      shared_->closed_oversized.fetch_add(1);
      return Refuse(request, 431, "the header is larger than this server takes");
    }
    if (broken == error::bad_content_length) {
      return Refuse(request, 400, "content-length header must be an integer");
    }
    Refuse(request, 400, "the request is malformed: " + broken.message());
  }

  void Refuse(const Request& request, int status, const std::string& reason) {
    refused_ = true;
    Send(shared_->handler.Refuse(request, status, reason));
  }

  void Send(Response response) {
    if (!socket_.is_open()) return Close();
    bool is_head = parser_->get().method() == beast::http::verb::head;
    keep_ = !refused_ && parser_->keep_alive() && parser_->get().version() >= 11 && !shared_->stopping.load();
    WriteHead(response, is_head, keep_, head_);
    body_ = is_head ? std::string() : std::move(response.body);
    Write(0, &Connection::Sent);
  }
  void Sent() {
    work_.reset();
    body_ = {};
    if (keep_) return NextRequest();
    // Closed with something unread, the connection would be reset, and the answer perhaps lost.
    error_code ignored;
    Ignore(socket_.shutdown(tcp::socket::shutdown_send, ignored));
    buffer_.clear();
    lingers_ = true;
    SetDeadline(kLinger);
    Drain();
  }
  void Drain() {
    socket_.async_read_some(buffer_.prepare(kReadBytes),
                            [self = shared_from_this()](const error_code& error, size_t) {
                              if (error) return self->Close();
                              self->Drain();
                            });
  }

  // Writes head_ and body_ from `done` on. Each step that the client takes gives it time for the next one.
  void Write(size_t done, void (Connection::*then)()) {
    SetDeadline(shared_->options.request_timeout);
    size_t of_head = std::min(done, head_.size());
    std::array<asio::const_buffer, 2> rest{asio::buffer(head_) + of_head,
                                           asio::buffer(body_) + (done - of_head)};
    socket_.async_write_some(rest,
                             [self = shared_from_this(), done, then](const error_code& error, size_t bytes) {
                               if (error) {
                                 LOG(kDebug, "http_answer_lost", {{"error", error.message()}});
                                 return self->Close();
                               }
                               size_t now = done + bytes;
                               if (now < self->head_.size() + self->body_.size())
                                 return self->Write(now, then);
                               ((*self).*then)();
                             });
  }

  std::shared_ptr<Shared> shared_;
  tcp::socket socket_;
  std::string remote_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::optional<InWork> work_;
  std::string head_, body_;  // of the answer that is being written
  bool asked_to_continue_ = false;
  bool refused_ = false;
  bool keep_ = true;
  bool lingers_ = false;
  std::atomic<std::thread::id> handles_{};  // the thread on which the handler has the request now
  std::atomic<int64_t> deadline_{kNever};   // in ticks of Clock
};

class BeastServer final : public Server {
 public:
  BeastServer(std::shared_ptr<Shared> shared, tcp::acceptor acceptor)
      : shared_(std::move(shared)),
        acceptor_(std::move(acceptor)),
        sweep_(acceptor_.get_executor()),
        work_(asio::make_work_guard(shared_->context)) {
    error_code ignored;
    port_ = acceptor_.local_endpoint(ignored).port();
    Accept();
    Sweep();
    for (size_t i = 0; i < std::max<size_t>(shared_->options.threads, 1); ++i) {
      threads_.emplace_back([shared = shared_] { shared->context.run(); });
    }
  }
  ~BeastServer() override { Stop(std::chrono::milliseconds(0)); }

  int port() const override { return port_; }
  Counters counters() const override {
    Counters c{.refused_busy = shared_->refused_busy.load(),
               .refused_body = shared_->refused_body.load(),
               .closed_slow = shared_->closed_slow.load(),
               .closed_oversized = shared_->closed_oversized.load(),
               .closed_excess = shared_->closed_excess.load()};
    std::lock_guard lock(shared_->mutex);
    c.connections = shared_->connections.size();
    c.in_work = shared_->in_work;
    return c;
  }
  void RunSoon(std::function<void()> work) override {
    {
      std::lock_guard lock(shared_->mutex);
      if (!shared_->ended) return asio::post(shared_->context, std::move(work));
    }
    work();
  }

  void Stop(std::chrono::milliseconds grace) override {
    if (threads_.empty()) return;
    shared_->stopping.store(true);
    {
      std::unique_lock lock(shared_->mutex);
      shared_->idle.wait_for(lock, grace, [this] { return shared_->in_work == 0; });
    }
    asio::post(acceptor_.get_executor(), [this] {
      error_code ignored;
      Ignore(acceptor_.close(ignored));
      sweep_.cancel();
      for (const auto& connection : shared_->Open()) connection->CloseSoon();
    });
    {
      std::lock_guard lock(shared_->mutex);
      shared_->ended = true;
    }
    work_.reset();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  // Both run on the acceptor's strand.
  void Accept() {
    accepts_ = true;
    acceptor_.async_accept(
        asio::make_strand(shared_->context), [this](const error_code& error, tcp::socket socket) {
          if (!acceptor_.is_open()) return;
          if (!error) {
            Admit(std::move(socket));
          } else if (error != asio::error::connection_aborted) {
            LOG(kWarning, "http_accept_failed", {{"error", error.message()}});  // no descriptors, most likely
            accepts_ = false;                                                   // the sweep tries again
            return;
          }
          Accept();
        });
  }
  void Admit(tcp::socket socket) {
    auto connection = std::make_shared<Connection>(shared_, std::move(socket));
    {
      std::lock_guard lock(shared_->mutex);
      if (shared_->connections.size() < shared_->options.max_connections) {
        shared_->connections.emplace(connection.get(), connection);
      } else {
        shared_->closed_excess.fetch_add(1);
        return connection->CloseSoon();
      }
    }
    connection->Start();
  }
  void Sweep() {
    sweep_.expires_after(kSweep);
    sweep_.async_wait([this](const error_code& error) {
      if (error || !acceptor_.is_open()) return;
      Clock::time_point now = Clock::now();
      for (const auto& connection : shared_->Open()) connection->CloseIfLate(now);
      if (!accepts_) Accept();
      Sweep();
    });
  }

  std::shared_ptr<Shared> shared_;
  tcp::acceptor acceptor_;
  asio::steady_timer sweep_;
  bool accepts_ = false;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
  int port_ = 0;
};

}  // namespace

Result<std::unique_ptr<Server>> StartBeastServer(const ServerOptions& options, Handler& handler) {
  auto shared = std::make_shared<Shared>(options, handler);
  auto failed = [&](const error_code& error) {
    return Unavailable("cannot listen on " + HostPort{options.host, options.port}.ToString() + ": " +
                       error.message());
  };
  error_code error;
  tcp::resolver resolver(shared->context);
  auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
  if (error) return failed(error);
  tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor acceptor(asio::make_strand(shared->context));
  error = acceptor.open(endpoint.protocol(), error);
  if (!error) error = acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) error = acceptor.bind(endpoint, error);
  if (!error) error = acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return failed(error);
  return std::unique_ptr<Server>(std::make_unique<BeastServer>(std::move(shared), std::move(acceptor)));
}

}  // namespace berth::http
