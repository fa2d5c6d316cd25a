#include "vmm/bus/event_loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace berth::vmm {
namespace {

constexpr uint64_t kWakeTag = ~uint64_t{0};

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  std::unique_ptr<EventLoop> loop(new EventLoop());
  loop->epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_.valid()) return ErrnoStatus("epoll_create1", errno);
  loop->wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->wake_.valid()) return ErrnoStatus("eventfd", errno);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeTag;
  if (epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wake_.get(), &event) != 0) {
    return ErrnoStatus("epoll_ctl", errno);
  }
  return loop;
}

EventLoop::~EventLoop() = default;

Status EventLoop::Control(int operation, int fd, uint32_t generation, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = uint64_t{generation} << 32 | static_cast<uint32_t>(fd);
  if (epoll_ctl(epoll_.get(), operation, fd, &event) != 0) {
    return ErrnoStatus("epoll_ctl of descriptor " + std::to_string(fd), errno);
  }
  return OkStatus();
}

Status EventLoop::Add(int fd, uint32_t events, Callback callback) {
  std::lock_guard lock(mutex_);
  if (watches_.contains(fd)) return AlreadyExists("descriptor " + std::to_string(fd) + " is already watched");
  const uint32_t generation = next_generation_++ & 0x7fffffff;  // never the wake tag
  TRY(Control(EPOLL_CTL_ADD, fd, generation, events));
  watches_.emplace(fd, Watch{generation, std::make_shared<Callback>(std::move(callback))});
  return OkStatus();
}

Status EventLoop::Modify(int fd, uint32_t events) {
  std::lock_guard lock(mutex_);
  auto found = watches_.find(fd);
  if (found == watches_.end()) return NotFound("descriptor " + std::to_string(fd) + " is not watched");
  return Control(EPOLL_CTL_MOD, fd, found->second.generation, events);
}

void EventLoop::Remove(int fd) {
  {
    std::lock_guard lock(mutex_);
    // Fails only when the owner closed it already.
    if (watches_.erase(fd) != 0) static_cast<void>(Control(EPOLL_CTL_DEL, fd, 0, 0));
  }
  // Also when it was not watched any more: its callback may have removed it and still be running.
  std::lock_guard wait_for_callback(dispatch_);
}

void EventLoop::Post(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (tasks_.size() > 1) return;  // already woken
  }
  Wake();
}

void EventLoop::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  Wake();
}

void EventLoop::Wake() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the loop is awake anyhow.
  static_cast<void>(!write(wake_.get(), &one, sizeof one));
}

void EventLoop::Dispatch(uint64_t tag, uint32_t events) {
  std::lock_guard running(dispatch_);
  std::shared_ptr<Callback> callback;
  {
    std::lock_guard lock(mutex_);
    auto found = watches_.find(static_cast<int>(static_cast<uint32_t>(tag)));
    if (found == watches_.end() || found->second.generation != tag >> 32) return;
    callback = found->second.callback;
  }
  (*callback)(events);
}

void EventLoop::DrainTasks() {
  std::vector<std::function<void()>> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks) task();
}

Status EventLoop::Run() {
  return RunWith(-1).status();
}

Result<bool> EventLoop::RunUntilIdle(std::chrono::milliseconds idle) {
  return RunWith(static_cast<int>(idle.count()));
}

Result<bool> EventLoop::RunWith(int timeout) {
  for (;;) {
    epoll_event events[32];
    int count = epoll_wait(epoll_.get(), events, 32, timeout);
    if (count == 0) return false;
    if (count < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus("epoll_wait", errno);
    }
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kWakeTag) {
        uint64_t value;
        static_cast<void>(!read(wake_.get(), &value, sizeof value));
      } else {
        Dispatch(events[i].data.u64, events[i].events);
      }
    }
    DrainTasks();
    std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, false)) return true;
  }
}

}  // namespace berth::vmm
