#include "vmm/kvm/linux_vcpu.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "vmm/kvm/confidential_abi.h"
#include "vmm/kvm/kvm_tables.h"

namespace berth::vmm {
namespace {

constexpr size_t kXsaveOld = 4096;  // what KVM_GET_XSAVE gives
constexpr size_t kMsrsMax = 256;    // in one call
constexpr uint32_t kTsc = 0x10;
constexpr uint32_t kTscDeadline = 0x6e0;

class LinuxVcpu final : public KvmVcpu {
 public:
  LinuxVcpu(UniqueFd fd, kvm_run* run, const LinuxVcpuSizes& sizes,
            std::shared_ptr<const std::vector<uint32_t>> msrs)
      : fd_(std::move(fd)), run_(run), sizes_(sizes), msrs_(std::move(msrs)) {}
  ~LinuxVcpu() override { ::munmap(run_, sizes_.run); }

  Status SetCpuid(std::span<const kvm_cpuid_entry2> leaves) override {
    KvmTable<kvm_cpuid_entry2> table(leaves);
    TRY(Call(kSetCpuid2, table.data(), "KVM_SET_CPUID2"));
    cpuid_.assign(leaves.begin(), leaves.end());
    return OkStatus();
  }

  Status SetMsrs(std::span<const kvm_msr_entry> msrs) override {
    KvmTable<kvm_msr_entry> table(msrs);
    int done = ::ioctl(fd_.get(), kSetMsrs, table.data());
    if (done < 0) return ErrnoStatus("KVM_SET_MSRS", errno);
    if (static_cast<size_t>(done) < msrs.size()) {
      char name[32];
      std::snprintf(name, sizeof name, "%#x", msrs[static_cast<size_t>(done)].index);
      return InvalidArgument("KVM refuses to set model-specific register " + std::string(name));
    }
    return OkStatus();
  }

  Result<VcpuState> GetState() override {
    VcpuState state;
    TRY(Call(KVM_GET_REGS, &state.regs, "KVM_GET_REGS"));
    TRY(Call(KVM_GET_SREGS, &state.sregs, "KVM_GET_SREGS"));
    TRY(Call(KVM_GET_FPU, &state.fpu, "KVM_GET_FPU"));
    return state;
  }

  Status SetState(const VcpuState& state) override {
    TRY(Call(KVM_SET_SREGS, &state.sregs, "KVM_SET_SREGS"));
    TRY(Call(KVM_SET_REGS, &state.regs, "KVM_SET_REGS"));
    return Call(KVM_SET_FPU, &state.fpu, "KVM_SET_FPU");
  }

  Result<kvm_lapic_state> GetLapic() override {
    kvm_lapic_state lapic;
    TRY(Call(KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC"));
    return lapic;
  }

  Status SetLapic(const kvm_lapic_state& lapic) override {
    return Call(KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC");
  }

  Result<uint32_t> TscKhz() override {
    int khz = ::ioctl(fd_.get(), KVM_GET_TSC_KHZ, 0);
    if (khz <= 0) return ErrnoStatus("KVM_GET_TSC_KHZ", khz < 0 ? errno : EIO);
    return static_cast<uint32_t>(khz);
  }

  Status SetTscKhz(uint32_t khz) override {
    TRY_ASSIGN(const uint32_t own, TscKhz());
    if (khz == own) return OkStatus();
    if (::ioctl(fd_.get(), KVM_SET_TSC_KHZ, static_cast<unsigned long>(khz)) == 0) return OkStatus();
    return FailedPrecondition("the guest's time stamp counter runs at " + std::to_string(khz) +
                              " kHz, this host's at " + std::to_string(own) + ", and it cannot scale it");
  }

  // In an order that KVM's own side effects allow: the multiprocessor state first, because reading it lets
  // the local APIC take what waits; that APIC before the registers of its timer.
  Result<VcpuSnapshot> Save() override {
    VcpuSnapshot saved;
    TRY(Call(KVM_GET_MP_STATE, &saved.mp_state, "KVM_GET_MP_STATE"));
    TRY(Call(KVM_GET_REGS, &saved.regs, "KVM_GET_REGS"));
    TRY(Call(KVM_GET_SREGS, &saved.sregs, "KVM_GET_SREGS"));
    saved.xsave.resize(sizes_.xsave);
    const bool large = sizes_.xsave > kXsaveOld;
    TRY(Call(large ? kGetXsave2 : kGetXsave, saved.xsave.data(), "KVM_GET_XSAVE"));
    TRY(Call(KVM_GET_XCRS, &saved.xcrs, "KVM_GET_XCRS"));
    TRY(Call(KVM_GET_DEBUGREGS, &saved.debug, "KVM_GET_DEBUGREGS"));
    TRY(Call(KVM_GET_LAPIC, &saved.lapic, "KVM_GET_LAPIC"));
    TRY_ASSIGN(saved.tsc_khz, TscKhz());
    TRY_ASSIGN(saved.msrs, GetMsrs());
    TRY(Call(KVM_GET_VCPU_EVENTS, &saved.events, "KVM_GET_VCPU_EVENTS"));
    TRY_ASSIGN(saved.nested, GetNested());
    saved.cpuid = cpuid_;
    return saved;
  }

  Status Restore(const VcpuSnapshot& snapshot) override {
    if (snapshot.xsave.size() != sizes_.xsave) {
      return FailedPrecondition("the processor's extended state has " + std::to_string(sizes_.xsave) +
                                " bytes here and " + std::to_string(snapshot.xsave.size()) +
                                " in the snapshot");
    }
    TRY(SetCpuid(snapshot.cpuid));
    TRY(SetTscKhz(snapshot.tsc_khz));
    // Copies: the kernel's calls do not promise to leave what they are given alone.
    VcpuSnapshot copy = snapshot;
    TRY(Call(KVM_SET_MP_STATE, &copy.mp_state, "KVM_SET_MP_STATE"));
    TRY(Call(KVM_SET_REGS, &copy.regs, "KVM_SET_REGS"));
    TRY(Call(KVM_SET_SREGS, &copy.sregs, "KVM_SET_SREGS"));
    if (!copy.nested.empty()) TRY(Call(kSetNestedState, copy.nested.data(), "KVM_SET_NESTED_STATE"));
    TRY(Call(kSetXsave, copy.xsave.data(), "KVM_SET_XSAVE"));
    TRY(Call(KVM_SET_XCRS, &copy.xcrs, "KVM_SET_XCRS"));
    TRY(Call(KVM_SET_DEBUGREGS, &copy.debug, "KVM_SET_DEBUGREGS"));
    TRY(Call(KVM_SET_LAPIC, &copy.lapic, "KVM_SET_LAPIC"));
    TRY(RestoreMsrs(copy.msrs));
    return Call(KVM_SET_VCPU_EVENTS, &copy.events, "KVM_SET_VCPU_EVENTS");
  }

  void TellStopped() override { static_cast<void>(::ioctl(fd_.get(), KVM_KVMCLOCK_CTRL, 0)); }

  int LaunchCommand(unsigned long request, void* argument) override {
    return ::ioctl(fd_.get(), request, argument) < 0 ? errno : 0;
  }

  Result<VcpuExit> Run() override {
    run_->exit_reason = KVM_EXIT_UNKNOWN;  // a fault of the call itself leaves it alone
    if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
      int error = errno;
      // The one exit that comes with an error.
      if ((error == EFAULT || error == EHWPOISON) && run_->exit_reason == abi::kExitMemoryFault) {
        const auto fault = Payload<abi::MemoryFaultRun>();
        return VcpuExit(MemoryFaultExit{fault->gpa, fault->size, (fault->flags & abi::kAttributePrivate) != 0,
                                        error == EHWPOISON});
      }
      errno = error;
      if (errno == EINTR || errno == EAGAIN) return VcpuExit(InterruptedExit{});
      return ErrnoStatus("KVM_RUN", errno);
    }
    return Decode();
  }

  void SetImmediateExit(bool exit) override {
    __atomic_store_n(&run_->immediate_exit, static_cast<uint8_t>(exit), __ATOMIC_RELAXED);
  }

 private:
  template <class T>
  Status Call(unsigned long request, T argument, const char* name) {
    if (::ioctl(fd_.get(), request, argument) < 0) return ErrnoStatus(name, errno);
    return OkStatus();
  }

  // KVM stops at the first register that it does not give, which the list may well have.
  Result<std::vector<kvm_msr_entry>> GetMsrs() {
    std::vector<kvm_msr_entry> found;
    for (size_t at = 0; at < msrs_->size();) {
      std::vector<kvm_msr_entry> wanted;
      const size_t count = std::min(msrs_->size() - at, kMsrsMax);
      wanted.reserve(count);
      for (size_t i = 0; i < count; ++i) wanted.push_back({(*msrs_)[at + i], 0, 0});
      KvmTable<kvm_msr_entry> table(wanted);
      const int done = ::ioctl(fd_.get(), kGetMsrs, table.data());
      if (done < 0) return ErrnoStatus("KVM_GET_MSRS", errno);
      const std::vector<kvm_msr_entry> read = table.Entries();
      const size_t good = std::min(static_cast<size_t>(done), count);
      found.insert(found.end(), read.begin(), read.begin() + static_cast<ptrdiff_t>(good));
      at += good < count ? good + 1 : count;
    }
    return found;
  }

  Status RestoreMsrs(std::vector<kvm_msr_entry> msrs) {
    const auto value_of = [&msrs](uint32_t index) {
      auto found =
          std::find_if(msrs.begin(), msrs.end(), [=](const auto& msr) { return msr.index == index; });
      return found == msrs.end() ? msrs.end() : found;
    };
    // A timer that was due when the state was taken reads as none: it is due again at once.
    if (auto deadline = value_of(kTscDeadline), tsc = value_of(kTsc);
        deadline != msrs.end() && tsc != msrs.end()) {
      if (deadline->data == 0) deadline->data = tsc->data;
      std::iter_swap(deadline, msrs.end() - 1);  // it counts by what the others say
    }
    for (const kvm_msr_entry& msr : msrs) {
      Status status = SetMsrs({&msr, 1});
      // What is zero on both sides is not missed.
      if (!status.ok() && msr.data != 0) return status;
    }
    return OkStatus();
  }

  Result<std::vector<uint8_t>> GetNested() {
    std::vector<uint8_t> state(sizes_.nested);
    if (state.size() < sizeof(kvm_nested_state)) return std::vector<uint8_t>();
    kvm_nested_state header{};
    header.size = static_cast<uint32_t>(state.size());
    std::memcpy(state.data(), &header, sizeof header);
    TRY(Call(kGetNestedState, state.data(), "KVM_GET_NESTED_STATE"));
    std::memcpy(&header, state.data(), sizeof header);
    const bool vmx = header.format == KVM_STATE_NESTED_FORMAT_VMX;
    const bool in_use = header.flags != 0 || (vmx ? header.hdr.vmx.vmxon_pa != UINT64_MAX : false);
    state.resize(in_use ? std::min<size_t>(header.size, state.size()) : 0);
    return state;
  }

  // The part of the shared area that belongs to the exit's reason.
  template <class T>
  T* Payload() {
    static_assert(sizeof(T) <= sizeof run_->padding);
    return reinterpret_cast<T*>(&run_->padding);  // SAFETY: the union's size is fixed by that member
  }

  Result<VcpuExit> Decode() {
    switch (run_->exit_reason) {
      case KVM_EXIT_IO: {
        uint64_t size = uint64_t{run_->io.size} * run_->io.count;
        // The kernel keeps the data inside the shared area; anything else is its bug, not ours to follow.
        if (run_->io.data_offset > sizes_.run || size > sizes_.run - run_->io.data_offset) {
          return Internal("KVM_EXIT_IO data lies outside the shared area");
        }
        auto* data = reinterpret_cast<uint8_t*>(run_) + run_->io.data_offset;  // SAFETY: checked above
        return VcpuExit(PortExit{run_->io.direction == KVM_EXIT_IO_OUT, run_->io.port, run_->io.size,
                                 std::span(data, static_cast<size_t>(size))});
      }
      case KVM_EXIT_MMIO: {
        size_t size = std::min<size_t>(run_->mmio.len, sizeof run_->mmio.data);
        return VcpuExit(
            MmioExit{run_->mmio.is_write != 0, run_->mmio.phys_addr, std::span(run_->mmio.data, size)});
      }
      case KVM_EXIT_IOAPIC_EOI:
        return VcpuExit(EoiExit{run_->eoi.vector});
      case KVM_EXIT_HLT:
        return VcpuExit(HaltExit{});
      case KVM_EXIT_SHUTDOWN:
        return VcpuExit(ShutdownExit{});
      case KVM_EXIT_SYSTEM_EVENT: {
        SystemEventExit event{run_->system_event.type, {}};
        size_t count = std::min<size_t>(run_->system_event.ndata, std::size(run_->system_event.data));
        event.data.assign(run_->system_event.data, run_->system_event.data + count);
        return VcpuExit(std::move(event));
      }
      case KVM_EXIT_HYPERCALL: {
        HypercallExit call;
        call.number = run_->hypercall.nr;
        std::copy(std::begin(run_->hypercall.args), std::end(run_->hypercall.args), call.arguments.begin());
        call.result = reinterpret_cast<uint64_t*>(&run_->hypercall.ret);
        return VcpuExit(call);
      }
      case abi::kExitTdx: {
        auto* tdx = Payload<abi::TdxRun>();
        return VcpuExit(TdxExit{tdx->nr, std::span(tdx->data), &tdx->ret});
      }
      case KVM_EXIT_FAIL_ENTRY:
        return VcpuExit(EntryFailureExit{run_->fail_entry.hardware_entry_failure_reason});
      case KVM_EXIT_INTERNAL_ERROR: {
        InternalErrorExit error;
        error.suberror = run_->internal.suberror;
        size_t count = std::min<size_t>(run_->internal.ndata, std::size(run_->internal.data));
        error.data.assign(run_->internal.data, run_->internal.data + count);
        return VcpuExit(std::move(error));
      }
      case KVM_EXIT_INTR:
      case KVM_EXIT_IRQ_WINDOW_OPEN:
        return VcpuExit(InterruptedExit{});
      default:
        return VcpuExit(OtherExit{run_->exit_reason});
    }
  }

  UniqueFd fd_;
  kvm_run* run_;
  const LinuxVcpuSizes sizes_;
  const std::shared_ptr<const std::vector<uint32_t>> msrs_;
  std::vector<kvm_cpuid_entry2>
      cpuid_;  // as it was set: what KVM tells of it depends on the guest's registers
};

}  // namespace

Result<std::unique_ptr<KvmVcpu>> OpenLinuxVcpu(UniqueFd fd, const LinuxVcpuSizes& sizes,
                                               std::shared_ptr<const std::vector<uint32_t>> msrs) {
  void* run = ::mmap(nullptr, sizes.run, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) return ErrnoStatus("map the shared area of a vCPU", errno);
  // SAFETY: the kernel lays a kvm_run at the start of the mapping, and sizes.run >= sizeof(kvm_run).
  return std::unique_ptr<KvmVcpu>(
      std::make_unique<LinuxVcpu>(std::move(fd), static_cast<kvm_run*>(run), sizes, std::move(msrs)));
}

}  // namespace berth::vmm
