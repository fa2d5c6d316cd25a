#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/bus/interrupts.h"
#include "vmm/kvm/exits.h"
#include "vmm/memory/guest_memory.h"

// What the VMM asks of the kernel's hypervisor, as typed calls. LinuxKvm is the real one and the only caller
// of ioctl(2); FakeKvm enforces the same rules in memory. Errors carry the kernel's error number as text and
// as the canonical code of ErrnoStatus, the same for both.
namespace berth::vmm {

struct KvmCapabilities {
  uint32_t max_vcpus = 0;
  uint32_t max_memory_slots = 0;
  bool tsc_deadline_timer = false;
  bool x2apic_api = false;
};

// Guest-physical memory backed by a mapping of this process. `size` 0 removes the slot.
struct MemorySlot {
  uint32_t slot = 0;
  Gpa gpa{};
  uint64_t size = 0;
  uint8_t* host = nullptr;
  bool readonly = false;

  friend bool operator==(const MemorySlot&, const MemorySlot&) = default;
};

// GSI `gsi` sends `message` to the local APICs.
struct GsiRoute {
  uint32_t gsi = 0;
  MsiMessage message;

  friend bool operator==(const GsiRoute&, const GsiRoute&) = default;
};

// The table of GSI routes has room for this many, and GSI numbers are below it (KVM_MAX_IRQ_ROUTES).
inline constexpr uint32_t kMaxGsiRoutes = 4096;

struct VcpuState {
  kvm_regs regs;
  kvm_sregs sregs;
  kvm_fpu fpu;
};

// One virtual CPU. All calls but SetImmediateExit come from the thread that runs it (or, before it runs, from
// the one that creates it); while that thread waits, another one may ask for the state.
class KvmVcpu {
 public:
  virtual ~KvmVcpu() = default;
  virtual Status SetCpuid(std::span<const kvm_cpuid_entry2> leaves) = 0;
  // kInvalidArgument names the first register that the kernel refused.
  virtual Status SetMsrs(std::span<const kvm_msr_entry> msrs) = 0;
  virtual Result<VcpuState> GetState() = 0;
  virtual Status SetState(const VcpuState& state) = 0;
  virtual Result<kvm_lapic_state> GetLapic() = 0;
  virtual Status SetLapic(const kvm_lapic_state& lapic) = 0;
  virtual Result<uint32_t> TscKhz() = 0;
  // Until the next exit. A signal or an immediate exit gives InterruptedExit; an error means that this vCPU
  // cannot run any more.
  virtual Result<VcpuExit> Run() = 0;
  // While set, Run returns at once. Callable from any thread and from a signal handler; wakes no running
  // guest by itself (send the thread a signal as well).
  virtual void SetImmediateExit(bool exit) = 0;
};

// One virtual machine. Thread-safe.
class KvmVm {
 public:
  virtual ~KvmVm() = default;
  // Rules of the kernel: page alignment (kInvalidArgument), no overlap with another slot (kAlreadyExists), an
  // existing slot may only be moved or removed.
  virtual Status SetMemorySlot(const MemorySlot& slot) = 0;
  // Three pages for the TSS and one for the identity map that older Intel processors need in guest-physical
  // space. Harmless elsewhere. Before the first vCPU.
  virtual Status ReservePages(Gpa tss, Gpa identity_map) = 0;
  // Local APICs in the kernel, IOAPIC here: the GSIs below `pins` belong to IOAPIC pins, and the end of a
  // level-triggered interrupt on them comes back as EoiExit. Before the first vCPU.
  virtual Status EnableSplitIrqchip(uint32_t pins) = 0;
  // 32-bit APIC ids in MSI messages and states.
  virtual Status EnableX2apicIds() = 0;
  // Replaces the whole table.
  virtual Status SetRoutes(std::span<const GsiRoute> routes) = 0;
  // Sends one interrupt now.
  virtual Status SignalMsi(const MsiMessage& message) = 0;
  // A write to `event_fd` raises `gsi`. kFailedPrecondition when the descriptor is assigned already (EBUSY).
  virtual Status AssignIrqfd(int event_fd, uint32_t gsi) = 0;
  virtual Status DeassignIrqfd(int event_fd, uint32_t gsi) = 0;
  // A guest write at `address` signals `event_fd`; size 0 matches every width. kAlreadyExists, kNotFound.
  virtual Status AssignIoEvent(uint64_t address, uint32_t size, int event_fd) = 0;
  virtual Status DeassignIoEvent(uint64_t address, uint32_t size, int event_fd) = 0;
  // Tells KVM of a VFIO group or device file: DMA of an assigned device then decides how the guest may use
  // caches.
  virtual Status AddVfioFile(int fd) = 0;
  // KVM keeps the file open until then.
  virtual Status RemoveVfioFile(int fd) = 0;
  // kAlreadyExists for an id in use, kInvalidArgument beyond the maximum.
  virtual Result<std::unique_ptr<KvmVcpu>> CreateVcpu(uint32_t id) = 0;
};

class Kvm {
 public:
  virtual ~Kvm() = default;
  // kFailedPrecondition lists everything that this host lacks and that the VMM needs.
  virtual Result<KvmCapabilities> Probe() = 0;
  virtual Result<std::vector<kvm_cpuid_entry2>> SupportedCpuid() = 0;
  // The VM lives until it and all its vCPUs are destroyed.
  virtual Result<std::unique_ptr<KvmVm>> CreateVm() = 0;
};

}  // namespace berth::vmm
