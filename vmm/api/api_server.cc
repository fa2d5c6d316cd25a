#include "vmm/api/api_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <list>
#include <thread>

#include "common/log.h"
#include "vmm/api/connection.h"

namespace berth::vmm {

class ApiServer::Impl {
 public:
  Impl(UnixListener listener, UniqueFd wake, VmControl& control, ApiLimits limits)
      : listener_(std::move(listener)), wake_(std::move(wake)), control_(control), limits_(limits) {
    thread_ = std::thread([this] { Run(); });
    tid_.wait(0);
  }

  ~Impl() {
    uint64_t one = 1;
    CHECK(write(wake_.get(), &one, sizeof one) == sizeof one);
    thread_.join();
  }

  pid_t tid() const { return tid_; }

 private:
  using Clock = ApiConnection::Clock;

  void Run() {
    pthread_setname_np(pthread_self(), "api");
    tid_ = gettid();
    tid_.notify_all();
    while (WaitAndServe()) {
    }
    connections_.clear();
  }

  // One turn of the loop; false when the server is to stop.
  bool WaitAndServe() {
    std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0}, {listener_.fd(), POLLIN, 0}};
    for (const ApiConnection& connection : connections_)
      polled.push_back({connection.fd(), connection.events(), 0});
    if (poll(polled.data(), polled.size(), TimeoutMs()) < 0 && errno != EINTR) {
      LOG(kError, "api_poll_failed", {{"error", ErrnoStatus("poll", errno)}});
      return false;
    }
    if (polled[0].revents != 0) return false;
    Clock::time_point now = Clock::now();
    size_t i = 2;
    for (auto connection = connections_.begin(); connection != connections_.end(); ++i) {
      bool alive = true;
      if (polled[i].revents != 0) alive = connection->OnReady(polled[i].revents, control_, now);
      if (alive && now >= connection->deadline()) alive = connection->OnDeadline(now);
      connection = alive ? std::next(connection) : connections_.erase(connection);
    }
    if (polled[1].revents != 0) AcceptOne(now);
    return true;
  }

  int TimeoutMs() const {
    if (connections_.empty()) return -1;
    auto earliest =
        std::min_element(connections_.begin(), connections_.end(),
                         [](const auto& a, const auto& b) { return a.deadline() < b.deadline(); });
    auto left = std::chrono::ceil<std::chrono::milliseconds>(earliest->deadline() - Clock::now());
    return static_cast<int>(std::max<int64_t>(left.count(), 0));
  }

  void AcceptOne(Clock::time_point now) {
    UniqueFd fd = listener_.Accept();
    if (!fd.valid()) {
      // Out of descriptors or memory: the client stays in the queue; do not turn round and round on it.
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      return;
    }
    if (connections_.size() >= limits_.connections) {
      ApiConnection(std::move(fd), limits_, now).Refuse(now);
      return;
    }
    connections_.emplace_back(std::move(fd), limits_, now);
  }

  UnixListener listener_;
  UniqueFd wake_;
  VmControl& control_;
  const ApiLimits limits_;
  std::list<ApiConnection> connections_;  // touched by the thread only
  std::atomic<pid_t> tid_ = 0;
  std::thread thread_;
};

Result<std::unique_ptr<ApiServer>> ApiServer::Start(const std::string& path, VmControl& control,
                                                    ApiLimits limits) {
  TRY_ASSIGN(UnixListener listener, UnixListener::Open(path));
  return Start(std::move(listener), control, limits);
}

Result<std::unique_ptr<ApiServer>> ApiServer::Start(UnixListener listener, VmControl& control,
                                                    ApiLimits limits) {
  UniqueFd wake(eventfd(0, EFD_CLOEXEC));
  if (!wake.valid()) return ErrnoStatus("eventfd", errno);
  return std::unique_ptr<ApiServer>(
      new ApiServer(std::make_unique<Impl>(std::move(listener), std::move(wake), control, limits)));
}

ApiServer::ApiServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ApiServer::~ApiServer() = default;

pid_t ApiServer::thread_id() const {
  return impl_->tid();
}

}  // namespace berth::vmm
