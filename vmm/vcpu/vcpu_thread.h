#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "common/cpu_set.h"
#include "common/status.h"
#include "vmm/kvm/kvm.h"
#include "vmm/vcpu/exit_dispatch.h"

namespace berth::vmm {

// The thread "vcpuN" that runs one vCPU. It starts paused. Run, Pause and Stop may be called from any thread
// but a vCPU's; when Pause or Stop returns, the guest does not run on this vCPU any more and no access of it
// is pending. The destructor stops it.
class VcpuThread {
 public:
  // Called once, on the vCPU's thread, when it leaves the guest for good. Must not call back into the thread.
  using EndCallback = std::function<void(uint32_t id, VcpuEnding)>;

  // With a non-empty affinity the thread runs on these host CPUs only, from before the guest's first
  // instruction; kInvalidArgument when the kernel refuses them.
  static Result<std::unique_ptr<VcpuThread>> Create(uint32_t id, std::unique_ptr<KvmVcpu> vcpu,
                                                    const CpuSet& affinity, VcpuTargets targets,
                                                    EndCallback on_end);
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  void Run();
  void Pause();
  void Stop();
  // Its registers, while it is paused; kFailedPrecondition when it runs.
  Result<VcpuState> State();
  // All of its state, as State.
  Result<VcpuSnapshot> Save();
  uint32_t id() const { return id_; }
  pid_t thread_id() const { return thread_id_; }
  uint64_t exits() const { return exits_.load(std::memory_order_relaxed); }

 private:
  enum class Command { kPause, kRun, kStop };

  VcpuThread(uint32_t id, std::unique_ptr<KvmVcpu> vcpu, VcpuTargets targets, EndCallback on_end);
  void Main(const CpuSet& affinity);
  // Serves the guest until another command comes or the vCPU ends.
  void RunGuest();
  void LogPosition();
  // VcpuRest, on the vCPU's thread: a pause need not wait until what the guest has asked for is answered.
  bool Rest(std::chrono::milliseconds duration);
  // Waits for a command other than `done`, which has been carried out.
  Command AwaitCommand(Command done);
  void Give(Command command);

  const uint32_t id_;
  std::unique_ptr<KvmVcpu> vcpu_;
  VcpuTargets targets_;
  EndCallback on_end_;
  bool ended_ = false;  // vCPU thread only
  std::atomic<uint64_t> exits_{0};

  std::mutex mutex_;  // guards the writes of command_, and what follows
  std::condition_variable changed_;
  std::atomic<Command> command_{Command::kPause};
  bool idle_ = false;     // the thread is outside of the guest and waits
  bool resting_ = false;  // so it is in Rest, whose caller goes on when the vCPU is stopped
  std::optional<Status> started_;
  pid_t thread_id_ = 0;
  std::thread thread_;
};

}  // namespace berth::vmm
