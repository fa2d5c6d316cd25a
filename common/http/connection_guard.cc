#include "common/http/connection_guard.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/tcp.h>  // the kernel's tcp_info counts bytes, the C library's does not
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <utility>

#include "common/log.h"
#include "common/unique_fd.h"

namespace berth::http {
namespace {

constexpr uint8_t kEstablished = 1;

int LocalPort(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return -1;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return -1;
}

// The numbers of this process's open files.
std::vector<int> OpenFiles() {
  std::vector<int> files;
  DIR* folder = opendir("/proc/self/fd");
  if (!folder) return files;
  while (const dirent* entry = readdir(folder)) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
    char* end = nullptr;
    long fd = std::strtol(entry->d_name, &end, 10);
    if (*entry->d_name != '.' && *end == '\0' && fd != dirfd(folder)) files.push_back(static_cast<int>(fd));
  }
  closedir(folder);
  return files;
}

}  // namespace

ConnectionGuard::ConnectionGuard(int port, Limits limits)
    : port_(port), limits_(limits), thread_([this] { Run(); }) {}

ConnectionGuard::~ConnectionGuard() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void ConnectionGuard::Run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, limits_.period, [this] { return stopping_; })) {
    lock.unlock();
    Look(std::chrono::steady_clock::now());
    lock.lock();
  }
}

void ConnectionGuard::Look(Time now) {
  ++round_;
  const std::vector<int> files = OpenFiles();
  // Whoever is known has come before the others, whatever its number is.
  size_t open = 0;
  for (int fd : files) {
    struct stat file{};
    if (fstat(fd, &file) == 0 && seen_.contains(file.st_ino) && LocalPort(fd) == port_) ++open;
  }
  for (int fd : files) LookAt(fd, now, &open);
  std::erase_if(seen_, [this](const auto& entry) { return entry.second.round != round_; });
  counters_.open.store(open, std::memory_order_relaxed);
}

void ConnectionGuard::LookAt(int fd, Time now, size_t* open) {
  struct stat file{};
  if (fstat(fd, &file) != 0 || !S_ISSOCK(file.st_mode) || LocalPort(fd) != port_) return;
  // The owner may close `fd` at any time and the number may come to mean another file: all that follows is
  // done with a number of our own, and what it means is looked at again.
  UniqueFd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (own.get() < 0 || fstat(own.get(), &file) != 0 || !S_ISSOCK(file.st_mode) ||
      LocalPort(own.get()) != port_) {
    return;
  }
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(own.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_state != kEstablished ||
      size < offsetof(tcp_info, tcpi_notsent_bytes) + sizeof info.tcpi_notsent_bytes) {
    return;
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);  // the library does not set it, and children must not inherit connections
  auto [at, first] = seen_.try_emplace(file.st_ino);
  Seen& seen = at->second;
  seen.round = round_;
  bool waits_to_be_read = info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0;
  if (first || info.tcpi_bytes_acked != seen.answered) {
    seen.answered = info.tcpi_bytes_acked;
    seen.received_then = first ? 0 : info.tcpi_bytes_received;
    seen.progress = now;
    seen.pending = false;
  }
  uint64_t received = info.tcpi_bytes_received - seen.received_then;
  bool pending = received > 0 || waits_to_be_read;
  if (pending && !seen.pending) seen.pending_since = now;
  seen.pending = pending;

  if (first) ++*open;
  std::atomic<uint64_t>* reason = nullptr;
  const char* text = "";
  if (received > limits_.request_bytes) {
    reason = &counters_.oversized;
    text = "request too large";
  } else if (pending && now - seen.pending_since > limits_.request_timeout) {
    reason = &counters_.slow;
    text = "request or answer took too long";
  } else if (!pending && now - seen.progress > limits_.idle_timeout) {
    reason = &counters_.slow;
    text = "idle";
  } else if (first && *open > limits_.connections) {
    reason = &counters_.excess;
    text = "too many connections";
  }
  if (!reason) return;
  reason->fetch_add(1, std::memory_order_relaxed);
  LOG(kDebug, "http_connection_closed", {{"reason", text}, {"received", received}});
  // Not shutdown(): its owner would first read all that has come, and from a client that goes on sending
  // something always has. This resets the connection and drops what is queued.
  sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
  static_cast<void>(connect(own.get(), &nowhere, sizeof nowhere));
}

}  // namespace berth::http
