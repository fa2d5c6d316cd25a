#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/kvm/fake_platform.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// A call of the interfaces in kvm.h, for failure injection.
enum class KvmCall {
  kProbe,
  kSupportedCpuid,
  kCreateVm,
  kSetMemorySlot,
  kReservePages,
  kEnableSplitIrqchip,
  kEnableX2apicIds,
  kSetRoutes,
  kSignalMsi,
  kAssignIrqfd,
  kDeassignIrqfd,
  kAssignIoEvent,
  kDeassignIoEvent,
  kAddVfioFile,
  kRemoveVfioFile,
  kCreateVcpu,
  kSetCpuid,
  kSetMsrs,
  kGetState,
  kSetState,
  kGetLapic,
  kSetLapic,
  kTscKhz,
  kSetTscKhz,
  kSave,
  kRestore,
  kGetClock,
  kSetClock,
  kRun,
  kCreateGuestMemfd,
  kSetPrivate,
  kEnableMapGpaExits,
  kVmCommand,
  kVcpuCommand,
};

// One exit of a scripted guest. `data` is what the guest writes, or where the answer to its read lands: it is
// recorded in FakeKvm::completed when the vCPU runs again, as the kernel would take it.
struct ScriptedExit {
  VcpuExit exit;
  std::vector<uint8_t> data;

  static ScriptedExit Out(uint16_t port, std::vector<uint8_t> data, uint8_t size = 1);
  static ScriptedExit In(uint16_t port, size_t bytes, uint8_t size = 1);
  static ScriptedExit MmioWrite(uint64_t address, std::vector<uint8_t> data);
  static ScriptedExit MmioRead(uint64_t address, size_t bytes);
  // KVM_HC_MAP_GPA_RANGE; its result, as 8 bytes, is recorded like data.
  static ScriptedExit MapGpa(uint64_t gpa, uint64_t pages, bool encrypted);
  static ScriptedExit MemoryFault(uint64_t gpa, uint64_t size, bool is_private);
  // The result is recorded as 8 bytes; `data` has up to five values.
  static ScriptedExit TdVmCall(uint64_t number, std::vector<uint64_t> data);
};

// What a fake VM holds, for tests to look at. Guarded by the FakeKvm's mutex while vCPUs run.
struct FakeVm {
  VmType type = VmType::kDefault;
  std::map<uint32_t, MemorySlot> slots;
  std::map<uint64_t, uint64_t> private_ranges;  // start -> end, none touches another
  std::vector<uint64_t> guest_memfd_inodes;
  bool map_gpa_exits = false;
  // Whether all of the range is private, or none of it.
  bool IsPrivate(uint64_t gpa, uint64_t size) const;
  bool IsShared(uint64_t gpa, uint64_t size) const;
  std::optional<uint32_t> split_irqchip_pins;
  bool x2apic_ids = false;
  std::vector<GsiRoute> routes;
  uint32_t route_commits = 0;
  std::vector<MsiMessage> signalled;
  std::map<int, uint32_t> irqfds;  // eventfd -> GSI
  struct IoEvent {
    uint64_t address;
    uint32_t size;
    int event_fd;
    friend bool operator==(const IoEvent&, const IoEvent&) = default;
  };
  std::vector<IoEvent> io_events;
  std::vector<int> vfio_files;
  uint64_t clock = 0;
  struct Vcpu {
    std::vector<kvm_cpuid_entry2> cpuid;
    std::vector<kvm_msr_entry> msrs;
    VcpuState state{};
    kvm_lapic_state lapic{};
    uint32_t tsc_khz = 2'000'000;
    kvm_mp_state mp_state{};
    std::vector<uint8_t> xsave;
    kvm_vcpu_events events{};
    std::vector<std::vector<uint8_t>> completed;  // data of each served port or MMIO exit
  };
  std::map<uint32_t, Vcpu> vcpus;
  bool dead = false;
};

// KVM without a kernel: the same rules and the same errors, no guest code. A vCPU plays the exits scripted
// for its id and then waits until SetImmediateExit. Copies share one state, which outlives them as long as a
// VM or vCPU of it exists. Thread-safe.
class FakeKvm final : public Kvm {
 public:
  FakeKvm();

  // From the n-th (0: the next) such call on, once, the call fails with `error_number` and changes nothing.
  void FailCall(KvmCall call, int error_number, uint32_t after = 0);
  // As when the kernel finds a bug in its own state: every later call on existing VMs fails with EIO.
  void KillVms();
  void SetCapabilities(const KvmCapabilities& capabilities);
  // What stands behind VMs of its type from now on; makes the type known.
  void AddPlatform(std::shared_ptr<FakePlatform> platform);
  void SetSupportedCpuid(std::vector<kvm_cpuid_entry2> leaves);
  // Exits of the vCPU with this id in the next VM that is created, or the newest that exists.
  void Script(uint32_t vcpu, std::vector<ScriptedExit> exits);

  // A copy of the newest VM's state; an empty one before the first.
  FakeVm vm() const;
  uint32_t vms_created() const;

  Result<KvmCapabilities> Probe() override;
  Result<std::vector<kvm_cpuid_entry2>> SupportedCpuid() override;
  Result<std::unique_ptr<KvmVm>> CreateVm(VmType type = VmType::kDefault) override;

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace berth::vmm
