#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/acpi/acpi_tables.h"
#include "vmm/boot/firmware.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/event_loop.h"
#include "vmm/config/vm_config.h"
#include "vmm/devices/cpu_hotplug.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/memory_hotplug.h"
#include "vmm/devices/platform.h"
#include "vmm/devices/pvpanic.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/serial_backend.h"
#include "vmm/devices/shared_pin.h"
#include "vmm/kvm/interrupt_routes.h"
#include "vmm/kvm/io_events.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/machine/assigned_devices.h"
#include "vmm/machine/confidential_guest.h"
#include "vmm/machine/host_performance.h"
#include "vmm/machine/intel_iommu.h"
#include "vmm/machine/ioapic_sink.h"
#include "vmm/machine/net_port.h"
#include "vmm/machine/pci_topology.h"
#include "vmm/machine/ram_map.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"
#include "vmm/vcpu/cpu_topology.h"
#include "vmm/vcpu/vcpu_thread.h"
#include "vmm/vhost_user/session.h"
#include "vmm/viommu/domains.h"
#include "vmm/viommu/virtio_iommu.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/mem.h"

namespace berth::vmm {

// What a board is built from. All of it outlives the board.
struct BoardParts {
  Kvm* kvm = nullptr;
  const VmConfig* config = nullptr;
  const GuestMemory* memory = nullptr;
  EventLoop* loop = nullptr;         // of the devices; must not run while the board is built or destroyed
  EventLoop* starter = nullptr;      // of the devices' threads, see WorkerLoop
  SerialBackend* serial = nullptr;   // none when the port is off
  SerialBackend* console = nullptr;  // the same
  const std::vector<NetPort>* nets = nullptr;
  AssignedDevices* assigned = nullptr;  // none: no devices of the host
  const HostPerformance* performance = nullptr;
  ConfidentialBoot* confidential = nullptr;  // none: an ordinary guest
  // What the machine remembers over resets: bytes requested of each zone's memory device, and the pieces of
  // memory that were added by ACPI.
  const std::map<std::string, uint64_t>* requested_memory = nullptr;
  const std::vector<MemoryHotplug::Piece>* added_memory = nullptr;
  // What Board::Save has written: the board goes on from there instead of starting a kernel.
  StateReader* saved = nullptr;
};

// What the guest did to the board. Called on a vCPU's thread, possibly several times; must be short and must
// not call the board.
struct BoardEvents {
  std::function<void()> on_power_off;
  std::function<void()> on_reset;
  std::function<void(std::string message)> on_failure;
  std::function<void(GuestPanic)> on_panic;
  std::function<void(uint32_t vcpu)> on_vcpu_ejected;
  std::function<void(const std::string& id, std::shared_ptr<PciFunction> function)> on_device_removed;
  // An access of a device that the virtual IOMMU did not let through; the first ones only. On any thread.
  std::function<void(const PciPlace& place, const IommuFault& fault)> on_iommu_fault;
  // The host wants an assigned device back; repeated until it is. On the device loop's thread.
  std::function<void(const std::string& id)> on_device_wanted;
};

// CPUs of the host node that the memory of a PCI segment's guest node lies on, but those that vCPUs are bound
// to
// (--cpus affinity) only where the node has no others; empty when the node is not known.
CpuSet CpusNearSegment(const VmConfig& config, uint32_t segment);
// The same of segment 0, without any that a vCPU is bound to: a guest waits for the device loop's answers
// without sleeping (requests to a virtual IOMMU, control queues), and would keep its processor from giving
// them.
CpuSet CpusForDeviceLoop(const VmConfig& config);

// The machine from power-on to power-off or reset: a KVM VM with its memory, interrupt controllers, devices
// and vCPUs, and the kernel loaded. A reset is a new board on the same memory. Calls come from one thread at
// a time, which is neither a vCPU's nor the device loop's.
class Board {
 public:
  // Builds it, vCPUs paused (and devices suspended, when it goes on from a saved one). Errors name the option
  // that cannot be carried out.
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

  // ---- Snapshots, while the vCPUs are paused and the device loop does not run.
  // Stops all work of devices. On an error, which names the device whose state cannot be taken, they go on.
  Status Suspend();
  void Resume() { pci_->Resume(); }
  // While suspended.
  Status Save(StateWriter& out);

  // ---- Hot-plug: the guest is told, and does its part in its own time.
  // vCPUs 0 to `wanted` - 1 are there from now on; those that were given back, and new ones, run if `run`.
  Status PlugVcpus(uint32_t wanted, bool run);
  // Asks the guest to give back vCPU `wanted` and all above it.
  void RequestVcpuRemoval(uint32_t wanted);
  // The guest has given it back: its thread waits.
  void ParkVcpu(uint32_t id);
  uint32_t vcpus_present() const;
  // Adds [offset, offset + length) of the area of the zone by ACPI.
  Status PlugMemory(const MemoryRegion& area, uint64_t offset, uint64_t length);
  // Pieces of memory that the guest has not looked at yet.
  uint32_t memory_pending() const;
  // The memory device of a zone, or nullptr.
  VirtioMem* FindMemoryDevice(const std::string& zone) const;
  Result<PciPlace> PlugDisk(const DiskConfig& disk);
  Result<PciPlace> PlugNet(const NetPort& net);
  Result<PciPlace> PlugVsock(const VsockConfig& vsock);
  // Whether a device of the host can be plugged into the running board as far as the board knows.
  Status CheckAssigned(const DeviceConfig& device) const;
  // One of BoardParts::assigned that is not on the board yet.
  Result<PciPlace> PlugAssigned(const std::string& id);
  // Without asking the guest, as if somebody had pulled the card.
  void TakeDeviceAway(const std::string& id) { pci_->TakeAway(id); }
  Status RequestDeviceRemoval(const std::string& id);
  Status GrowDisk(const std::string& id, uint64_t bytes);
  // A non-maskable interrupt to every vCPU that is there.
  Status SendNmi();
  // Virtio devices by id.
  const std::map<std::string, std::shared_ptr<VirtioDevice>>& devices() const { return devices_; }
  // The device has been removed.
  void ForgetDevice(const std::string& id) { devices_.erase(id); }
  VirtioBalloon* balloon() const { return balloon_.get(); }
  const IntelIommu* intel_iommu() const { return intel_iommu_.get(); }  // none: another model, or no IOMMU

  const CpuTopology& topology() const { return topology_; }
  const std::vector<std::unique_ptr<VcpuThread>>& vcpus() const { return vcpus_; }
  PciTopology& pci() { return *pci_; }
  RamMap& ram() { return *ram_; }
  ConfidentialGuest* confidential() { return confidential_.get(); }
  MemorySlots& memory_slots() { return *slots_; }

 private:
  Board(const BoardParts& parts, BoardEvents events) : parts_(parts), events_(std::move(events)) {}

  Status CreateVm();
  Status AddPlatformDevices();
  Status AddPci();
  Status AddIommu();
  Status AddIntelIommu();
  // What a function of the segment allocates its interrupts from.
  std::shared_ptr<MsiController> InterruptsOf(uint32_t segment);
  // The endpoint of the device at a place, which is on the bus.
  Status JoinIommu(const PciPlace& place, std::shared_ptr<IommuEndpoint> endpoint);
  Status AddHotplugControllers();
  Status AddVirtioDevices();
  Status AddAssignedDevices();
  AssignedDeviceSlots SlotsForAssigned();
  Status AddMemoryDevices();
  Status AddConsole();
  Status AddPlainDevices();
  // Of a confidential guest, for devices that other processes serve.
  std::optional<vhost_user::SharingGuest> Sharing();
  Result<PciPlace> AddDisk(const DiskConfig& disk);
  Result<PciPlace> AddNet(const NetPort& net);
  Result<PciPlace> AddVsock(const VsockConfig& vsock);
  // Puts a function into the next free slot of a segment, or where the saved machine had it. `interrupts`:
  // see InterruptsOf; none for a function without.
  Result<PciPlace> AddFunction(std::shared_ptr<PciFunction> function, const std::string& id, uint32_t segment,
                               const std::shared_ptr<MsiController>& interrupts = nullptr);
  // Puts a device behind a PCI transport into the next free slot of a segment, with `behind_iommu` one that
  // reaches guest memory through the virtual IOMMU.
  Result<PciPlace> AddVirtio(std::shared_ptr<VirtioDevice> device, const std::string& id,
                             uint32_t segment = 0, bool behind_iommu = false);
  // kFailedPrecondition for a device that comes while the guest runs, unless the guest knows that everything
  // on its segment is behind the IOMMU.
  Status CheckHotplugBehindIommu(uint32_t segment, bool behind_iommu) const;
  // Tells the guest of a device that was added while it runs.
  Result<PciPlace> Announce(Result<PciPlace> added, const std::string& id);
  Status CreateVcpus();
  // `saved`: its state; none for one that starts.
  Status CreateVcpu(uint32_t id, const VcpuSnapshot* saved = nullptr);
  Status RestoreVcpus(StateReader& in);
  // Everything but places and vCPUs.
  Status Load(StateReader& in);
  Status SetUpVcpu(uint32_t id, KvmVcpu& vcpu);
  // Writes the ACPI tables into guest memory; returns the address of their root.
  Result<uint64_t> WriteAcpiTables();
  Status LoadGuest(KvmVcpu& boot_vcpu);
  Status LoadFirmware(KvmVcpu& boot_vcpu);
  // The command line, with the bounce buffer that a confidential guest needs.
  std::string Cmdline() const;
  // By firmware, into private memory.
  Status LaunchGuest(KvmVcpu& boot_vcpu);
  Result<acpi::AcpiTables> BuildTables() const;

  BoardParts parts_;
  BoardEvents events_;
  KvmCapabilities capabilities_;
  std::vector<kvm_cpuid_entry2> supported_cpuid_;
  uint32_t physical_bits_ = 0;
  uint32_t tsc_khz_ = 0;
  CpuTopology topology_;

  // In the order of construction; destroyed in reverse: the vCPUs first, the VM last.
  std::unique_ptr<FirmwareRom> rom_;  // none without firmware, or with one that is loaded into RAM
  std::unique_ptr<KvmVm> vm_;
  std::unique_ptr<MemorySlots> slots_;
  std::unique_ptr<ConfidentialGuest> confidential_;  // none for an ordinary guest
  std::unique_ptr<RamMap> ram_;
  std::unique_ptr<InterruptRoutes> routes_;
  std::unique_ptr<KvmIoEvents> io_events_;
  std::unique_ptr<KvmIoApicSink> ioapic_sink_;
  std::shared_ptr<IoApic> ioapic_;
  std::shared_ptr<Serial> serial_;
  std::shared_ptr<PmTimer> pm_timer_;
  std::shared_ptr<Rtc> rtc_;
  std::shared_ptr<GedNotifier> ged_;
  std::vector<std::shared_ptr<SharedPin>> intx_pins_;  // of segment 0, by slot modulo their number
  std::shared_ptr<CpuHotplug> cpu_hotplug_;
  std::shared_ptr<MemoryHotplug> memory_hotplug_;  // none without memory that can be added by ACPI
  std::unique_ptr<IommuDomains> iommu_domains_;    // none without a virtual IOMMU
  std::shared_ptr<VirtioIommu> iommu_;             // or this, or the next
  std::unique_ptr<IntelIommu> intel_iommu_;
  Bus ports_;
  Bus mmio_;
  std::unique_ptr<PciTopology> pci_;
  std::map<std::string, PciPlace> saved_places_;  // of functions that have not been added yet
  std::vector<std::shared_ptr<VirtioMem>> memory_devices_;
  std::shared_ptr<VirtioBalloon> balloon_;
  std::map<std::string, std::shared_ptr<VirtioDevice>> devices_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
};

}  // namespace berth::vmm
