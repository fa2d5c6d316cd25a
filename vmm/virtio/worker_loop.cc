#include "vmm/virtio/worker_loop.h"

#include <pthread.h>
#include <sys/epoll.h>

#include <system_error>
#include <utility>

#include "common/log.h"
#include "vmm/bus/thread_affinity.h"

namespace berth::vmm {
namespace {

constexpr std::chrono::milliseconds kPatience{10};  // between attempts to start a thread

}  // namespace

Result<std::unique_ptr<WorkerLoop>> WorkerLoop::Start(Options options) {
  TRY_ASSIGN(auto loop, EventLoop::Create());
  std::unique_ptr<WorkerLoop> self(new WorkerLoop(std::move(loop), std::move(options)));
  if (self->options_.starter == nullptr || !self->Rest()) TRY(self->StartThread());
  return self;
}

WorkerLoop::~WorkerLoop() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  // After this nobody wakes it any more: the thread does not ask for it now.
  if (options_.starter != nullptr) options_.starter->Remove(loop_->fd());
  loop_->Stop();
  if (thread_.joinable()) thread_.join();
}

void WorkerLoop::Main() {
  pthread_setname_np(pthread_self(), options_.name.substr(0, 15).c_str());
  EnterThread(options_.kind);
  if (options_.starter == nullptr) {
    CHECK(loop_->Run().ok());
    return;
  }
  for (;;) {
    const Result<bool> stopped = loop_->RunUntilIdle(options_.rest);
    CHECK(stopped.has_value());
    if (*stopped) return;
    const bool may = !options_.may_rest || options_.may_rest();
    if (may && Rest()) return;
  }
}

bool WorkerLoop::Rest() {
  std::lock_guard lock(mutex_);
  if (ending_) return true;
  awake_ = false;
  // The loop's descriptor is readable while something waits in it, so that nothing is missed in between.
  awake_ = !options_.starter->Add(loop_->fd(), EPOLLIN, [this](uint32_t) { Wake(); }).ok();
  return !awake_;
}

void WorkerLoop::Wake() {
  std::lock_guard lock(mutex_);
  if (ending_) return;
  if (thread_.joinable()) thread_.join();  // it rests, so it has ended or is about to
  const Status started = StartThread();
  if (!started.ok()) {
    if (!std::exchange(refused_, true)) {
      LOG(kError, "device_thread_not_started", {{"thread", options_.name}, {"error", started}});
    }
    // The loop stays watched, and what it has to do stays there: this is called again.
    std::this_thread::sleep_for(kPatience);
    return;
  }
  refused_ = false;
  options_.starter->Remove(loop_->fd());
}

Status WorkerLoop::StartThread() {
  try {
    thread_ = std::thread([this] { Main(); });
  } catch (const std::system_error& error) {
    return ErrnoStatus("start thread " + options_.name, error.code().value());
  }
  awake_ = true;
  KeepOn(thread_, options_.cpus);
  return OkStatus();
}

}  // namespace berth::vmm
