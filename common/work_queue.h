#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace berth {

// One thread that runs jobs in the order in which they came. Thread-safe.
class WorkQueue {
 public:
  explicit WorkQueue(size_t limit);
  // Stops.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // False when `limit` jobs wait already, or after Stop: the job will not run.
  bool Push(std::function<void()> job);
  // Runs what was pushed, then ends the thread.
  void Stop();

 private:
  void Run();

  const size_t limit_;
  std::mutex mutex_;  // guards what follows, up to the thread
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace berth
