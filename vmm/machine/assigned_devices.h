#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/pci_function.h"
#include "vmm/config/vm_config.h"
#include "vmm/convert/dma_listener.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/machine/confidential_guest.h"
#include "vmm/machine/pci_topology.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/memory_listener.h"
#include "vmm/vfio/preflight.h"
#include "vmm/vfio/vfio_function.h"
#include "vmm/vfio/vfio_host.h"
#include "vmm/viommu/vfio_endpoint.h"

namespace berth::vmm {

// Where devices of the host come from: the kernel's VFIO, or a test's.
struct VfioSource {
  // Whether they can be had, without opening anything.
  std::function<Status(const VfioDemand& demand)> check;
  // With `by_parts`, parts of a mapping can be unmapped later where the kernel knows how.
  std::function<Result<std::unique_ptr<VfioHost>>(const std::vector<std::string>& addresses, bool by_parts)>
      open;
};
VfioSource KernelVfio();

// What assigned devices need of a board. All of it outlives their functions.
struct AssignedDeviceSlots {
  KvmVm* vm = nullptr;
  // What a function of the segment allocates its interrupts from.
  std::function<std::shared_ptr<MsiController>(uint32_t segment)> interrupts;
  MemorySlots* memory_slots = nullptr;
  EventLoop* loop = nullptr;
  // Places the function's BARs and puts it, with its interrupts, into a free slot of the segment.
  std::function<Result<PciPlace>(std::shared_ptr<PciFunction>, const std::string& id, uint32_t segment,
                                 std::shared_ptr<MsiController> interrupts)>
      add;
  // Takes a function that was just added off the bus again, unseen by the guest.
  std::function<void(const std::string& id)> withdraw;
  // The line of the slot's interrupt pin.
  std::function<std::unique_ptr<IrqLine>(const PciPlace& place, std::function<void()> on_end)> connect;
  // Puts the device of a place behind the board's virtual IOMMU.
  std::function<Status(const PciPlace& place, std::shared_ptr<IommuEndpoint>)> join_iommu;
  VfioEvents events;
};

// The host's devices of one VM. They stay open over resets of the guest, and guest memory stays mapped for
// them. A device behind the virtual IOMMU has an I/O address space of its own, whose mappings are the
// guest's; all others share one. Of a confidential guest they reach what it shares, and nothing while there
// is no guest. Thread-compatible.
class AssignedDevices final : public MemoryListener {
 public:
  // Whether devices can reach the zone's memory: not a file that is mapped privately.
  static Status CheckZone(const MemoryZoneConfig& zone);
  // Before anything is mapped or opened; see CheckVfioHost.
  static Status Check(const VmConfig& config, const VfioSource& source);
  // Opens the devices and maps all of the guest's RAM for them, unless the guest is confidential. `memory`
  // outlives them.
  static Result<std::unique_ptr<AssignedDevices>> Open(const VmConfig& config, const GuestMemory& memory,
                                                       const VfioSource& source);

  bool empty() const { return devices_.empty(); }
  // The I/O address space of those that share one; none without such.
  const DmaEngine* shared_dma() const { return host_ == nullptr ? nullptr : host_->dma(); }
  // Puts them into the state of power-on. A device that cannot be reset is reported, and used as it is.
  void Reset();
  // The last address that can be mapped for every device that is behind the virtual IOMMU.
  uint64_t LastIommuAddress() const;
  // Opens one more.
  Status Add(const DeviceConfig& device);
  // Closes it, once the board has it no longer. Nothing for an unknown id.
  void Remove(const std::string& id);
  // Plugs one, or all, into a board.
  Result<PciPlace> PlugInto(const AssignedDeviceSlots& board, const std::string& id);
  Status PlugAllInto(const AssignedDeviceSlots& board);

  // Maps what the guest shares, and from then on what it shares at each time, until StopFollowing. The guest
  // has started; it outlives that.
  Status Follow(ConfidentialGuest& guest);
  // What is mapped stays so until ForgetShared, for devices may be at work.
  void StopFollowing();
  // Unmaps the memory of a confidential guest that is gone, before the next one comes. The devices are reset.
  Status ForgetShared();

  // Unmaps what was unplugged while nobody listened.
  void ForgetUnplugged(const GuestMemory& memory);
  // Memory that is mapped already is no error.
  Status OnAdded(const MemoryRegion& run) override;
  Status OnRemoved(Gpa base, uint64_t size) override;

 private:
  struct Device {
    std::string id;
    uint32_t segment = 0;
    std::unique_ptr<VfioHost> own{};  // behind the virtual IOMMU: nobody else's, as the next
    std::shared_ptr<VfioEndpoint> endpoint{};
    std::shared_ptr<VfioDevice> device{};
  };

  AssignedDevices(ConfidentialKind confidential, const GuestMemory& memory, VfioSource source)
      : confidential_(confidential), memory_(memory), source_(std::move(source)) {}
  Status OpenOne(const DeviceConfig& config);
  Status OpenShared(const DeviceConfig& config, const std::string& address);
  Status OpenBehindIommu(const DeviceConfig& config, const std::string& address);
  Status MapAllMemory();
  // By a listener of the guest; nothing without one, or without devices.
  Status MapSharedMemory();
  bool shared_in_use() const;

  const ConfidentialKind confidential_;
  const GuestMemory& memory_;
  const VfioSource source_;
  std::unique_ptr<VfioHost> host_;              // of the devices that share it, from the first one on
  DmaGate gate_;                                // of them
  ConfidentialGuest* guest_ = nullptr;          // that is followed
  std::unique_ptr<DmaListener> shared_memory_;  // of host_, for guest_
  std::vector<Device> devices_;
};

}  // namespace berth::vmm
