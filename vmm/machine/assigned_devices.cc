#include "vmm/machine/assigned_devices.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/log.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"
#include "vmm/dma/guest_runs.h"
#include "vmm/vfio/linux_vfio_host.h"

namespace berth::vmm {
namespace {

// Pages of a private mapping are copied when they are pinned for a device, and the file keeps its own.
Status TakesMemoryTwice(const std::string& zone) {
  return InvalidArgument(
      "memory zone " + zone +
          " maps its file privately: beside a device of the host it would take its memory twice",
      "device", "give the zone shared=on, or leave out its file");
}

// The devices of the list in the terms of VFIO.
Status AddDevices(const std::vector<DeviceConfig>& devices, VfioDemand& demand) {
  for (const DeviceConfig& device : devices) {
    TRY_ASSIGN(const PciAddress address, HostAddress(device));
    demand.addresses.push_back(address.ToString());
    if (device.iommu) demand.alone.push_back(address.ToString());
  }
  // Each region, and at least two BARs of each device for the others.
  demand.mappings = demand.ram.size() + 2 * demand.addresses.size();
  const bool shared = demand.alone.size() < demand.addresses.size();
  demand.spaces = static_cast<uint32_t>(demand.alone.size()) + (shared ? 1 : 0);
  return OkStatus();
}

}  // namespace

VfioSource KernelVfio() {
  VfioSource source;
  source.check = [](const VfioDemand& demand) {
    return CheckVfioHost(demand, ChooseVfioInterface(demand.addresses), VfioSysfs(), ReadLockLimits());
  };
  source.open = [](const std::vector<std::string>& addresses, bool by_parts) {
    return OpenLinuxVfio(ChooseVfioInterface(addresses), by_parts);
  };
  return source;
}

Status AssignedDevices::CheckZone(const MemoryZoneConfig& zone) {
  return zone.file && !MappedShared(zone) ? TakesMemoryTwice(zone.id) : OkStatus();
}

Status AssignedDevices::Check(const VmConfig& config, const VfioSource& source) {
  if (config.devices.empty()) return OkStatus();
  for (const MemoryZoneConfig& zone : config.memory_zones) TRY(CheckZone(zone));
  VfioDemand demand;
  for (const ResolvedRegion& region : ResolveMachine(config).regions) {
    demand.ram.push_back({region.base, region.base + region.size - 1});
  }
  TRY(AddDevices(config.devices, demand));
  return source.check(demand);
}

Result<std::unique_ptr<AssignedDevices>> AssignedDevices::Open(const VmConfig& config,
                                                               const GuestMemory& memory,
                                                               const VfioSource& source) {
  std::unique_ptr<AssignedDevices> assigned(
      new AssignedDevices(config.platform.confidential, memory, source));
  std::vector<std::string> shared;
  for (const DeviceConfig& device : config.devices) {
    TRY_ASSIGN(const PciAddress address, HostAddress(device));
    if (!device.iommu) shared.push_back(address.ToString());
  }
  if (!shared.empty()) {
    TRY_ASSIGN(assigned->host_, source.open(shared, assigned->confidential_ != ConfidentialKind::kNone));
  }
  for (const DeviceConfig& device : config.devices) TRY(assigned->OpenOne(device));
  if (assigned->host_ != nullptr) TRY(assigned->MapAllMemory());
  return assigned;
}

Status AssignedDevices::OpenOne(const DeviceConfig& config) {
  TRY_ASSIGN(const PciAddress address, HostAddress(config));
  Status status =
      config.iommu ? OpenBehindIommu(config, address.ToString()) : OpenShared(config, address.ToString());
  return status.ok() ? status : std::move(status).WithField("device " + config.id);
}

Status AssignedDevices::OpenShared(const DeviceConfig& config, const std::string& address) {
  if (host_ == nullptr) {
    TRY_ASSIGN(host_, source_.open({address}, confidential_ != ConfidentialKind::kNone));
  }
  TRY_ASSIGN(auto device, host_->Open(address));
  devices_.push_back({.id = config.id, .segment = config.pci_segment, .device = std::move(device)});
  return OkStatus();
}

Status AssignedDevices::OpenBehindIommu(const DeviceConfig& config, const std::string& address) {
  Device opened{.id = config.id, .segment = config.pci_segment};
  CHECK(confidential_ == ConfidentialKind::kNone);  // refused by the configuration's rules
  TRY_ASSIGN(opened.own, source_.open({address}, false));
  TRY_ASSIGN(opened.device, opened.own->Open(address));
  DmaEngine& dma = *opened.own->dma();
  // Until the guest's driver takes the IOMMU over, the device reaches all memory.
  TRY(dma.Check(RunsOfMemory(memory_)));
  opened.endpoint = std::make_shared<VfioEndpoint>(dma, memory_);
  LOG(kInfo, "vfio_opened_behind_iommu",
      {{"interface", opened.own->interface_name()}, {"iommu", dma.backend_name()}, {"id", config.id}});
  devices_.push_back(std::move(opened));
  return OkStatus();
}

bool AssignedDevices::shared_in_use() const {
  return std::any_of(devices_.begin(), devices_.end(), [](const Device& d) { return d.own == nullptr; });
}

uint64_t AssignedDevices::LastIommuAddress() const {
  uint64_t last = UINT64_MAX;
  for (const Device& device : devices_) {
    if (device.endpoint == nullptr) continue;
    const std::vector<IovaRange> reserved = device.endpoint->Reserved();
    const bool narrow = !reserved.empty() && reserved.back().last == UINT64_MAX && reserved.back().first > 0;
    if (narrow) last = std::min(last, reserved.back().first - 1);
  }
  return last;
}

Status AssignedDevices::MapAllMemory() {
  const std::vector<DmaRun> runs = RunsOfMemory(memory_);
  DmaEngine& dma = *host_->dma();
  // What the kernel's limits are is known for sure only now that the devices have joined.
  if (Status status = dma.Check(runs); !status.ok()) return std::move(status).WithField("device");
  if (confidential_ != ConfidentialKind::kNone) return MapSharedMemory();
  if (Status status = dma.Map(runs); !status.ok()) return std::move(status).WithField("device");
  LOG(kInfo, "vfio_opened",
      {{"interface", host_->interface_name()},
       {"iommu", dma.backend_name()},
       {"devices", devices_.size()},
       {"mapped_bytes", dma.mapped_bytes()},
       {"mappings", dma.Mapped().size()}});
  return OkStatus();
}

Status AssignedDevices::MapSharedMemory() {
  if (guest_ == nullptr || host_ == nullptr) return OkStatus();
  DmaEngine& dma = *host_->dma();
  TRY_ASSIGN(const DmaLimits limits, dma.Limits());
  DmaPolicy policy;
  policy.expected_shared_bytes = std::max(guest_->Facts().shared_bytes, guest_->bounce_bytes());
  // Such a guest, which is for development, starts with all of its memory shared: by pages that is too much
  // for most kernels, and in one piece it could take nothing back.
  policy.allow_transient_faults = confidential_ == ConfidentialKind::kSwProtected;
  const DmaChoice choice = ChooseDmaStrategy(limits, policy);
  if (!choice.warning.empty()) LOG(kWarning, "shared_dma_limited", {{"reason", choice.warning}});
  DmaListener::Options options;
  options.strategy = choice.strategy;
  options.allow_transient_faults = policy.allow_transient_faults;
  options.hold_still = [this] { return gate_.HoldStill(); };
  std::vector<DmaRun> expected;
  for (const HostRange& range : guest_->SharedSide()) {
    DmaRun run;
    run.iova = range.base;
    run.size = range.size;
    run.host = range.host;
    expected.push_back(run);
  }
  dma.Expect(expected);
  auto listener = std::make_unique<DmaListener>(dma, guest_->SharedSide(), std::move(options));
  if (Status status = guest_->AddListener(*listener); !status.ok()) {
    return std::move(status).WithField("device");
  }
  shared_memory_ = std::move(listener);
  LOG(kInfo, "vfio_shares_memory",
      {{"interface", host_->interface_name()},
       {"iommu", dma.backend_name()},
       {"devices", devices_.size()},
       {"strategy", DmaStrategyName(choice.strategy)},
       {"reason", choice.reason},
       {"mapped_bytes", dma.mapped_bytes()},
       {"mappings", dma.Mapped().size()}});
  return OkStatus();
}

Status AssignedDevices::Follow(ConfidentialGuest& guest) {
  guest_ = &guest;
  return MapSharedMemory();
}

void AssignedDevices::StopFollowing() {
  if (shared_memory_ != nullptr) guest_->RemoveListener(*shared_memory_);
  shared_memory_.reset();
  guest_ = nullptr;
}

Status AssignedDevices::ForgetShared() {
  if (confidential_ == ConfidentialKind::kNone || host_ == nullptr) return OkStatus();
  CHECK(guest_ == nullptr);
  DmaEngine& dma = *host_->dma();
  for (const DmaRun& run : dma.Mapped()) {
    if (run.kind != DmaRun::Kind::kMemory) continue;
    if (Status status = dma.Unmap(run.iova, run.size); !status.ok()) {
      return std::move(status).WithContext("memory of the guest before").WithField("device");
    }
  }
  return OkStatus();
}

Status AssignedDevices::Add(const DeviceConfig& device) {
  VfioDemand demand;
  for (const MemoryRegion& run : memory_.PresentRuns()) {
    if (run.fd >= 0 && !run.shared) return TakesMemoryTwice(run.zone);
    demand.ram.push_back({Raw(run.base), Raw(run.base) + run.size - 1});
  }
  TRY(AddDevices({device}, demand));
  demand.mappings += 2 * devices_.size();
  demand.spaces += shared_in_use() && device.iommu ? 1 : 0;
  for (const Device& known : devices_) {
    demand.others.push_back(known.device->address());
    demand.spaces += known.own != nullptr ? 1 : 0;
  }
  TRY(source_.check(demand));
  const bool first = !device.iommu && !shared_in_use();
  if (Status opened = OpenOne(device); !opened.ok()) {
    // Nothing was mapped for it; the next one is the first again.
    if (first) host_.reset();
    return opened;
  }
  if (device.iommu) return OkStatus();
  // It may bring limits of its own.
  if (!first) {
    static_cast<void>(host_->dma()->Limits());
    return OkStatus();
  }
  Status status = MapAllMemory();
  if (!status.ok()) {
    devices_.pop_back();
    host_.reset();
  }
  return status;
}

void AssignedDevices::Remove(const std::string& id) {
  auto found = std::find_if(devices_.begin(), devices_.end(), [&](const Device& d) { return d.id == id; });
  if (found == devices_.end()) return;
  const VfioDevice* closed = found->device.get();
  (found->own != nullptr ? found->own : host_)->Release(found->device);
  devices_.erase(found);
  gate_.Forget(closed);
  // Another process may have the group and the memory may be unlocked.
  if (shared_in_use() || host_ == nullptr) return;
  if (shared_memory_ != nullptr) guest_->RemoveListener(*shared_memory_);
  shared_memory_.reset();
  host_.reset();
}

void AssignedDevices::Reset() {
  std::vector<VfioHost*> hosts;
  if (shared_in_use()) hosts.push_back(host_.get());
  for (const Device& device : devices_) {
    if (device.own != nullptr) hosts.push_back(device.own.get());
  }
  for (VfioHost* host : hosts) {
    Status status = host->ResetDevices();
    if (!status.ok()) LOG(kWarning, "vfio_not_reset", {{"error", status}});
  }
}

Result<PciPlace> AssignedDevices::PlugInto(const AssignedDeviceSlots& board, const std::string& id) {
  auto found = std::find_if(devices_.begin(), devices_.end(), [&](const Device& d) { return d.id == id; });
  CHECK(found != devices_.end());
  const auto failed = [&id](Status status) { return std::move(status).WithField("device " + id); };
  // Behind the IOMMU others reach a device by what the guest maps, and it maps RAM only.
  const std::shared_ptr<MsiController> interrupts = board.interrupts(found->segment);
  VfioParts parts{board.vm, interrupts.get(), board.memory_slots, board.loop,
                  found->own != nullptr ? nullptr : host_->dma(), found->own != nullptr ? nullptr : &gate_,
                  // The TDX module keeps the ends of interrupts to itself (KVM: no EOI exits, no resampling).
                  confidential_ != ConfidentialKind::kTdx};
  Result<std::shared_ptr<VfioFunction>> function = VfioFunction::Create(found->device, id, parts);
  if (!function.has_value()) return failed(function.error());
  Result<PciPlace> place = board.add(*function, id, found->segment, interrupts);
  if (!place.has_value()) return failed(place.error());
  if (found->endpoint != nullptr) {
    if (Status joined = board.join_iommu(*place, found->endpoint); !joined.ok()) return failed(joined);
  }
  auto connect = [&board, &place](std::function<void()> on_end) {
    return board.connect(*place, std::move(on_end));
  };
  if (Status started = (*function)->Start(connect, board.events); !started.ok()) {
    board.withdraw(id);
    return failed(started);
  }
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
    if (there) continue;
    if (Status status = OnRemoved(Gpa{run.iova}, run.size); !status.ok()) {
      LOG(kError, "vfio_memory_not_unmapped", {{"error", status}});
    }
  }
}

Status AssignedDevices::OnAdded(const MemoryRegion& run) {
  Status status = host_ == nullptr || host_->dma() == nullptr ? OkStatus() : MapPlugged(*host_->dma(), run);
  for (const Device& device : devices_) {
    if (status.ok() && device.endpoint != nullptr) status = device.endpoint->OnAdded(run);
  }
  if (status.ok()) return status;
  if (Status undone = OnRemoved(run.base, run.size); !undone.ok()) {
    LOG(kError, "vfio_memory_not_unmapped", {{"error", undone}});
  }
  return status;
}

Status AssignedDevices::OnRemoved(Gpa base, uint64_t size) {
  for (const Device& device : devices_) {
    if (device.endpoint != nullptr) device.endpoint->OnRemoved(base, size);
  }
  if (host_ == nullptr || host_->dma() == nullptr) return OkStatus();
  return host_->dma()->Unmap(Raw(base), size);
}

}  // namespace berth::vmm
