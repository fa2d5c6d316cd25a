#include "vmm/machine/assigned_devices.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/log.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"
#include "vmm/vfio/linux_vfio_host.h"

namespace berth::vmm {
namespace {

Result<std::vector<std::string>> Addresses(const VmConfig& config) {
  std::vector<std::string> addresses;
  for (const DeviceConfig& device : config.devices) {
    TRY_ASSIGN(const PciAddress address, HostAddress(device));
    addresses.push_back(address.ToString());
  }
  return addresses;
}

DmaRun RunOf(const MemoryRegion& region, uint64_t granule) {
  DmaRun run;
  run.iova = Raw(region.base);
  run.size = region.size;
  run.host = region.host;
  run.granule = granule;
  return run;
}

// Plugged memory goes away again in pieces: no mapping is longer than one.
uint64_t PluggedGranule(const MemoryRegion& run) {
  constexpr uint64_t kSmallest = uint64_t{2} << 20;
  return std::max(run.page_size, kSmallest);
}

// RAM that stays is mapped as a whole.
uint64_t Granule(const GuestMemory& memory, const MemoryRegion& run) {
  const bool plugged = std::any_of(
      memory.hotplug_areas().begin(), memory.hotplug_areas().end(), [&run](const MemoryRegion& area) {
        return Raw(run.base) >= Raw(area.base) && Raw(run.base) - Raw(area.base) < area.size;
      });
  return plugged ? PluggedGranule(run) : 0;
}

}  // namespace

VfioSource KernelVfio() {
  VfioSource source;
  source.check = [](const VfioDemand& demand) {
    return CheckVfioHost(demand, ChooseVfioInterface(demand.addresses), VfioSysfs(), ReadLockLimits());
  };
  source.open = [](const std::vector<std::string>& addresses) {
    return OpenLinuxVfio(ChooseVfioInterface(addresses));
  };
  return source;
}

Status AssignedDevices::Check(const VmConfig& config, const VfioSource& source) {
  if (config.devices.empty()) return OkStatus();
  VfioDemand demand;
  TRY_ASSIGN(demand.addresses, Addresses(config));
  const ResolvedMachine resolved = ResolveMachine(config);
  for (const ResolvedRegion& region : resolved.regions) {
    demand.ram.push_back({region.base, region.base + region.size - 1});
  }
  // Each region, and at least two BARs of each device for the others.
  demand.mappings = demand.ram.size() + 2 * demand.addresses.size();
  return source.check(demand);
}

Result<std::unique_ptr<AssignedDevices>> AssignedDevices::Open(const VmConfig& config,
                                                               const GuestMemory& memory,
                                                               const VfioSource& source) {
  std::unique_ptr<AssignedDevices> assigned(new AssignedDevices());
  if (config.devices.empty()) return assigned;
  TRY_ASSIGN(const std::vector<std::string> addresses, Addresses(config));
  TRY_ASSIGN(assigned->host_, source.open(addresses));
  for (size_t i = 0; i < addresses.size(); ++i) {
    Result<std::shared_ptr<VfioDevice>> device = assigned->host_->Open(addresses[i]);
    if (!device.has_value()) return std::move(device).error().WithField("device " + config.devices[i].id);
    assigned->devices_.push_back({config.devices[i].id, config.devices[i].pci_segment, *device});
  }
  std::vector<DmaRun> runs;
  for (const MemoryRegion& run : memory.PresentRuns()) runs.push_back(RunOf(run, Granule(memory, run)));
  DmaEngine& dma = *assigned->host_->dma();
  // What the kernel's limits are is known for sure only now that the devices have joined.
  if (Status status = dma.Check(runs); !status.ok()) return std::move(status).WithField("device");
  if (Status status = dma.Map(runs); !status.ok()) return std::move(status).WithField("device");
  LOG(kInfo, "vfio_opened",
      {{"interface", assigned->host_->interface_name()},
       {"iommu", dma.backend_name()},
       {"devices", addresses.size()},
       {"mapped_bytes", dma.mapped_bytes()},
       {"mappings", dma.Mapped().size()}});
  return assigned;
}

void AssignedDevices::Reset() {
  if (devices_.empty()) return;
  if (Status status = host_->ResetDevices(); !status.ok()) {
    LOG(kWarning, "vfio_not_reset", {{"error", status}});
  }
}

Status AssignedDevices::PlugInto(const AssignedDeviceSlots& board) {
  std::set<int> files;
  for (const Device& entry : devices_) {
    VfioParts parts{board.interrupts, board.slots, board.loop, host_->dma()};
    Result<std::shared_ptr<VfioFunction>> function = VfioFunction::Create(entry.device, entry.id, parts);
    if (!function.has_value()) return std::move(function).error().WithField("device " + entry.id);
    if (files.insert(entry.device->kvm_file()).second) {
      if (Status status = board.vm->AddVfioFile(entry.device->kvm_file()); !status.ok()) {
        return std::move(status).WithField("device " + entry.id);
      }
    }
    Result<uint32_t> slot = board.add(*function, entry.id, entry.segment);
    if (!slot.has_value()) return std::move(slot).error().WithField("device " + entry.id);
    auto connect = [&board, slot = *slot](std::function<void()> on_end) {
      return board.connect(slot, std::move(on_end));
    };
    Status started = (*function)->Start(connect, board.events);
    if (!started.ok()) return std::move(started).WithField("device " + entry.id);
  }
  return OkStatus();
}

Status AssignedDevices::OnAdded(const MemoryRegion& run) {
  if (devices_.empty()) return OkStatus();
  return host_->dma()->Map({RunOf(run, PluggedGranule(run))});
}

void AssignedDevices::OnRemoved(Gpa base, uint64_t size) {
  if (devices_.empty()) return;
  if (Status status = host_->dma()->Unmap(Raw(base), size); !status.ok()) {
    LOG(kError, "vfio_memory_not_unmapped", {{"error", status}});
  }
}

}  // namespace berth::vmm
