#include "vmm/machine/assigned_devices.h"

#include <algorithm>
#include <optional>
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
  std::unique_ptr<AssignedDevices> assigned(new AssignedDevices(memory, source));
  if (config.devices.empty()) return assigned;
  TRY_ASSIGN(const std::vector<std::string> addresses, Addresses(config));
  TRY_ASSIGN(assigned->host_, source.open(addresses));
  for (const DeviceConfig& device : config.devices) TRY(assigned->OpenOne(device));
  TRY(assigned->MapAllMemory());
  return assigned;
}

Status AssignedDevices::OpenOne(const DeviceConfig& config) {
  TRY_ASSIGN(const PciAddress address, HostAddress(config));
  Result<std::shared_ptr<VfioDevice>> device = host_->Open(address.ToString());
  if (!device.has_value()) return std::move(device).error().WithField("device " + config.id);
  devices_.push_back({config.id, config.pci_segment, *device});
  return OkStatus();
}

Status AssignedDevices::MapAllMemory() {
  std::vector<DmaRun> runs;
  for (const MemoryRegion& run : memory_.PresentRuns()) runs.push_back(RunOf(run, Granule(memory_, run)));
  DmaEngine& dma = *host_->dma();
  // What the kernel's limits are is known for sure only now that the devices have joined.
  if (Status status = dma.Check(runs); !status.ok()) return std::move(status).WithField("device");
  if (Status status = dma.Map(runs); !status.ok()) return std::move(status).WithField("device");
  LOG(kInfo, "vfio_opened",
      {{"interface", host_->interface_name()},
       {"iommu", dma.backend_name()},
       {"devices", devices_.size()},
       {"mapped_bytes", dma.mapped_bytes()},
       {"mappings", dma.Mapped().size()}});
  return OkStatus();
}

Status AssignedDevices::Add(const DeviceConfig& device) {
  TRY_ASSIGN(const PciAddress address, HostAddress(device));
  VfioDemand demand;
  demand.addresses = {address.ToString()};
  for (const MemoryRegion& run : memory_.PresentRuns()) {
    demand.ram.push_back({Raw(run.base), Raw(run.base) + run.size - 1});
  }
  demand.mappings = demand.ram.size() + 2 * (devices_.size() + 1);
  TRY(source_.check(demand));
  if (host_ != nullptr) {
    TRY(OpenOne(device));
    // It may bring limits of its own.
    static_cast<void>(host_->dma()->Limits());
    return OkStatus();
  }
  TRY_ASSIGN(host_, source_.open(demand.addresses));
  Status status = OpenOne(device);
  if (status.ok()) status = MapAllMemory();
  if (!status.ok()) {
    devices_.clear();
    host_.reset();
  }
  return status;
}

void AssignedDevices::Remove(const std::string& id) {
  auto found = std::find_if(devices_.begin(), devices_.end(), [&](const Device& d) { return d.id == id; });
  if (found == devices_.end()) return;
  host_->Release(found->device);
  devices_.erase(found);
}

void AssignedDevices::Reset() {
  if (devices_.empty()) return;
  if (Status status = host_->ResetDevices(); !status.ok()) {
    LOG(kWarning, "vfio_not_reset", {{"error", status}});
  }
}

Result<PciPlace> AssignedDevices::PlugInto(const AssignedDeviceSlots& board, const std::string& id) {
  auto found = std::find_if(devices_.begin(), devices_.end(), [&](const Device& d) { return d.id == id; });
  CHECK(found != devices_.end());
  const auto failed = [&id](Status status) { return std::move(status).WithField("device " + id); };
  VfioParts parts{board.vm, board.interrupts, board.memory_slots, board.loop, host_->dma()};
  Result<std::shared_ptr<VfioFunction>> function = VfioFunction::Create(found->device, id, parts);
  if (!function.has_value()) return failed(function.error());
  Result<PciPlace> place = board.add(*function, id, found->segment);
  if (!place.has_value()) return failed(place.error());
  auto connect = [&board, &place](std::function<void()> on_end) {
    return board.connect(*place, std::move(on_end));
  };
  if (Status started = (*function)->Start(connect, board.events); !started.ok()) return failed(started);
  return place;
}

Status AssignedDevices::PlugAllInto(const AssignedDeviceSlots& board) {
  for (const Device& device : devices_) TRY(PlugInto(board, device.id));
  return OkStatus();
}

void AssignedDevices::ForgetUnplugged(const GuestMemory& memory) {
  if (host_ == nullptr || host_->dma() == nullptr) return;
  const std::vector<MemoryRegion> present = memory.PresentRuns();
  for (const DmaRun& run : host_->dma()->Mapped()) {
    if (run.kind != DmaRun::Kind::kMemory) continue;
    const bool there = std::any_of(present.begin(), present.end(), [&run](const MemoryRegion& region) {
      return run.iova >= Raw(region.base) && run.end() <= Raw(region.base) + region.size;
    });
    if (!there) OnRemoved(Gpa{run.iova}, run.size);
  }
}

Status AssignedDevices::OnAdded(const MemoryRegion& run) {
  if (host_ == nullptr) return OkStatus();
  DmaEngine& dma = *host_->dma();
  const uint64_t end = Raw(run.base) + run.size;
  std::vector<DmaRun> missing;
  for (uint64_t at = Raw(run.base); at < end;) {
    const std::optional<DmaRun> known = dma.FindFrom(at);
    const uint64_t stop = known.has_value() ? std::clamp(known->iova, at, end) : end;
    if (stop > at) {
      missing.push_back(RunOf(run.Part(at - Raw(run.base), stop - at), PluggedGranule(run)));
    }
    at = known.has_value() && known->iova < end ? std::max(known->end(), stop) : end;
  }
  return missing.empty() ? OkStatus() : dma.Map(missing);
}

void AssignedDevices::OnRemoved(Gpa base, uint64_t size) {
  if (host_ == nullptr) return;
  if (Status status = host_->dma()->Unmap(Raw(base), size); !status.ok()) {
    LOG(kError, "vfio_memory_not_unmapped", {{"error", status}});
  }
}

}  // namespace berth::vmm
