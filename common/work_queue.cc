#include "common/work_queue.h"

#include <utility>

namespace berth {

WorkQueue::WorkQueue(size_t limit) : limit_(limit), thread_([this] { Run(); }) {}

WorkQueue::~WorkQueue() {
  Stop();
}

bool WorkQueue::Push(std::function<void()> job) {
  std::lock_guard lock(mutex_);
  if (stopping_ || jobs_.size() >= limit_) return false;
  jobs_.push_back(std::move(job));
  changed_.notify_one();
  return true;
}

void WorkQueue::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void WorkQueue::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace berth
