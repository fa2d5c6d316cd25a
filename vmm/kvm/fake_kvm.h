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
  kRun,
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
};

// What a fake VM holds, for tests to look at. Guarded by the FakeKvm's mutex while vCPUs run.
struct FakeVm {
  std::map<uint32_t, MemorySlot> slots;
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
  struct Vcpu {
    std::vector<kvm_cpuid_entry2> cpuid;
    std::vector<kvm_msr_entry> msrs;
    VcpuState state{};
    kvm_lapic_state lapic{};
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
  void SetSupportedCpuid(std::vector<kvm_cpuid_entry2> leaves);
  // Exits of the vCPU with this id in the next VM that is created, or the newest that exists.
  void Script(uint32_t vcpu, std::vector<ScriptedExit> exits);

  // A copy of the newest VM's state; an empty one before the first.
  FakeVm vm() const;
  uint32_t vms_created() const;

  Result<KvmCapabilities> Probe() override;
  Result<std::vector<kvm_cpuid_entry2>> SupportedCpuid() override;
  Result<std::unique_ptr<KvmVm>> CreateVm() override;

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace berth::vmm
