#pragma once

#include <pthread.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "common/status.h"
#include "vmm/bus/event_loop.h"

namespace berth::vmm {

// An event loop with a thread of its own, for a device whose work may block (files). Created on the main
// thread, so that the thread does not inherit a vCPU's affinity.
class WorkerLoop {
 public:
  // `name`: of the thread, cut to 15 bytes.
  static Result<std::unique_ptr<WorkerLoop>> Start(const std::string& name) {
    TRY_ASSIGN(auto loop, EventLoop::Create());
    return std::unique_ptr<WorkerLoop>(new WorkerLoop(std::move(loop), name));
  }
  ~WorkerLoop() {
    loop_->Stop();
    thread_.join();
  }
  WorkerLoop(const WorkerLoop&) = delete;
  WorkerLoop& operator=(const WorkerLoop&) = delete;

  EventLoop& loop() { return *loop_; }

 private:
  WorkerLoop(std::unique_ptr<EventLoop> loop, const std::string& name)
      : loop_(std::move(loop)), thread_([this] { CHECK(loop_->Run().ok()); }) {
    pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
  }

  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

}  // namespace berth::vmm
