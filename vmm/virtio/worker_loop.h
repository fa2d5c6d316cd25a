#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/cpu_set.h"
#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/jail/thread_filter.h"

namespace berth::vmm {

// An event loop with a thread of its own, for a device whose work may block (files) or is much. With a
// `starter` the thread is there only while there is work: after a second of rest it ends, and what comes then
// is noticed by the starter's loop, whose thread starts another. A machine with many disks has few threads
// when it is idle.
class WorkerLoop {
 public:
  struct Options {
    std::string name;  // of the thread, cut to 15 bytes
    CpuSet cpus = {};  // where it runs, as far as it may: a hint
    ThreadKind kind = ThreadKind::kDisk;
    // A loop of a thread that may start others, has no vCPU's affinity to hand down, and does nothing else:
    // what it waited for the worker would wait for. It must outlive this object. None: the thread is there at
    // once, and stays.
    EventLoop* starter = nullptr;
    // Asked on the thread: whether nothing is under way that needs it, though the loop sees nothing.
    std::function<bool()> may_rest = {};
    std::chrono::milliseconds rest{1000};  // how long nothing happens before the thread ends
  };
  // kUnavailable: no thread can be had.
  static Result<std::unique_ptr<WorkerLoop>> Start(Options options);
  // Not from the loop's own callbacks.
  ~WorkerLoop();
  WorkerLoop(const WorkerLoop&) = delete;
  WorkerLoop& operator=(const WorkerLoop&) = delete;

  EventLoop& loop() { return *loop_; }
  // Whether it has a thread now, for tests.
  bool awake() const { return awake_; }

 private:
  WorkerLoop(std::unique_ptr<EventLoop> loop, Options options)
      : loop_(std::move(loop)), options_(std::move(options)) {}
  void Main();
  // Lets the starter watch the loop. False when it cannot.
  bool Rest();
  void Wake();
  Status StartThread();  // with mutex_ held, or before anybody else knows this

  std::unique_ptr<EventLoop> loop_;
  const Options options_;
  std::atomic<bool> awake_{false};
  std::mutex mutex_;  // guards what follows
  bool ending_ = false;
  bool refused_ = false;  // the last start of a thread
  std::thread thread_;
};

}  // namespace berth::vmm
