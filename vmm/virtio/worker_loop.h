#pragma once

#include <pthread.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "common/cpu_set.h"
#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/thread_affinity.h"
#include "vmm/jail/thread_filter.h"

namespace berth::vmm {

// An event loop with a thread of its own, for a device whose work may block (files) or is much. Created on
// the main thread, so that the thread does not inherit a vCPU's affinity.
class WorkerLoop {
 public:
  // `name`: of the thread, cut to 15 bytes. It runs on `cpus` where it may: a hint. `kind`: what it may ask
  // of the kernel.
  static Result<std::unique_ptr<WorkerLoop>> Start(const std::string& name, const CpuSet& cpus = {},
                                                   ThreadKind kind = ThreadKind::kDisk) {
    TRY_ASSIGN(auto loop, EventLoop::Create());
    return std::unique_ptr<WorkerLoop>(new WorkerLoop(std::move(loop), name, cpus, kind));
  }
  ~WorkerLoop() {
    loop_->Stop();
    thread_.join();
  }
  WorkerLoop(const WorkerLoop&) = delete;
  WorkerLoop& operator=(const WorkerLoop&) = delete;

  EventLoop& loop() { return *loop_; }

 private:
  WorkerLoop(std::unique_ptr<EventLoop> loop, const std::string& name, const CpuSet& cpus, ThreadKind kind)
      : loop_(std::move(loop)), thread_([this, kind, name = name.substr(0, 15)] {
          pthread_setname_np(pthread_self(), name.c_str());
          EnterThread(kind);
          CHECK(loop_->Run().ok());
        }) {
    KeepOn(thread_, cpus);
  }

  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

}  // namespace berth::vmm
