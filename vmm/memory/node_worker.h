#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "common/status.h"

namespace berth::vmm {

// A thread whose memory policy is one host NUMA node: what it makes the kernel allocate lies there. For
// memory that cannot be bound by its address. Thread-safe.
class NodeWorker {
 public:
  // kInvalidArgument: the host has no such node. A kernel without NUMA has node 0.
  static Result<std::unique_ptr<NodeWorker>> Create(uint32_t node);
  ~NodeWorker();
  NodeWorker(const NodeWorker&) = delete;
  NodeWorker& operator=(const NodeWorker&) = delete;

  // Runs `work` on the thread and waits for it; one at a time.
  Status Run(const std::function<Status()>& work);

 private:
  NodeWorker() = default;
  void Main(uint32_t node);

  std::mutex turn_;   // one Run at a time
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  const std::function<Status()>* work_ = nullptr;
  std::optional<Status> result_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace berth::vmm
