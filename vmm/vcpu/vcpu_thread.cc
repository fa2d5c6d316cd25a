#include "vmm/vcpu/vcpu_thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include "common/log.h"
#include "vmm/jail/thread_filter.h"

namespace berth::vmm {
namespace {

// Interrupts KVM_RUN. The handler does nothing: SetImmediateExit keeps a signal that comes just before the
// call from being lost.
int KickSignal() {
  return SIGRTMIN;
}

void InstallKickHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    sigemptyset(&action.sa_mask);
    ::sigaction(KickSignal(), &action, nullptr);
  });
}

// Only the kick reaches a vCPU's thread; the rest is for the main thread.
void BlockOtherSignals() {
  sigset_t set;
  sigfillset(&set);
  sigdelset(&set, KickSignal());
  ::pthread_sigmask(SIG_SETMASK, &set, nullptr);
}

// A CPU mask as sched_setaffinity(2) wants it, of any length.
struct MaskDeleter {
  void operator()(cpu_set_t* mask) const { CPU_FREE(mask); }
};
using Mask = std::unique_ptr<cpu_set_t, MaskDeleter>;

// Errors: the kernel refuses all of them, or (which it does not report) some.
Status BindThread(const CpuSet& affinity) {
  if (affinity.empty()) return OkStatus();
  constexpr uint32_t kMaskBits = CpuSet::kMaxCpu + 1;
  const size_t size = CPU_ALLOC_SIZE(kMaskBits);
  Mask mask(CPU_ALLOC(kMaskBits));
  if (mask == nullptr) return ResourceExhausted("no memory for a CPU mask");
  CPU_ZERO_S(size, mask.get());
  for (uint32_t cpu = affinity.First(); cpu != CpuSet::kNone; cpu = affinity.NextAfter(cpu)) {
    CPU_SET_S(cpu, size, mask.get());
  }
  std::string what = "run on host CPUs " + affinity.ToString();
  if (::sched_setaffinity(0, size, mask.get()) < 0) return ErrnoStatus(what, errno);
  CPU_ZERO_S(size, mask.get());
  if (::sched_getaffinity(0, size, mask.get()) < 0) return ErrnoStatus(what, errno);
  CpuSet missing = affinity;
  for (uint32_t cpu = affinity.First(); cpu != CpuSet::kNone; cpu = affinity.NextAfter(cpu)) {
    if (CPU_ISSET_S(cpu, size, mask.get())) missing.Remove(cpu);
  }
  if (missing.empty()) return OkStatus();
  return InvalidArgument(what + ": " + missing.ToString() + " are offline, absent or outside of the cpuset");
}

}  // namespace

Result<std::unique_ptr<VcpuThread>> VcpuThread::Create(uint32_t id, std::unique_ptr<KvmVcpu> vcpu,
                                                       const CpuSet& affinity, VcpuTargets targets,
                                                       EndCallback on_end) {
  InstallKickHandler();
  std::unique_ptr<VcpuThread> self(
      new VcpuThread(id, std::move(vcpu), std::move(targets), std::move(on_end)));
  VcpuThread* raw = self.get();
  self->thread_ = std::thread([raw, affinity] { raw->Main(affinity); });
  std::unique_lock lock(self->mutex_);
  // Until it waits for commands: a restored vCPU may be asked for its state at once.
  self->changed_.wait(lock, [raw] { return raw->started_.has_value() && raw->idle_; });
  Status started = *self->started_;
  lock.unlock();
  if (!started.ok()) {
    return std::move(started).WithContext("vCPU " + std::to_string(id)).WithField("cpus.affinity");
  }
  return self;
}

VcpuThread::VcpuThread(uint32_t id, std::unique_ptr<KvmVcpu> vcpu, VcpuTargets targets, EndCallback on_end)
    : id_(id), vcpu_(std::move(vcpu)), targets_(std::move(targets)), on_end_(std::move(on_end)) {
  targets_.rest = [this](std::chrono::milliseconds duration) { return Rest(duration); };
}

VcpuThread::~VcpuThread() {
  if (!thread_.joinable()) return;
  Give(Command::kStop);
  thread_.join();
}

void VcpuThread::Run() {
  Give(Command::kRun);
}

void VcpuThread::Pause() {
  Give(Command::kPause);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return idle_; });
}

void VcpuThread::Stop() {
  Give(Command::kStop);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return idle_; });
}

Result<VcpuState> VcpuThread::State() {
  std::lock_guard lock(mutex_);
  if (!idle_) return FailedPrecondition("vCPU " + std::to_string(id_) + " runs");
  return vcpu_->GetState();
}

Result<VcpuSnapshot> VcpuThread::Save() {
  std::lock_guard lock(mutex_);
  if (!idle_) return FailedPrecondition("vCPU " + std::to_string(id_) + " runs");
  return vcpu_->Save();
}

void VcpuThread::Give(Command command) {
  std::lock_guard lock(mutex_);
  if (command_.load() == Command::kStop || command_.load() == command) return;
  if (command == Command::kRun || resting_) idle_ = false;
  command_.store(command);
  vcpu_->SetImmediateExit(command != Command::kRun);
  if (command != Command::kRun) ::pthread_kill(thread_.native_handle(), KickSignal());
  changed_.notify_all();
}

VcpuThread::Command VcpuThread::AwaitCommand(Command done) {
  std::unique_lock lock(mutex_);
  // In a loop: a run that is taken back by a pause before this thread wakes up has cleared idle_ all the
  // same.
  while (command_.load() == done) {
    idle_ = true;
    changed_.notify_all();
    changed_.wait(lock);
  }
  return command_.load();
}

bool VcpuThread::Rest(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [this] { return command_.load() != Command::kRun; });
  while (command_.load() == Command::kPause) {
    idle_ = resting_ = true;
    changed_.notify_all();
    changed_.wait(lock);
  }
  const bool paused = std::exchange(resting_, false);
  if (command_.load() != Command::kRun) return false;
  if (paused) vcpu_->TellStopped();
  return true;
}

void VcpuThread::Main(const CpuSet& affinity) {
  BlockOtherSignals();
  ::pthread_setname_np(::pthread_self(), ("vcpu" + std::to_string(id_)).c_str());
  Status bound = BindThread(affinity);
  {
    std::lock_guard lock(mutex_);
    thread_id_ = ::gettid();
    started_ = bound;
    changed_.notify_all();
  }
  EnterThread(ThreadKind::kVcpu);
  Command command = AwaitCommand(Command::kPause);
  while (command != Command::kStop) {
    if (command == Command::kRun && !ended_) RunGuest();
    command = AwaitCommand(command == Command::kRun && !ended_ ? Command::kPause : command);
  }
  std::lock_guard lock(mutex_);
  idle_ = true;
  changed_.notify_all();
}

void VcpuThread::RunGuest() {
  vcpu_->TellStopped();
  while (true) {
    Result<VcpuExit> exit = vcpu_->Run();
    exits_.fetch_add(1, std::memory_order_relaxed);
    std::optional<VcpuEnding> ending;
    if (exit.has_value()) {
      ending = ServeExit(*exit, targets_, *vcpu_);
    } else {
      ending = VcpuEnding{VcpuEnd::kFailed, exit.error().ToString()};
    }
    if (ending.has_value()) {
      ended_ = true;
      on_end_(id_, *std::move(ending));
      return;
    }
    // With the immediate exit set, one more Run has completed the last access and comes back interrupted.
    if (exit.has_value() && std::holds_alternative<InterruptedExit>(*exit) &&
        command_.load() != Command::kRun) {
      LogPosition();
      return;
    }
  }
}

// Where a guest that hangs was, for those who debug it.
void VcpuThread::LogPosition() {
  if (!LogEnabled(LogLevel::kDebug)) return;
  Result<VcpuState> state = vcpu_->GetState();
  if (!state.has_value()) return;
  char rip[24];
  std::snprintf(rip, sizeof rip, "%#llx", state->regs.rip);
  LOG(kDebug, "vcpu_left_guest", {{"vcpu", id_}, {"rip", rip}, {"exits", exits()}});
}

}  // namespace berth::vmm
