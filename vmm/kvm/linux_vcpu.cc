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

#include "vmm/kvm/kvm_tables.h"

namespace berth::vmm {
namespace {

class LinuxVcpu final : public KvmVcpu {
 public:
  LinuxVcpu(UniqueFd fd, kvm_run* run, size_t run_size)
      : fd_(std::move(fd)), run_(run), run_size_(run_size) {}
  ~LinuxVcpu() override { ::munmap(run_, run_size_); }

  Status SetCpuid(std::span<const kvm_cpuid_entry2> leaves) override {
    KvmTable<kvm_cpuid_entry2> table(leaves);
    return Call(kSetCpuid2, table.data(), "KVM_SET_CPUID2");
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

  Result<VcpuExit> Run() override {
    if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
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

  Result<VcpuExit> Decode() {
    switch (run_->exit_reason) {
      case KVM_EXIT_IO: {
        uint64_t size = uint64_t{run_->io.size} * run_->io.count;
        // The kernel keeps the data inside the shared area; anything else is its bug, not ours to follow.
        if (run_->io.data_offset > run_size_ || size > run_size_ - run_->io.data_offset) {
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
      case KVM_EXIT_SYSTEM_EVENT:
        return VcpuExit(SystemEventExit{run_->system_event.type});
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
  size_t run_size_;
};

}  // namespace

Result<std::unique_ptr<KvmVcpu>> OpenLinuxVcpu(UniqueFd fd, size_t run_size) {
  void* run = ::mmap(nullptr, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) return ErrnoStatus("map the shared area of a vCPU", errno);
  // SAFETY: the kernel lays a kvm_run at the start of the mapping, and run_size >= sizeof(kvm_run).
  return std::unique_ptr<KvmVcpu>(
      std::make_unique<LinuxVcpu>(std::move(fd), static_cast<kvm_run*>(run), run_size));
}

}  // namespace berth::vmm
