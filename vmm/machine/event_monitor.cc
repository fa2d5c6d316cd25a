#include "vmm/machine/event_monitor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <nlohmann/json.hpp>

namespace berth::vmm {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kNanoseconds = 1'000'000'000;

uint64_t Now() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNanoseconds + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

EventMonitor::EventMonitor(UniqueFd fd) : fd_(std::move(fd)), start_ns_(Now()) {}

Result<std::unique_ptr<EventMonitor>> EventMonitor::Open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600));
  if (!fd.valid()) return ErrnoStatus("event monitor " + path, errno).WithField("event-monitor.path");
  return std::unique_ptr<EventMonitor>(new EventMonitor(std::move(fd)));
}

Result<std::unique_ptr<EventMonitor>> EventMonitor::Inherit(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) {
    return ErrnoStatus("event monitor's descriptor " + std::to_string(fd), errno)
        .WithField("event-monitor.fd");
  }
  ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return std::unique_ptr<EventMonitor>(new EventMonitor(UniqueFd(fd)));
}

void EventMonitor::Write(std::string_view source, std::string_view event, const Properties& properties) {
  std::lock_guard lock(mutex_);
  const uint64_t time = Now() - start_ns_;
  Json line = {{"timestamp", {{"secs", time / kNanoseconds}, {"nanos", time % kNanoseconds}}},
               {"source", source},
               {"event", event},
               {"properties", nullptr}};
  for (const auto& [name, value] : properties) line["properties"][name] = value;
  if (lost_ > 0) line["lost"] = lost_;
  constexpr size_t kMaxRest = 64 << 10;
  if (rest_.size() > kMaxRest) {
    ++lost_;
  } else {
    rest_ += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    lost_ = 0;
  }
  while (!rest_.empty()) {
    const ssize_t written = ::write(fd_.get(), rest_.data(), rest_.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // tried again with the next event
    rest_.erase(0, static_cast<size_t>(written));
  }
}

}  // namespace berth::vmm
