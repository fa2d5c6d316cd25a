#include <algorithm>
#include <utility>

#include "vmm/bus/layout.h"
#include "vmm/machine/board.h"
#include "vmm/virtio/block.h"

// What comes and goes while the guest runs.
namespace berth::vmm {

Status Board::PlugVcpus(uint32_t wanted, bool run) {
  CHECK(wanted <= topology_.vcpus.size());
  for (uint32_t id = 0; id < wanted; id++) {
    cpu_hotplug_->CancelRemoval(id);
    if (cpu_hotplug_->enabled(id)) continue;
    if (id >= vcpus_.size()) TRY(CreateVcpu(id));
    cpu_hotplug_->Insert(id);
    // It waits in the kernel until the guest starts it.
    if (run) vcpus_[id]->Run();
  }
  ged_->Notify(layout::kGedCpu);
  return OkStatus();
}

void Board::RequestVcpuRemoval(uint32_t wanted) {
  for (uint32_t id = 0; id < std::min<size_t>(wanted, vcpus_.size()); id++) cpu_hotplug_->CancelRemoval(id);
  for (uint32_t id = std::max(wanted, 1u); id < vcpus_.size(); id++) {
    if (cpu_hotplug_->enabled(id)) cpu_hotplug_->RequestRemoval(id);
  }
  ged_->Notify(layout::kGedCpu);
}

void Board::ParkVcpu(uint32_t id) {
  // It may have been plugged again since.
  if (id < vcpus_.size() && !cpu_hotplug_->enabled(id)) vcpus_[id]->Pause();
}

uint32_t Board::vcpus_present() const {
  uint32_t present = 0;
  for (const auto& vcpu : vcpus_) present += cpu_hotplug_->enabled(vcpu->id()) ? 1 : 0;
  return present;
}

Status Board::PlugMemory(const MemoryRegion& area, uint64_t offset, uint64_t length) {
  CHECK(memory_hotplug_ != nullptr);
  if (memory_hotplug_->free_slots() == 0) {
    return memory_hotplug_->Insert({});  // says what is wrong
  }
  TRY(ram_->Plug(area, offset, length));
  TRY(memory_hotplug_->Insert({Raw(area.base) + offset, length}));
  ged_->Notify(layout::kGedMemory);
  return OkStatus();
}

uint32_t Board::memory_pending() const {
  return memory_hotplug_ == nullptr ? 0 : memory_hotplug_->pending();
}

VirtioMem* Board::FindMemoryDevice(const std::string& zone) const {
  for (const auto& device : memory_devices_) {
    if (device->zone() == zone) return device.get();
  }
  return nullptr;
}

Result<PciPlace> Board::Announce(Result<PciPlace> added, const std::string& id) {
  if (added.has_value()) TRY(pci_->Announce(id));
  return added;
}

Result<PciPlace> Board::PlugDisk(const DiskConfig& disk) {
  TRY(CheckHotplugBehindIommu(disk.pci_segment, disk.iommu));
  return Announce(AddDisk(disk), disk.id);
}

Result<PciPlace> Board::PlugNet(const NetPort& net) {
  TRY(CheckHotplugBehindIommu(net.pci_segment, net.iommu));
  return Announce(AddNet(net), net.id);
}

Result<PciPlace> Board::PlugVsock(const VsockConfig& vsock) {
  TRY(CheckHotplugBehindIommu(vsock.pci_segment, vsock.iommu));
  return Announce(AddVsock(vsock), vsock.id);
}

Status Board::CheckAssigned(const DeviceConfig& device) const {
  return CheckHotplugBehindIommu(device.pci_segment, device.iommu);
}

Result<PciPlace> Board::PlugAssigned(const std::string& id) {
  Result<PciPlace> place = Announce(parts_.assigned->PlugInto(SlotsForAssigned(), id), id);
  if (!place.has_value()) pci_->TakeAway(id);  // it may have come as far as its slot
  return place;
}

Status Board::GrowDisk(const std::string& id, uint64_t bytes) {
  auto device = devices_.find(id);
  auto* disk = device == devices_.end() ? nullptr : dynamic_cast<VirtioBlock*>(device->second.get());
  if (disk == nullptr) return NotFound("no disk " + id, "id");
  return disk->Grow(bytes);
}

Status Board::SendNmi() {
  // Delivery mode "NMI" to each local APIC; the vector means nothing.
  constexpr uint32_t kDeliverNmi = 4 << 8;
  for (const auto& vcpu : vcpus_) {
    if (!cpu_hotplug_->enabled(vcpu->id())) continue;
    TRY(vm_->SignalMsi(MessageTo(topology_.vcpus[vcpu->id()].apic_id, kDeliverNmi)));
  }
  return OkStatus();
}

Status Board::RequestDeviceRemoval(const std::string& id) {
  return pci_->RequestRemoval(id);
}

}  // namespace berth::vmm
