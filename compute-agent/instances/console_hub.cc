#include "compute-agent/instances/console_hub.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "common/file.h"

namespace berth::agent {
namespace {

constexpr int kRetryMs = 100;

void KeepTail(std::string& text, size_t bytes) {
  if (text.size() > bytes) text.erase(0, text.size() - bytes);
}

}  // namespace

ConsoleHub::ConsoleHub() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(wake_.valid());
  thread_ = std::thread([this] { Run(); });
}

ConsoleHub::~ConsoleHub() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  Wake();
  thread_.join();
  for (auto& [instance, console] : consoles_) End(console);
}

void ConsoleHub::Wake() const {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void ConsoleHub::Attach(const Uuid& instance, const std::string& socket_path, const std::string& log_path) {
  std::lock_guard lock(mutex_);
  Console& console = consoles_[instance];
  console.socket_path = socket_path;
  console.attached = true;
  if (console.log_path.empty()) {
    console.log_path = log_path;
    // Until the VMM replays its output: what an earlier agent has seen.
    if (Result<std::string> past = ReadFile(log_path, 4 * kLogBytes); past.has_value()) console.ring = *past;
    KeepTail(console.ring, kRingBytes);
  }
  Wake();
}

void ConsoleHub::Detach(const Uuid& instance) {
  std::lock_guard lock(mutex_);
  auto found = consoles_.find(instance);
  if (found == consoles_.end() || !found->second.attached) return;
  Console& console = found->second;
  if (!console.fd.valid()) TryConnect(console);
  if (console.fd.valid()) ReadFrom(console);
  console.attached = false;
  console.fd.reset();
  console.input.clear();
  End(console);
}

void ConsoleHub::Forget(const Uuid& instance) {
  Detach(instance);
  std::lock_guard lock(mutex_);
  auto found = consoles_.find(instance);
  if (found == consoles_.end()) return;
  End(found->second);
  consoles_.erase(found);
}

void ConsoleHub::End(Console& console) {
  for (auto& [id, listener] : console.listeners) listener->OnEnd();
  console.listeners.clear();
}

Result<uint64_t> ConsoleHub::Subscribe(const Uuid& instance, std::shared_ptr<ConsoleListener> listener) {
  std::lock_guard lock(mutex_);
  auto found = consoles_.find(instance);
  if (found == consoles_.end()) return NotFound("instance " + instance.ToString() + " has no console here");
  Console& console = found->second;
  if (!console.ring.empty()) listener->OnOutput(console.ring);
  uint64_t id = next_subscription_++;
  if (!console.attached) {
    listener->OnEnd();
    return id;
  }
  console.listeners.emplace(id, std::move(listener));
  subscriptions_.emplace(id, instance);
  return id;
}

void ConsoleHub::Unsubscribe(uint64_t subscription) {
  std::lock_guard lock(mutex_);
  auto found = subscriptions_.find(subscription);
  if (found == subscriptions_.end()) return;
  if (auto console = consoles_.find(found->second); console != consoles_.end()) {
    console->second.listeners.erase(subscription);
  }
  subscriptions_.erase(found);
}

Status ConsoleHub::Write(const Uuid& instance, std::string_view data) {
  std::lock_guard lock(mutex_);
  auto found = consoles_.find(instance);
  if (found == consoles_.end()) return NotFound("instance " + instance.ToString() + " has no console here");
  Console& console = found->second;
  if (!console.attached) return {StatusCode::kFailedPrecondition, "the instance does not run"};
  if (console.input.size() + data.size() > kInputBytes) {
    return {StatusCode::kResourceExhausted,
            "the guest does not read its console: " + std::to_string(console.input.size()) + " bytes wait"};
  }
  console.input += data;
  Wake();
  return OkStatus();
}

std::optional<uint64_t> ConsoleHub::TakeSwiotlbFull(const Uuid& instance) {
  std::lock_guard lock(mutex_);
  auto found = consoles_.find(instance);
  return found == consoles_.end() ? std::nullopt : found->second.watch.TakeSwiotlbFull();
}

void ConsoleHub::TryConnect(Console& console) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (console.socket_path.size() >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, console.socket_path.data(), console.socket_path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    console.fd = std::move(fd);
  }
}

void ConsoleHub::AppendLog(Console& console, std::string_view data) {
  if (!console.log.valid()) {
    console.log.reset(::open(console.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    struct stat info{};
    if (console.log.valid() && ::fstat(console.log.get(), &info) == 0) {
      console.log_size = static_cast<size_t>(info.st_size);
    }
  }
  if (!console.log.valid())
    return;  // the folder is being removed, or the disk is full: output stays in the ring
  ssize_t written = ::write(console.log.get(), data.data(), data.size());
  if (written > 0) console.log_size += static_cast<size_t>(written);
  if (console.log_size > kLogBytes) {
    ::rename(console.log_path.c_str(), (console.log_path + ".1").c_str());
    console.log.reset();
    console.log_size = 0;
  }
}

void ConsoleHub::Take(Console& console, std::string_view data) {
  if (std::exchange(console.fresh, false)) {
    // The VMM replays what it kept: it takes the place of what was read from the log.
    console.ring.clear();
    console.log.reset();
    console.log_size = 0;
    ::rename(console.log_path.c_str(), (console.log_path + ".1").c_str());
  }
  console.ring += data;
  KeepTail(console.ring, kRingBytes);
  AppendLog(console, data);
  console.watch.Feed(data);
  for (auto& [id, listener] : console.listeners) listener->OnOutput(data);
}

void ConsoleHub::ReadFrom(Console& console) {
  char buffer[16384];
  for (int turn = 0; turn < 16; ++turn) {  // one console must not keep the others waiting
    ssize_t got = ::recv(console.fd.get(), buffer, sizeof buffer, 0);
    if (got > 0) {
      Take(console, std::string_view(buffer, static_cast<size_t>(got)));
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    console.fd.reset();
    return;
  }
}

void ConsoleHub::WriteTo(Console& console) {
  ssize_t sent = ::send(console.fd.get(), console.input.data(), console.input.size(), MSG_NOSIGNAL);
  if (sent > 0) console.input.erase(0, static_cast<size_t>(sent));
}

void ConsoleHub::Serve(Console& console, short events) {
  if ((events & POLLOUT) != 0 && !console.input.empty()) WriteTo(console);
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) ReadFrom(console);
}

void ConsoleHub::Run() {
  while (true) {
    std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0}};
    std::vector<Uuid> owners = {Uuid{}};
    bool retry = false;
    {
      std::lock_guard lock(mutex_);
      if (stop_) return;
      for (auto& [instance, console] : consoles_) {
        if (!console.attached) continue;
        if (!console.fd.valid()) TryConnect(console);
        if (!console.fd.valid()) {
          retry = true;
          continue;
        }
        short events = console.input.empty() ? POLLIN : POLLIN | POLLOUT;
        polled.push_back({console.fd.get(), events, 0});
        owners.push_back(instance);
      }
    }
    ::poll(polled.data(), polled.size(), retry ? kRetryMs : -1);
    std::lock_guard lock(mutex_);
    uint64_t count = 0;
    [[maybe_unused]] ssize_t got = ::read(wake_.get(), &count, sizeof count);
    for (size_t i = 1; i < polled.size(); ++i) {
      auto found = consoles_.find(owners[i]);
      if (polled[i].revents == 0 || found == consoles_.end()) continue;
      if (found->second.fd.get() == polled[i].fd) Serve(found->second, polled[i].revents);
    }
  }
}

}  // namespace berth::agent
