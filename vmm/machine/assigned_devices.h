#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/pci_function.h"
#include "vmm/config/vm_config.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/machine/pci_topology.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/memory_listener.h"
#include "vmm/vfio/preflight.h"
#include "vmm/vfio/vfio_function.h"
#include "vmm/vfio/vfio_host.h"

namespace berth::vmm {

// Where devices of the host come from: the kernel's VFIO, or a test's.
struct VfioSource {
  // Whether they can be had, without opening anything.
  std::function<Status(const VfioDemand& demand)> check;
  std::function<Result<std::unique_ptr<VfioHost>>(const std::vector<std::string>& addresses)> open;
};
VfioSource KernelVfio();

// What assigned devices need of a board. All of it outlives their functions.
struct AssignedDeviceSlots {
  KvmVm* vm = nullptr;
  MsiController* interrupts = nullptr;
  MemorySlots* memory_slots = nullptr;
  EventLoop* loop = nullptr;
  // Places the function's BARs and puts it into a free slot of the segment.
  std::function<Result<PciPlace>(std::shared_ptr<PciFunction>, const std::string& id, uint32_t segment)> add;
  // The line of the slot's interrupt pin.
  std::function<std::unique_ptr<IrqLine>(const PciPlace& place, std::function<void()> on_end)> connect;
  VfioEvents events;
};

// The host's devices of one VM. They stay open over resets of the guest, and guest memory stays mapped for
// them. Thread-compatible.
class AssignedDevices final : public MemoryListener {
 public:
  // Before anything is mapped or opened; see CheckVfioHost.
  static Status Check(const VmConfig& config, const VfioSource& source);
  // Opens the devices and maps all of the guest's RAM for them. `memory` outlives them.
  static Result<std::unique_ptr<AssignedDevices>> Open(const VmConfig& config, const GuestMemory& memory,
                                                       const VfioSource& source);

  bool empty() const { return devices_.empty(); }
  // Puts them into the state of power-on. A device that cannot be reset is reported, and used as it is.
  void Reset();
  // Opens one more.
  Status Add(const DeviceConfig& device);
  // Closes it, once the board has it no longer. Nothing for an unknown id.
  void Remove(const std::string& id);
  // Plugs one, or all, into a board.
  Result<PciPlace> PlugInto(const AssignedDeviceSlots& board, const std::string& id);
  Status PlugAllInto(const AssignedDeviceSlots& board);

  // Unmaps what was unplugged while nobody listened.
  void ForgetUnplugged(const GuestMemory& memory);
  // Memory that is mapped already is no error.
  Status OnAdded(const MemoryRegion& run) override;
  void OnRemoved(Gpa base, uint64_t size) override;

 private:
  struct Device {
    std::string id;
    uint32_t segment = 0;
    std::shared_ptr<VfioDevice> device;
  };

  AssignedDevices(const GuestMemory& memory, VfioSource source)
      : memory_(memory), source_(std::move(source)) {}
  Status OpenOne(const DeviceConfig& config);
  Status MapAllMemory();

  const GuestMemory& memory_;
  const VfioSource source_;
  std::unique_ptr<VfioHost> host_;  // from the first device on
  std::vector<Device> devices_;
};

}  // namespace berth::vmm
