#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"

namespace berth::vmm {

// The one epoll loop that runs device back ends. Add, Remove, Post and Stop may be called from any thread;
// callbacks run on the thread that called Run.
class EventLoop {
 public:
  using Callback = std::function<void(uint32_t epoll_events)>;

  static Result<std::unique_ptr<EventLoop>> Create();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Watches a descriptor that the caller owns and keeps open until after Remove. `events` as for
  // epoll_ctl(2).
  Status Add(int fd, uint32_t events, Callback callback);
  Status Modify(int fd, uint32_t events);
  // After Remove returns the callback runs no more, unless Remove was called from a callback itself.
  void Remove(int fd);
  // Runs a function soon on the loop's thread.
  void Post(std::function<void()> task);
  // Until Stop, which also counts when it came first; tasks posted before Stop still run. May be called again
  // afterwards. Returns the first epoll failure, else OK.
  Status Run();
  // The same, until nothing has happened for so long: false then.
  Result<bool> RunUntilIdle(std::chrono::milliseconds idle);
  void Stop();
  // Readable, for another loop, while this one has something to do.
  int fd() const { return epoll_.get(); }

 private:
  // The generation tells an event of a watch that was removed, whose number has been taken again since.
  struct Watch {
    uint32_t generation;
    std::shared_ptr<Callback> callback;
  };

  EventLoop() = default;
  Status Control(int operation, int fd, uint32_t generation, uint32_t events);
  void Dispatch(uint64_t tag, uint32_t events);
  void DrainTasks();
  // `timeout` as of epoll_wait(2). True: stopped.
  Result<bool> RunWith(int timeout);
  void Wake();

  UniqueFd epoll_;
  UniqueFd wake_;
  std::mutex mutex_;  // guards what follows
  std::unordered_map<int, Watch> watches_;
  uint32_t next_generation_ = 0;
  std::vector<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::recursive_mutex dispatch_;  // held while a callback runs, so that Remove can wait for it
};

}  // namespace berth::vmm
