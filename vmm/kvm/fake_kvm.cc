#include "vmm/kvm/fake_kvm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <utility>

namespace berth::vmm {

struct FakeKvm::State {
  struct Failure {
    KvmCall call;
    int error_number;
    uint32_t after;
  };

  mutable std::mutex mutex;  // guards all of it
  std::condition_variable changed;
  KvmCapabilities capabilities{
      .max_vcpus = 16, .max_memory_slots = 64, .tsc_deadline_timer = true, .x2apic_api = true};
  std::vector<kvm_cpuid_entry2> cpuid;
  std::vector<Failure> failures;
  std::map<uint32_t, std::deque<ScriptedExit>> scripts;
  std::vector<std::shared_ptr<FakeVm>> vms;

  // Lock held. The injected error of this call, if it is its turn.
  Status Inject(KvmCall call) {
    for (auto it = failures.begin(); it != failures.end(); ++it) {
      if (it->call != call) continue;
      if (it->after-- > 0) return OkStatus();
      int error = it->error_number;
      failures.erase(it);
      return ErrnoStatus("injected", error);
    }
    return OkStatus();
  }
};

namespace {

using State = FakeKvm::State;
constexpr uint64_t kPage = 4096;

Status Fail(const char* call, int error) {
  return ErrnoStatus(call, error);
}

bool IsEventFd(int fd) {
  char target[64];
  std::string link = "/proc/self/fd/" + std::to_string(fd);
  ssize_t length = ::readlink(link.c_str(), target, sizeof target);
  return length > 0 && std::string_view(target, static_cast<size_t>(length)) == "anon_inode:[eventfd]";
}

// Starts each call: takes the lock, and fails it when the VM is dead or a failure was injected.
#define FAKE_CALL(call)                              \
  std::unique_lock lock(state_->mutex);              \
  if (vm_->dead) return Fail("the VM is dead", EIO); \
  if (Status s = state_->Inject(call); !s.ok()) return s

class FakeVcpuHandle final : public KvmVcpu {
 public:
  FakeVcpuHandle(std::shared_ptr<State> state, std::shared_ptr<FakeVm> vm, uint32_t id)
      : state_(std::move(state)), vm_(std::move(vm)), id_(id), self_(vm_->vcpus[id]) {}

  Status SetCpuid(std::span<const kvm_cpuid_entry2> leaves) override {
    FAKE_CALL(KvmCall::kSetCpuid);
    if (leaves.size() > 256) return Fail("KVM_SET_CPUID2", E2BIG);
    self_.cpuid.assign(leaves.begin(), leaves.end());
    return OkStatus();
  }

  Status SetMsrs(std::span<const kvm_msr_entry> msrs) override {
    FAKE_CALL(KvmCall::kSetMsrs);
    self_.msrs.assign(msrs.begin(), msrs.end());
    return OkStatus();
  }

  Result<VcpuState> GetState() override {
    FAKE_CALL(KvmCall::kGetState);
    return self_.state;
  }

  Status SetState(const VcpuState& state) override {
    FAKE_CALL(KvmCall::kSetState);
    // Long mode needs paging with 64-bit tables, and paging needs protection (kvm_is_valid_sregs).
    constexpr uint64_t kProtection = 1, kPaging = uint64_t{1} << 31, kPae = 1 << 5;
    constexpr uint64_t kLongEnable = 1 << 8, kLongActive = 1 << 10;
    const kvm_sregs& s = state.sregs;
    bool paging = (s.cr0 & kPaging) != 0, active = (s.efer & kLongActive) != 0;
    if (paging && (s.cr0 & kProtection) == 0) return Fail("KVM_SET_SREGS", EINVAL);
    if ((s.efer & kLongEnable) != 0 && paging) {
      if ((s.cr4 & kPae) == 0 || !active) return Fail("KVM_SET_SREGS", EINVAL);
    } else if (active || s.cs.l != 0) {
      return Fail("KVM_SET_SREGS", EINVAL);
    }
    self_.state = state;
    return OkStatus();
  }

  Result<kvm_lapic_state> GetLapic() override {
    FAKE_CALL(KvmCall::kGetLapic);
    if (!vm_->split_irqchip_pins.has_value()) return Fail("KVM_GET_LAPIC", EINVAL);
    return self_.lapic;
  }

  Status SetLapic(const kvm_lapic_state& lapic) override {
    FAKE_CALL(KvmCall::kSetLapic);
    if (!vm_->split_irqchip_pins.has_value()) return Fail("KVM_SET_LAPIC", EINVAL);
    self_.lapic = lapic;
    return OkStatus();
  }

  Result<uint32_t> TscKhz() override {
    FAKE_CALL(KvmCall::kTscKhz);
    return 2'000'000u;
  }

  Result<VcpuExit> Run() override {
    FAKE_CALL(KvmCall::kRun);
    if (pending_) {
      self_.completed.push_back(current_.data);
      pending_ = false;
    }
    auto& script = state_->scripts[id_];
    state_->changed.wait(lock, [&] { return immediate_exit_ || vm_->dead || !script.empty(); });
    if (vm_->dead) return Fail("KVM_RUN", EIO);
    if (immediate_exit_) return VcpuExit(InterruptedExit{});
    current_ = std::move(script.front());
    script.pop_front();
    if (auto* port = std::get_if<PortExit>(&current_.exit)) {
      port->data = current_.data;
      pending_ = true;
    } else if (auto* mmio = std::get_if<MmioExit>(&current_.exit)) {
      mmio->data = current_.data;
      pending_ = true;
    }
    return current_.exit;
  }

  void SetImmediateExit(bool exit) override {
    std::lock_guard lock(state_->mutex);
    immediate_exit_ = exit;
    state_->changed.notify_all();
  }

 private:
  std::shared_ptr<State> state_;
  std::shared_ptr<FakeVm> vm_;
  const uint32_t id_;
  FakeVm::Vcpu& self_;
  ScriptedExit current_;
  bool pending_ = false;
  bool immediate_exit_ = false;
};

class FakeVmHandle final : public KvmVm {
 public:
  FakeVmHandle(std::shared_ptr<State> state, std::shared_ptr<FakeVm> vm)
      : state_(std::move(state)), vm_(std::move(vm)) {}

  Status SetMemorySlot(const MemorySlot& slot) override {
    FAKE_CALL(KvmCall::kSetMemorySlot);
    constexpr char kName[] = "KVM_SET_USER_MEMORY_REGION";
    if (slot.slot >= state_->capabilities.max_memory_slots) return Fail(kName, EINVAL);
    if (slot.size % kPage != 0 || Raw(slot.gpa) % kPage != 0) return Fail(kName, EINVAL);
    if (reinterpret_cast<uintptr_t>(slot.host) % kPage != 0) return Fail(kName, EINVAL);
    if (Raw(slot.gpa) + slot.size < Raw(slot.gpa)) return Fail(kName, EINVAL);
    auto old = vm_->slots.find(slot.slot);
    if (slot.size == 0) {
      if (old == vm_->slots.end()) return Fail(kName, EINVAL);
      vm_->slots.erase(old);
      return OkStatus();
    }
    if (old != vm_->slots.end()) {
      const MemorySlot& before = old->second;
      if (before.size != slot.size || before.host != slot.host || before.readonly != slot.readonly) {
        return Fail(kName, EINVAL);
      }
    }
    for (const auto& [id, other] : vm_->slots) {
      if (id == slot.slot) continue;
      if (Raw(slot.gpa) < Raw(other.gpa) + other.size && Raw(other.gpa) < Raw(slot.gpa) + slot.size) {
        return Fail(kName, EEXIST);
      }
    }
    vm_->slots[slot.slot] = slot;
    return OkStatus();
  }

  Status ReservePages(Gpa tss, Gpa identity_map) override {
    FAKE_CALL(KvmCall::kReservePages);
    if (Raw(tss) > UINT32_MAX - 3 * kPage) return Fail("KVM_SET_TSS_ADDR", EINVAL);
    if (!vm_->vcpus.empty() || Raw(identity_map) % kPage != 0) {
      return Fail("KVM_SET_IDENTITY_MAP_ADDR", EINVAL);
    }
    return OkStatus();
  }

  Status EnableSplitIrqchip(uint32_t pins) override {
    FAKE_CALL(KvmCall::kEnableSplitIrqchip);
    if (pins > kMaxGsiRoutes) return Fail("KVM_CAP_SPLIT_IRQCHIP", EINVAL);
    if (vm_->split_irqchip_pins.has_value() || !vm_->vcpus.empty()) {
      return Fail("KVM_CAP_SPLIT_IRQCHIP", EEXIST);
    }
    vm_->split_irqchip_pins = pins;
    return OkStatus();
  }

  Status EnableX2apicIds() override {
    FAKE_CALL(KvmCall::kEnableX2apicIds);
    if (!state_->capabilities.x2apic_api) return Fail("KVM_CAP_X2APIC_API", EINVAL);
    vm_->x2apic_ids = true;
    return OkStatus();
  }

  Status SetRoutes(std::span<const GsiRoute> routes) override {
    FAKE_CALL(KvmCall::kSetRoutes);
    if (!vm_->split_irqchip_pins.has_value() || routes.size() > kMaxGsiRoutes) {
      return Fail("KVM_SET_GSI_ROUTING", EINVAL);
    }
    std::vector<bool> seen(kMaxGsiRoutes);
    for (const GsiRoute& route : routes) {
      if (route.gsi >= kMaxGsiRoutes || seen[route.gsi]) return Fail("KVM_SET_GSI_ROUTING", EINVAL);
      seen[route.gsi] = true;
    }
    vm_->routes.assign(routes.begin(), routes.end());
    vm_->route_commits++;
    return OkStatus();
  }

  Status SignalMsi(const MsiMessage& message) override {
    FAKE_CALL(KvmCall::kSignalMsi);
    if (!vm_->split_irqchip_pins.has_value()) return Fail("KVM_SIGNAL_MSI", EINVAL);
    vm_->signalled.push_back(message);
    return OkStatus();
  }

  Status AssignIrqfd(int event_fd, uint32_t gsi) override {
    FAKE_CALL(KvmCall::kAssignIrqfd);
    if (::fcntl(event_fd, F_GETFD) < 0) return Fail("KVM_IRQFD", EBADF);
    if (!IsEventFd(event_fd) || gsi >= kMaxGsiRoutes) return Fail("KVM_IRQFD", EINVAL);
    if (vm_->irqfds.contains(event_fd)) return Fail("KVM_IRQFD", EBUSY);
    vm_->irqfds[event_fd] = gsi;
    return OkStatus();
  }

  Status DeassignIrqfd(int event_fd, uint32_t gsi) override {
    FAKE_CALL(KvmCall::kDeassignIrqfd);
    if (::fcntl(event_fd, F_GETFD) < 0) return Fail("KVM_IRQFD", EBADF);
    auto it = vm_->irqfds.find(event_fd);
    if (it != vm_->irqfds.end() && it->second == gsi) vm_->irqfds.erase(it);
    return OkStatus();  // the kernel does not tell that there was none
  }

  Status AssignIoEvent(uint64_t address, uint32_t size, int event_fd) override {
    FAKE_CALL(KvmCall::kAssignIoEvent);
    if (size != 0 && size != 1 && size != 2 && size != 4 && size != 8) return Fail("KVM_IOEVENTFD", EINVAL);
    if (address + size < address) return Fail("KVM_IOEVENTFD", EINVAL);
    if (::fcntl(event_fd, F_GETFD) < 0) return Fail("KVM_IOEVENTFD", EBADF);
    if (!IsEventFd(event_fd)) return Fail("KVM_IOEVENTFD", EINVAL);
    for (const FakeVm::IoEvent& event : vm_->io_events) {
      if (event.address == address && (event.size == 0 || size == 0 || event.size == size)) {
        return Fail("KVM_IOEVENTFD", EEXIST);
      }
    }
    vm_->io_events.push_back({address, size, event_fd});
    return OkStatus();
  }

  Status DeassignIoEvent(uint64_t address, uint32_t size, int event_fd) override {
    FAKE_CALL(KvmCall::kDeassignIoEvent);
    if (std::erase(vm_->io_events, FakeVm::IoEvent{address, size, event_fd}) == 0) {
      return Fail("KVM_IOEVENTFD", ENOENT);
    }
    return OkStatus();
  }

  Status AddVfioFile(int fd) override {
    FAKE_CALL(KvmCall::kAddVfioFile);
    if (::fcntl(fd, F_GETFD) < 0) return Fail("KVM_DEV_VFIO_GROUP_ADD", EBADF);
    for (int known : vm_->vfio_files) {
      if (known == fd) return Fail("KVM_DEV_VFIO_GROUP_ADD", EEXIST);
    }
    vm_->vfio_files.push_back(fd);
    return OkStatus();
  }

  Status RemoveVfioFile(int fd) override {
    FAKE_CALL(KvmCall::kRemoveVfioFile);
    if (std::erase(vm_->vfio_files, fd) == 0) return Fail("KVM_DEV_VFIO_GROUP_DEL", ENOENT);
    return OkStatus();
  }

  Result<std::unique_ptr<KvmVcpu>> CreateVcpu(uint32_t id) override {
    FAKE_CALL(KvmCall::kCreateVcpu);
    if (id >= state_->capabilities.max_vcpus) return Fail("KVM_CREATE_VCPU", EINVAL);
    if (vm_->vcpus.contains(id)) return Fail("KVM_CREATE_VCPU", EEXIST);
    return std::unique_ptr<KvmVcpu>(std::make_unique<FakeVcpuHandle>(state_, vm_, id));
  }

 private:
  std::shared_ptr<State> state_;
  std::shared_ptr<FakeVm> vm_;
};

#undef FAKE_CALL

}  // namespace

ScriptedExit ScriptedExit::Out(uint16_t port, std::vector<uint8_t> data, uint8_t size) {
  return {PortExit{true, port, size, {}}, std::move(data)};
}
ScriptedExit ScriptedExit::In(uint16_t port, size_t bytes, uint8_t size) {
  return {PortExit{false, port, size, {}}, std::vector<uint8_t>(bytes)};
}
ScriptedExit ScriptedExit::MmioWrite(uint64_t address, std::vector<uint8_t> data) {
  return {MmioExit{true, address, {}}, std::move(data)};
}
ScriptedExit ScriptedExit::MmioRead(uint64_t address, size_t bytes) {
  return {MmioExit{false, address, {}}, std::vector<uint8_t>(bytes)};
}

FakeKvm::FakeKvm() : state_(std::make_shared<State>()) {}

void FakeKvm::FailCall(KvmCall call, int error_number, uint32_t after) {
  std::lock_guard lock(state_->mutex);
  state_->failures.push_back({call, error_number, after});
}

void FakeKvm::KillVms() {
  std::lock_guard lock(state_->mutex);
  for (auto& vm : state_->vms) vm->dead = true;
  state_->changed.notify_all();
}

void FakeKvm::SetCapabilities(const KvmCapabilities& capabilities) {
  std::lock_guard lock(state_->mutex);
  state_->capabilities = capabilities;
}

void FakeKvm::SetSupportedCpuid(std::vector<kvm_cpuid_entry2> leaves) {
  std::lock_guard lock(state_->mutex);
  state_->cpuid = std::move(leaves);
}

void FakeKvm::Script(uint32_t vcpu, std::vector<ScriptedExit> exits) {
  std::lock_guard lock(state_->mutex);
  auto& script = state_->scripts[vcpu];
  for (ScriptedExit& exit : exits) script.push_back(std::move(exit));
  state_->changed.notify_all();
}

FakeVm FakeKvm::vm() const {
  std::lock_guard lock(state_->mutex);
  return state_->vms.empty() ? FakeVm() : *state_->vms.back();
}

uint32_t FakeKvm::vms_created() const {
  std::lock_guard lock(state_->mutex);
  return static_cast<uint32_t>(state_->vms.size());
}

Result<KvmCapabilities> FakeKvm::Probe() {
  std::lock_guard lock(state_->mutex);
  TRY(state_->Inject(KvmCall::kProbe));
  return state_->capabilities;
}

Result<std::vector<kvm_cpuid_entry2>> FakeKvm::SupportedCpuid() {
  std::lock_guard lock(state_->mutex);
  TRY(state_->Inject(KvmCall::kSupportedCpuid));
  return state_->cpuid;
}

Result<std::unique_ptr<KvmVm>> FakeKvm::CreateVm() {
  std::lock_guard lock(state_->mutex);
  TRY(state_->Inject(KvmCall::kCreateVm));
  state_->vms.push_back(std::make_shared<FakeVm>());
  return std::unique_ptr<KvmVm>(std::make_unique<FakeVmHandle>(state_, state_->vms.back()));
}

}  // namespace berth::vmm
