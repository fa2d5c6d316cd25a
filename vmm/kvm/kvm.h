#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
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
  // For confidential VMs; zero where the kernel does not know them.
  uint64_t vm_types = 0;            // bitmap of what CreateVm takes (capability 235)
  uint64_t memory_attributes = 0;   // bitmap (capability 233)
  uint64_t exit_hypercalls = 0;     // bitmap of KVM_HC_* that can be left to us (capability 201)
  bool guest_memfd = false;         // private memory (capability 234)
  bool memory_fault_exits = false;  // capability 232
  bool user_memory2 = false;        // capability 231
};

// What kind of machine KVM makes; the values are the kernel's (abi::kVmType*).
enum class VmType : uint64_t { kDefault = 0, kSwProtected = 1, kSevSnp = 4, kTdx = 5, kArmRealm = 1 << 8 };

// Guest-physical memory backed by a mapping of this process. `size` 0 removes the slot.
struct MemorySlot {
  uint32_t slot = 0;
  Gpa gpa{};
  uint64_t size = 0;
  uint8_t* host = nullptr;
  bool readonly = false;
  // Where its private pages come from (KvmVm::CreateGuestMemfd), -1 for a slot that is always shared.
  int guest_memfd = -1;
  uint64_t guest_memfd_offset = 0;

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

// Everything of a vCPU that a snapshot keeps.
struct VcpuSnapshot {
  uint32_t tsc_khz = 0;
  std::vector<kvm_cpuid_entry2> cpuid;
  kvm_mp_state mp_state{};
  kvm_regs regs{};
  kvm_sregs sregs{};
  std::vector<uint8_t> xsave;  // as large as this host's processor has it, at least 4096 bytes
  kvm_xcrs xcrs{};
  kvm_debugregs debug{};
  kvm_lapic_state lapic{};
  std::vector<kvm_msr_entry> msrs;  // all that KVM lets be read, kvmclock's among them
  kvm_vcpu_events events{};
  std::vector<uint8_t> nested;  // kvm_nested_state of a guest that runs guests, else empty
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
  // Nothing when it runs so already. kFailedPrecondition: the host cannot scale its own. Before SetMsrs.
  virtual Status SetTscKhz(uint32_t khz) = 0;
  // Of a vCPU that has left the guest, and into one that has never run. Restore fails with what the host's
  // processor, or its KVM, does not have.
  virtual Result<VcpuSnapshot> Save() = 0;
  virtual Status Restore(const VcpuSnapshot& snapshot) = 0;
  // Tells the guest that it was stopped for a while, so that its watchdogs do not take that for a hang.
  // Nothing where the guest has not asked for it.
  virtual void TellStopped() = 0;
  // A command to a confidential VM's vCPU, as ioctl(2) takes it (confidential_abi.h). 0 or the kernel's error
  // number: which one it is decides how a launch goes on.
  virtual int LaunchCommand(unsigned long request, void* argument) = 0;
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
  // kvmclock, in nanoseconds since the VM was made; a set clock goes on from there.
  virtual Result<uint64_t> GetClock() = 0;
  virtual Status SetClock(uint64_t nanoseconds) = 0;
  // Tells KVM of a VFIO group or device file: DMA of an assigned device then decides how the guest may use
  // caches.
  virtual Status AddVfioFile(int fd) = 0;
  // KVM keeps the file open until then.
  virtual Status RemoveVfioFile(int fd) = 0;
  // kAlreadyExists for an id in use, kInvalidArgument beyond the maximum.
  virtual Result<std::unique_ptr<KvmVcpu>> CreateVcpu(uint32_t id) = 0;

  // ---- Confidential VMs
  // A file of private memory for this VM: its pages are the guest's alone. `size` in whole pages.
  virtual Result<UniqueFd> CreateGuestMemfd(uint64_t size) = 0;
  // Makes [gpa, gpa + size) private or shared; whole pages. Costs nothing where it is already.
  virtual Status SetPrivate(Gpa gpa, uint64_t size, bool is_private) = 0;
  // KVM_HC_MAP_GPA_RANGE comes back as HypercallExit.
  virtual Status EnableMapGpaExits() = 0;
  // As KvmVcpu::LaunchCommand, to the VM.
  virtual int LaunchCommand(unsigned long request, void* argument) = 0;
};

class Kvm {
 public:
  virtual ~Kvm() = default;
  // kFailedPrecondition lists everything that this host lacks and that the VMM needs.
  virtual Result<KvmCapabilities> Probe() = 0;
  virtual Result<std::vector<kvm_cpuid_entry2>> SupportedCpuid() = 0;
  // The VM lives until it and all its vCPUs are destroyed. kInvalidArgument for a type that this host's KVM
  // does not have.
  virtual Result<std::unique_ptr<KvmVm>> CreateVm(VmType type = VmType::kDefault) = 0;
};

}  // namespace berth::vmm
