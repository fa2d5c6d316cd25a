#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/pci_root.h"
#include "vmm/config/vm_config.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/platform.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/serial_backend.h"
#include "vmm/devices/shared_pin.h"
#include "vmm/kvm/interrupt_routes.h"
#include "vmm/kvm/io_events.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/machine/assigned_devices.h"
#include "vmm/machine/ioapic_sink.h"
#include "vmm/machine/net_port.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/vcpu/cpu_topology.h"
#include "vmm/vcpu/vcpu_thread.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// What a board is built from. All of it outlives the board.
struct BoardParts {
  Kvm* kvm = nullptr;
  const VmConfig* config = nullptr;
  const GuestMemory* memory = nullptr;
  EventLoop* loop = nullptr;        // of the devices; must not run while the board is built or destroyed
  SerialBackend* serial = nullptr;  // none when the port is off
  const std::vector<NetPort>* nets = nullptr;
  AssignedDevices* assigned = nullptr;  // none: no devices of the host
};

// What the guest did to the board. Called on a vCPU's thread, possibly several times; must be short and must
// not call the board.
struct BoardEvents {
  std::function<void()> on_power_off;
  std::function<void()> on_reset;
  std::function<void(std::string message)> on_failure;
};

// The machine from power-on to power-off or reset: a KVM VM with its memory, interrupt controllers, devices
// and vCPUs, and the kernel loaded. A reset is a new board on the same memory. Run, Pause and Stop come from
// one thread.
class Board {
 public:
  // Builds it, vCPUs paused. Errors name the option that cannot be carried out.
  static Result<std::unique_ptr<Board>> Create(const BoardParts& parts, BoardEvents events);
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  void Run();
  // The guest stands still, with no access pending, when this returns.
  void Pause();
  // For good.
  void Stop();
  // Presses the power button: the guest gets an ACPI event.
  void PressPowerButton();

  const CpuTopology& topology() const { return topology_; }
  const std::vector<std::unique_ptr<VcpuThread>>& vcpus() const { return vcpus_; }

 private:
  Board(const BoardParts& parts, BoardEvents events) : parts_(parts), events_(std::move(events)) {}

  Status CreateVm();
  Status AddPlatformDevices();
  Status AddPci();
  Status AddVirtioDevices();
  Status AddAssignedDevices();
  // Places the BARs of a function and puts it into the next free slot, which is returned.
  Result<uint32_t> AddFunction(std::shared_ptr<PciFunction> function, const std::string& id);
  // Puts a device behind a PCI transport into the next free slot.
  Status AddVirtio(std::shared_ptr<VirtioDevice> device, const std::string& id);
  Status CreateVcpus();
  Status SetUpVcpu(uint32_t id, KvmVcpu& vcpu, uint32_t tsc_khz);
  // Writes the ACPI tables into guest memory; returns the address of their root.
  Result<uint64_t> WriteAcpiTables();
  Status LoadGuest(KvmVcpu& boot_vcpu);

  BoardParts parts_;
  BoardEvents events_;
  KvmCapabilities capabilities_;
  std::vector<kvm_cpuid_entry2> supported_cpuid_;
  uint32_t physical_bits_ = 0;
  CpuTopology topology_;

  // In the order of construction; destroyed in reverse: the vCPUs first, the VM last.
  std::unique_ptr<KvmVm> vm_;
  std::unique_ptr<MemorySlots> slots_;
  std::unique_ptr<InterruptRoutes> routes_;
  std::unique_ptr<KvmIoEvents> io_events_;
  std::unique_ptr<KvmIoApicSink> ioapic_sink_;
  std::shared_ptr<IoApic> ioapic_;
  std::shared_ptr<Serial> serial_;
  std::shared_ptr<GedNotifier> ged_;
  std::vector<std::shared_ptr<SharedPin>> intx_pins_;  // of segment 0, by slot modulo their number
  Bus ports_;
  Bus mmio_;
  std::shared_ptr<PciSegment> pci_;
  std::unique_ptr<BarAllocator> bars_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
};

}  // namespace berth::vmm
