#include "vmm/kvm/fake_kvm.h"

#include <fcntl.h>
#include <linux/kvm_para.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <utility>

#include "vmm/kvm/confidential_abi.h"

namespace berth::vmm {

struct FakeKvm::State {
  struct Failure {
    KvmCall call;
    int error_number;
    uint32_t after;
  };

  mutable std::mutex mutex;  // guards all of it
  std::condition_variable changed;
  KvmCapabilities capabilities{.max_vcpus = 16,
                               .max_memory_slots = 64,
                               .tsc_deadline_timer = true,
                               .x2apic_api = true,
                               .vm_types = 0b11,
                               .memory_attributes = abi::kAttributePrivate,
                               .exit_hypercalls = 1 << KVM_HC_MAP_GPA_RANGE,
                               .guest_memfd = true,
                               .memory_fault_exits = true,
                               .user_memory2 = true};
  std::map<VmType, std::shared_ptr<FakePlatform>> platforms;
  std::vector<kvm_cpuid_entry2> cpuid;
  std::vector<Failure> failures;
  std::map<uint32_t, std::deque<ScriptedExit>> scripts;
  std::vector<std::shared_ptr<FakeVm>> vms;

  FakePlatform* PlatformOf(const FakeVm& vm) const {
    auto found = platforms.find(vm.type);
    return found == platforms.end() ? nullptr : found->second.get();
  }

  // Lock held. The error number of this call, if it is its turn, else 0.
  int InjectedErrno(KvmCall call) {
    for (auto it = failures.begin(); it != failures.end(); ++it) {
      if (it->call != call) continue;
      if (it->after-- > 0) return 0;
      int error = it->error_number;
      failures.erase(it);
      return error;
    }
    return 0;
  }

  // The same as a status.
  Status Inject(KvmCall call) {
    const int error = InjectedErrno(call);
    return error == 0 ? OkStatus() : ErrnoStatus("injected", error);
  }
};

namespace {

using State = FakeKvm::State;
constexpr uint64_t kPage = 4096;
constexpr size_t kXsave = 4096;

Status Fail(const char* call, int error) {
  return ErrnoStatus(call, error);
}

uint64_t InodeOf(int fd) {
  struct stat info;
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

bool HasPrivateMemory(const FakeVm& vm) {
  return vm.type == VmType::kSwProtected || vm.type == VmType::kSevSnp || vm.type == VmType::kTdx;
}

// Puts [start, end) into the set of ranges, or takes it out.
void SetRange(std::map<uint64_t, uint64_t>& ranges, uint64_t start, uint64_t end, bool in) {
  auto it = ranges.upper_bound(start);
  if (it != ranges.begin() && std::prev(it)->second >= start) --it;
  uint64_t first = start, last = end;
  while (it != ranges.end() && it->first <= end) {
    const auto [a, b] = *it;
    it = ranges.erase(it);
    if (in) {
      first = std::min(first, a);
      last = std::max(last, b);
      continue;
    }
    if (a < start) ranges[a] = std::min(b, start);
    if (b > end) ranges[std::max(a, end)] = b;
  }
  if (in) ranges[first] = last;
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
    if (FakePlatform* platform = state_->PlatformOf(*vm_)) {
      if (int error = platform->OnSetState(*vm_, id_); error != 0) return Fail("KVM_SET_REGS", error);
    }
    return PutState(state);
  }

  Result<VcpuSnapshot> Save() override {
    FAKE_CALL(KvmCall::kSave);
    VcpuSnapshot saved;
    saved.tsc_khz = self_.tsc_khz;
    saved.cpuid = self_.cpuid;
    saved.msrs = self_.msrs;
    saved.regs = self_.state.regs;
    saved.sregs = self_.state.sregs;
    saved.lapic = self_.lapic;
    saved.mp_state = self_.mp_state;
    saved.events = self_.events;
    saved.xsave = self_.xsave;
    saved.xsave.resize(kXsave);
    return saved;
  }

  Status Restore(const VcpuSnapshot& snapshot) override {
    FAKE_CALL(KvmCall::kRestore);
    if (ran_) return Fail("KVM_SET_CPUID2", EINVAL);
    if (snapshot.xsave.size() != kXsave || snapshot.cpuid.size() > 256) return Fail("KVM_SET_XSAVE", EINVAL);
    if (snapshot.tsc_khz == 0) return Fail("KVM_SET_TSC_KHZ", EINVAL);
    self_.tsc_khz = snapshot.tsc_khz;
    if (snapshot.mp_state.mp_state > KVM_MP_STATE_SIPI_RECEIVED) return Fail("KVM_SET_MP_STATE", EINVAL);
    TRY(PutState({snapshot.regs, snapshot.sregs, self_.state.fpu}));
    self_.cpuid = snapshot.cpuid;
    self_.msrs = snapshot.msrs;
    self_.lapic = snapshot.lapic;
    self_.mp_state = snapshot.mp_state;
    self_.events = snapshot.events;
    self_.xsave = snapshot.xsave;
    return OkStatus();
  }

  void TellStopped() override {}

  Status PutState(const VcpuState& state) {
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
    return self_.tsc_khz;
  }

  Status SetTscKhz(uint32_t khz) override {
    FAKE_CALL(KvmCall::kSetTscKhz);
    if (khz == 0 || ran_) return Fail("KVM_SET_TSC_KHZ", EINVAL);
    self_.tsc_khz = khz;
    return OkStatus();
  }

  int LaunchCommand(unsigned long request, void* argument) override {
    std::lock_guard lock(state_->mutex);
    if (vm_->dead) return EIO;
    if (int error = state_->InjectedErrno(KvmCall::kVcpuCommand); error != 0) return error;
    FakePlatform* platform = state_->PlatformOf(*vm_);
    return platform == nullptr ? ENOTTY : platform->OnVcpuCommand(*vm_, id_, request, argument);
  }

  Result<VcpuExit> Run() override {
    FAKE_CALL(KvmCall::kRun);
    ran_ = true;
    if (FakePlatform* platform = state_->PlatformOf(*vm_)) {
      if (int error = platform->OnRun(*vm_, id_); error != 0) return Fail("KVM_RUN", error);
    }
    if (pending_) {
      if (result_) {
        current_.data.resize(sizeof *result_);
        std::memcpy(current_.data.data(), &*result_, sizeof *result_);
        result_.reset();
      }
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
    } else if (auto* call = std::get_if<HypercallExit>(&current_.exit)) {
      call->result = &result_.emplace(0);
      pending_ = true;
    } else if (auto* tdx = std::get_if<TdxExit>(&current_.exit)) {
      words_.assign(5, 0);
      std::memcpy(words_.data(), current_.data.data(), std::min<size_t>(current_.data.size(), 40));
      tdx->data = words_;
      tdx->result = &result_.emplace(abi::kTdVmCallUnsupported);
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
  std::optional<uint64_t> result_;  // of the current exit, if the guest gets one
  std::vector<uint64_t> words_;     // of a TdxExit
  bool pending_ = false;
  bool ran_ = false;
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
      if (before.guest_memfd >= 0 || slot.guest_memfd >= 0) return Fail(kName, EINVAL);
    }
    if (int error = CheckPrivateSlot(slot); error != 0) return Fail("KVM_SET_USER_MEMORY_REGION2", error);
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

  Result<uint64_t> GetClock() override {
    FAKE_CALL(KvmCall::kGetClock);
    return vm_->clock;
  }
  Status SetClock(uint64_t nanoseconds) override {
    FAKE_CALL(KvmCall::kSetClock);
    vm_->clock = nanoseconds;
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
    if (FakePlatform* platform = state_->PlatformOf(*vm_)) {
      if (int error = platform->OnCreateVcpu(*vm_, id); error != 0) return Fail("KVM_CREATE_VCPU", error);
    }
    return std::unique_ptr<KvmVcpu>(std::make_unique<FakeVcpuHandle>(state_, vm_, id));
  }

  Result<UniqueFd> CreateGuestMemfd(uint64_t size) override {
    FAKE_CALL(KvmCall::kCreateGuestMemfd);
    if (!state_->capabilities.guest_memfd) return Fail("KVM_CREATE_GUEST_MEMFD", ENOTTY);
    if (size == 0 || size % kPage != 0) return Fail("KVM_CREATE_GUEST_MEMFD", EINVAL);
    UniqueFd fd(::memfd_create("fake-guest-memfd", MFD_CLOEXEC));
    if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(size)) < 0) {
      return Fail("KVM_CREATE_GUEST_MEMFD", errno);
    }
    vm_->guest_memfd_inodes.push_back(InodeOf(fd.get()));
    return fd;
  }

  Status SetPrivate(Gpa gpa, uint64_t size, bool is_private) override {
    FAKE_CALL(KvmCall::kSetPrivate);
    constexpr char kName[] = "KVM_SET_MEMORY_ATTRIBUTES";
    if (state_->capabilities.memory_attributes == 0) return Fail(kName, ENOTTY);
    if (is_private && !HasPrivateMemory(*vm_)) return Fail(kName, EINVAL);
    if (size == 0 || size % kPage != 0 || Raw(gpa) % kPage != 0) return Fail(kName, EINVAL);
    if (Raw(gpa) + size < Raw(gpa)) return Fail(kName, EINVAL);
    SetRange(vm_->private_ranges, Raw(gpa), Raw(gpa) + size, is_private);
    return OkStatus();
  }

  Status EnableMapGpaExits() override {
    FAKE_CALL(KvmCall::kEnableMapGpaExits);
    if (state_->capabilities.exit_hypercalls == 0) return Fail("KVM_CAP_EXIT_HYPERCALL", EINVAL);
    vm_->map_gpa_exits = true;
    return OkStatus();
  }

  int LaunchCommand(unsigned long request, void* argument) override {
    std::lock_guard lock(state_->mutex);
    if (vm_->dead) return EIO;
    if (int error = state_->InjectedErrno(KvmCall::kVmCommand); error != 0) return error;
    FakePlatform* platform = state_->PlatformOf(*vm_);
    return platform == nullptr ? ENOTTY : platform->OnVmCommand(*vm_, request, argument);
  }

 private:
  // Lock held. The rules of kvm_gmem_bind.
  int CheckPrivateSlot(const MemorySlot& slot) const {
    if (slot.guest_memfd < 0) return 0;
    if (!HasPrivateMemory(*vm_) || slot.readonly) return EINVAL;
    struct stat info;
    if (::fstat(slot.guest_memfd, &info) < 0) return EBADF;
    const auto& inodes = vm_->guest_memfd_inodes;
    if (std::find(inodes.begin(), inodes.end(), info.st_ino) == inodes.end()) return EINVAL;
    const uint64_t room = static_cast<uint64_t>(info.st_size);
    if (slot.guest_memfd_offset % kPage != 0 || slot.guest_memfd_offset > room ||
        slot.size > room - slot.guest_memfd_offset) {
      return EINVAL;
    }
    for (const auto& [id, other] : vm_->slots) {
      if (other.guest_memfd < 0 || InodeOf(other.guest_memfd) != info.st_ino) continue;
      if (slot.guest_memfd_offset < other.guest_memfd_offset + other.size &&
          other.guest_memfd_offset < slot.guest_memfd_offset + slot.size) {
        return EINVAL;  // as Linux 6.12; later releases: EEXIST
      }
    }
    return 0;
  }

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

ScriptedExit ScriptedExit::MapGpa(uint64_t gpa, uint64_t pages, bool encrypted) {
  HypercallExit call;
  call.number = KVM_HC_MAP_GPA_RANGE;
  call.arguments = {gpa, pages, encrypted ? abi::kMapGpaEncrypted : 0};
  return {call, {}};
}
ScriptedExit ScriptedExit::MemoryFault(uint64_t gpa, uint64_t size, bool is_private) {
  return {MemoryFaultExit{gpa, size, is_private}, {}};
}
ScriptedExit ScriptedExit::TdVmCall(uint64_t number, std::vector<uint64_t> data) {
  std::vector<uint8_t> bytes(data.size() * sizeof(uint64_t));
  if (!data.empty()) std::memcpy(bytes.data(), data.data(), bytes.size());
  return {TdxExit{number, {}, nullptr}, std::move(bytes)};
}

bool FakeVm::IsPrivate(uint64_t gpa, uint64_t size) const {
  auto next = private_ranges.upper_bound(gpa);
  return next != private_ranges.begin() && std::prev(next)->second >= gpa + size;
}
bool FakeVm::IsShared(uint64_t gpa, uint64_t size) const {
  auto next = private_ranges.lower_bound(gpa + size);
  return next == private_ranges.begin() || std::prev(next)->second <= gpa;
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

void FakeKvm::AddPlatform(std::shared_ptr<FakePlatform> platform) {
  std::lock_guard lock(state_->mutex);
  const auto number = static_cast<uint64_t>(platform->type());
  if (number < 64) state_->capabilities.vm_types |= uint64_t{1} << number;
  state_->platforms[platform->type()] = std::move(platform);
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

Result<std::unique_ptr<KvmVm>> FakeKvm::CreateVm(VmType type) {
  std::lock_guard lock(state_->mutex);
  TRY(state_->Inject(KvmCall::kCreateVm));
  const auto number = static_cast<uint64_t>(type);
  const bool known = type == VmType::kDefault || state_->platforms.contains(type) ||
                     (number < 64 && (state_->capabilities.vm_types >> number & 1) != 0);
  if (!known) return ErrnoStatus("KVM_CREATE_VM of type " + std::to_string(number), EINVAL);
  state_->vms.push_back(std::make_shared<FakeVm>());
  state_->vms.back()->type = type;
  return std::unique_ptr<KvmVm>(std::make_unique<FakeVmHandle>(state_, state_->vms.back()));
}

}  // namespace berth::vmm
