#include "vmm/machine/board.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "common/log.h"
#include "common/swiotlb.h"
#include "vmm/boot/elf_kernel.h"
#include "vmm/boot/image_source.h"
#include "vmm/boot/pvh_loader.h"
#include "vmm/boot/reset_vector.h"
#include "vmm/bus/layout.h"
#include "vmm/bus/thread_affinity.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"
#include "vmm/machine/acpi_input.h"
#include "vmm/memory/prefault.h"
#include "vmm/vcpu/core_scheduling.h"
#include "vmm/vcpu/cpuid.h"
#include "vmm/vcpu/registers.h"
#include "vmm/vhost_user/block.h"
#include "vmm/vhost_user/net.h"
#include "vmm/virtio/block.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/disk_file.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/pci_transport.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/vsock.h"

namespace berth::vmm {
namespace {

uint64_t MonotonicNanoseconds() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

RateLimitSettings SettingsOf(const RateLimits& limits) {
  auto bucket = [](const RateLimit& limit) {
    return RateLimitSettings::Bucket{limit.size, limit.one_time_burst, limit.refill_ms};
  };
  return {bucket(limits.bandwidth), bucket(limits.operations)};
}

// The number of an endpoint behind the IOMMU, as the VIOT tells it to the guest.
uint32_t EndpointAt(const PciPlace& place) {
  return place.segment << 16 | place.function();
}
PciPlace PlaceOf(uint32_t endpoint) {
  return {endpoint >> 16, (endpoint & 0xffff) >> 3};
}

// The console's far end is what a serial port's is.
class BackendSink final : public ConsoleSink {
 public:
  explicit BackendSink(SerialBackend& backend) : backend_(backend) {}
  void Write(std::span<const uint8_t> data) override {
    for (uint8_t byte : data) backend_.Put(byte);
  }
  void InputRoom() override { backend_.InputRoom(); }

 private:
  SerialBackend& backend_;
};

CpuSet CpusOfSegmentsNode(const VmConfig& config, uint32_t segment) {
  const std::vector<ResolvedSegment> segments = ResolveMachine(config).segments;
  if (segment >= segments.size()) return {};
  const std::optional<uint32_t> node = segments[segment].guest_numa_id;
  const std::map<std::string, uint32_t> nodes = NodesOfZones(config);
  std::set<std::optional<uint32_t>> hosts;  // where the memory of that node lies; without nodes, all memory
  for (const MemoryZoneConfig& zone : config.memory_zones) {
    auto of_zone = nodes.find(zone.id);
    if (!node || (of_zone != nodes.end() && of_zone->second == *node)) hosts.insert(zone.host_numa_node);
  }
  if (hosts.size() != 1 || !*hosts.begin()) return {};
  const CpuSet near = CpusOfHostNode(**hosts.begin());
  const CpuSet allowed = AllowedCpus(0);
  return allowed.empty() ? near : near & allowed;
}

CpuSet Unbound(CpuSet cpus, const VmConfig& config) {
  for (const auto& [vcpu, bound] : config.cpus.affinity) cpus -= bound;
  return cpus;
}

}  // namespace

CpuSet CpusNearSegment(const VmConfig& config, uint32_t segment) {
  const CpuSet near = CpusOfSegmentsNode(config, segment);
  const CpuSet unbound = Unbound(near, config);
  return unbound.empty() ? near : unbound;
}

CpuSet CpusForDeviceLoop(const VmConfig& config) {
  return Unbound(CpusOfSegmentsNode(config, 0), config);
}

Result<std::unique_ptr<Board>> Board::Create(const BoardParts& parts, BoardEvents events) {
  std::unique_ptr<Board> board(new Board(parts, std::move(events)));
  TRY_ASSIGN(board->capabilities_, parts.kvm->Probe());
  TRY_ASSIGN(board->supported_cpuid_, parts.kvm->SupportedCpuid());
  board->physical_bits_ = PhysicalAddressBits(board->supported_cpuid_);
  if (parts.config->cpus.max_phys_bits.value_or(board->physical_bits_) < board->physical_bits_) {
    board->physical_bits_ = *parts.config->cpus.max_phys_bits;
    LimitPhysicalAddressBits(board->supported_cpuid_, board->physical_bits_);
  }
  TRY_ASSIGN(board->topology_, BuildCpuTopology(parts.config->cpus, parts.config->numa));
  TRY(board->CreateVm());
  TRY(board->AddPlatformDevices());
  TRY(board->AddPci());
  TRY(board->AddHotplugControllers());
  if (parts.saved != nullptr) {
    StateReader places = parts.saved->GetPart("places", 1);
    board->saved_places_ = PciTopology::LoadPlaces(places);
    parts.saved->Leave(places);
    TRY(parts.saved->status());
  }
  TRY(board->AddIommu());
  TRY(board->AddVirtioDevices());
  TRY(board->AddAssignedDevices());
  if (parts.config->cpus.core_scheduling == CoreScheduling::kVm) {
    Status kept = KeepCoreFromOthers(CoreGroup::kProcess, 0);
    // Cloud Hypervisor's default, which is in each configuration of its vm.info.
    if (kept.code() == StatusCode::kUnimplemented) LOG(kWarning, "no_core_scheduling", {{"reason", kept}});
    if (!kept.ok() && kept.code() != StatusCode::kUnimplemented) return kept;
  }
  if (parts.saved == nullptr) {
    TRY(board->CreateVcpus());
  } else {
    TRY(board->RestoreVcpus(*parts.saved));
    TRY(board->Load(*parts.saved));
    board->parts_.saved = nullptr;  // what is plugged from now on was not there
  }
  return board;
}

Board::~Board() {
  Stop();
  if (confidential_ != nullptr && parts_.assigned != nullptr) parts_.assigned->StopFollowing();
}

void Board::Run() {
  for (auto& vcpu : vcpus_) {
    if (cpu_hotplug_->enabled(vcpu->id())) vcpu->Run();
  }
}

void Board::Pause() {
  for (auto& vcpu : vcpus_) vcpu->Pause();
}

void Board::Stop() {
  for (auto& vcpu : vcpus_) vcpu->Stop();
}

void Board::PressPowerButton() {
  ged_->Notify(layout::kGedPowerButton);
}

Status Board::CreateVm() {
  const VmType type =
      parts_.confidential == nullptr ? VmType::kDefault : parts_.confidential->launch->vm_type();
  TRY_ASSIGN(vm_, parts_.kvm->CreateVm(type));
  TRY(vm_->ReservePages(Gpa{layout::kKvmTss}, Gpa{layout::kKvmIdentityMap}));
  TRY(vm_->EnableSplitIrqchip(layout::kIoApicPins));
  if (capabilities_.x2apic_api) TRY(vm_->EnableX2apicIds());
  slots_ = std::make_unique<MemorySlots>(*vm_, capabilities_.max_memory_slots);
  if (parts_.confidential != nullptr) {
    TRY_ASSIGN(confidential_, ConfidentialGuest::Create(*vm_, *parts_.memory, *parts_.confidential,
                                                        *parts_.config, topology_.apic_ids()));
  }
  ram_ = std::make_unique<RamMap>(*parts_.memory, *slots_, confidential_.get());
  TRY(ram_->MapAll());
  if (confidential_ != nullptr) TRY(confidential_->Start(*slots_));
  routes_ = std::make_unique<InterruptRoutes>(*vm_, layout::kIoApicPins);
  io_events_ = std::make_unique<KvmIoEvents>(*vm_);
  return OkStatus();
}

Status Board::AddPlatformDevices() {
  ioapic_sink_ = std::make_unique<KvmIoApicSink>(*vm_, *routes_);
  ioapic_ = std::make_shared<IoApic>(*ioapic_sink_);
  const bool remapped = parts_.config->platform.iommu_model == IommuModel::kIntel;
  TRY(mmio_.Insert(layout::kIoApicBase, remapped ? layout::kIoApicSizeWithEoi : layout::kIoApicSize, ioapic_,
                   "ioapic"));

  ged_ = std::make_shared<GedNotifier>(ConnectPin(ioapic_, layout::kGedIrq));
  const uint64_t platform = layout::PlatformAreaBase(physical_bits_);
  TRY(mmio_.Insert(platform + layout::kGedOffset, layout::kGedSize, ged_, "ged"));

  TRY(ports_.Insert(layout::kI8042Port, layout::kI8042PortSize, std::make_shared<I8042>(events_.on_reset),
                    "i8042"));
  TRY(ports_.Insert(layout::kAcpiPortBase, layout::kAcpiPortSize,
                    std::make_shared<AcpiPower>(events_.on_power_off, events_.on_reset), "acpi-power"));
  pm_timer_ = std::make_shared<PmTimer>(MonotonicNanoseconds);
  TRY(ports_.Insert(layout::kPmTimerPort, layout::kPmTimerPortSize, pm_timer_, "pm-timer"));
  rtc_ = std::make_shared<Rtc>([] { return ::time(nullptr); });
  TRY(ports_.Insert(layout::kRtcPort, layout::kRtcPortSize, rtc_, "rtc"));
  if (parts_.serial != nullptr) {
    // The backend outlives the board; the port must not own it.
    std::shared_ptr<SerialSink> sink(std::shared_ptr<void>(), parts_.serial);
    serial_ = std::make_shared<Serial>(ConnectPin(ioapic_, layout::kCom1Irq), sink);
    ConnectSerialInput(*parts_.serial, serial_);
    TRY(ports_.Insert(layout::kCom1Port, layout::kCom1PortSize, serial_, "com1"));
  }
  return OkStatus();
}

Status Board::AddPci() {
  std::vector<PciTopology::Segment> segments;
  for (const SegmentWindows& windows : WindowsFor(*parts_.config, *parts_.memory, physical_bits_)) {
    segments.push_back({windows.mmio32, windows.mmio64});
  }
  const uint64_t platform = layout::PlatformAreaBase(physical_bits_);
  PciTopology::Events events;
  events.notify_guest = [ged = ged_] { ged->Notify(layout::kGedPci); };
  events.on_removed = events_.on_device_removed;
  events.on_left = [this](const PciPlace& place) {
    if (intel_iommu_ != nullptr) intel_iommu_->Left(place);
    if (iommu_domains_ != nullptr) iommu_domains_->RemoveEndpoint(EndpointAt(place));
  };
  TRY_ASSIGN(pci_, PciTopology::Create(segments, mmio_, ports_, platform + layout::kPciHotplugOffset,
                                       std::move(events)));
  return OkStatus();
}

Status Board::AddIommu() {
  if (!HasIommu(*parts_.config)) return OkStatus();
  iommu_domains_ = std::make_unique<IommuDomains>();
  if (parts_.config->platform.iommu_model == IommuModel::kIntel) return AddIntelIommu();
  const uint32_t width = parts_.config->platform.iommu_address_width.value_or(64);
  uint64_t last = width >= 64 ? UINT64_MAX : (uint64_t{1} << width) - 1;
  if (parts_.assigned != nullptr) last = std::min(last, parts_.assigned->LastIommuAddress());
  iommu_ = std::make_shared<VirtioIommu>(*iommu_domains_, last, *parts_.loop,
                                         [tell = events_.on_iommu_fault](const IommuFault& fault) {
                                           if (tell) tell(PlaceOf(fault.endpoint), fault);
                                         });
  TRY(AddVirtio(iommu_, kIommuId));
  return OkStatus();
}

Status Board::AddIntelIommu() {
  const uint64_t last = parts_.assigned != nullptr ? parts_.assigned->LastIommuAddress() : UINT64_MAX;
  IntelIommu::Parts parts;
  TRY_ASSIGN(parts.address_width, ChooseIntelWidth(parts_.config->platform, last));
  parts.domains = iommu_domains_.get();
  parts.memory = parts_.memory;
  parts.interrupts = routes_.get();
  parts.vm = vm_.get();
  parts.ioapic = ioapic_;
  parts.physical_bits = physical_bits_;
  parts.extended_interrupts = capabilities_.x2apic_api;
  parts.on_fault = [tell = events_.on_iommu_fault](const IommuFault& fault) {
    if (tell) tell(PlaceOf(fault.endpoint), fault);
  };
  TRY_ASSIGN(intel_iommu_, IntelIommu::Create(parts, parts_.config->platform.num_pci_segments, mmio_));
  LOG(kInfo, "intel_iommu",
      {{"units", intel_iommu_->segments()},
       {"address_width", parts.address_width},
       {"extended_interrupts", parts.extended_interrupts}});
  return OkStatus();
}

std::shared_ptr<MsiController> Board::InterruptsOf(uint32_t segment) {
  if (intel_iommu_ != nullptr) {
    if (auto interrupts = intel_iommu_->MakeInterrupts(segment)) return interrupts;
  }
  return {std::shared_ptr<void>(), routes_.get()};  // the board's own
}

Status Board::JoinIommu(const PciPlace& place, std::shared_ptr<IommuEndpoint> endpoint) {
  if (intel_iommu_ != nullptr) {
    const std::vector<IovaRange> reserved = endpoint->Reserved();
    const uint64_t last = (uint64_t{1} << intel_iommu_->address_width()) - 1;
    if (!reserved.empty() && reserved.back().last == UINT64_MAX && reserved.back().first <= last) {
      return FailedPrecondition(
          "the host's IOMMU maps addresses up to " + std::to_string(reserved.back().first - 1) +
              " for the device, the guest's has " + std::to_string(intel_iommu_->address_width()) + " bits",
          "iommu", "start the VM with --platform iommu_address_width=39");
    }
  }
  TRY(iommu_domains_->AddEndpoint(EndpointAt(place), std::move(endpoint)));
  if (intel_iommu_ != nullptr) intel_iommu_->Joined(place);
  return OkStatus();
}

Status Board::CheckHotplugBehindIommu(uint32_t segment, bool behind_iommu) const {
  if (intel_iommu_ != nullptr) return OkStatus();  // the guest expects it of each device
  if (!behind_iommu || parts_.config->platform.iommu_segments.Contains(segment)) return OkStatus();
  return FailedPrecondition(
      "a device that is added to a running guest is behind the IOMMU only on a PCI "
      "segment that is so as a whole, not on segment " +
          std::to_string(segment),
      "iommu", "--platform iommu_segments names such segments when the VM is created");
}

Status Board::AddHotplugControllers() {
  const uint64_t platform = layout::PlatformAreaBase(physical_bits_);
  cpu_hotplug_ = std::make_shared<CpuHotplug>(static_cast<uint32_t>(topology_.vcpus.size()),
                                              parts_.config->cpus.boot, events_.on_vcpu_ejected);
  TRY(mmio_.Insert(platform + layout::kCpuHotplugOffset, layout::kCpuHotplugSize, cpu_hotplug_,
                   "cpu-hotplug"));
  const bool by_acpi = parts_.config->memory.hotplug_method == HotplugMethod::kAcpi;
  if (!by_acpi || parts_.memory->hotplug_areas().empty()) return OkStatus();
  memory_hotplug_ = std::make_shared<MemoryHotplug>(layout::kMemoryHotplugSlots, *parts_.added_memory);
  return mmio_.Insert(platform + layout::kMemoryHotplugOffset, layout::kMemoryHotplugSize, memory_hotplug_,
                      "memory-hotplug");
}

Result<PciPlace> Board::AddFunction(std::shared_ptr<PciFunction> function, const std::string& id,
                                    uint32_t segment, const std::shared_ptr<MsiController>& interrupts) {
  if (intel_iommu_ != nullptr && interrupts != nullptr) {
    function = IntelIommu::Keep(std::move(function), interrupts);
    TRY_ASSIGN(const PciPlace place, pci_->Add(std::move(function), id, segment));
    IntelIommu::Placed(*interrupts, place);
    return place;
  }
  if (parts_.saved == nullptr) return pci_->Add(std::move(function), id, segment);
  auto place = saved_places_.find(id);
  if (place == saved_places_.end() || place->second.segment != segment) {
    return InvalidArgument("device " + id + " is not in PCI segment " + std::to_string(segment) +
                           " of the snapshot");
  }
  const uint32_t slot = place->second.slot;
  saved_places_.erase(place);
  return pci_->Add(std::move(function), id, segment, slot);
}

Result<PciPlace> Board::AddVirtio(std::shared_ptr<VirtioDevice> device, const std::string& id,
                                  uint32_t segment, bool behind_iommu) {
  std::shared_ptr<VirtioEndpoint> endpoint;
  if (behind_iommu) {
    endpoint = std::make_shared<VirtioEndpoint>(
        *iommu_domains_, *parts_.memory,
        [iommu = iommu_.get(), intel = intel_iommu_.get()](const IommuFault& fault) {
          if (intel != nullptr) return intel->Report(fault);
          iommu->Report(fault);
        });
  }
  const std::shared_ptr<MsiController> interrupts = InterruptsOf(segment);
  TRY_ASSIGN(auto transport,
             VirtioPciTransport::Create(device, *parts_.memory, *interrupts, *io_events_, endpoint,
                                        /*restricted=*/confidential_ != nullptr));
  TRY_ASSIGN(const PciPlace place, AddFunction(std::move(transport), id, segment, interrupts));
  if (endpoint != nullptr) {
    // Until now nothing was translated for it.
    CHECK(JoinIommu(place, endpoint).ok());
    endpoint->SetId(EndpointAt(place));
  }
  devices_.emplace(id, std::move(device));
  return place;
}

std::optional<vhost_user::SharingGuest> Board::Sharing() {
  if (confidential_ == nullptr) return std::nullopt;
  return vhost_user::SharingGuest{&confidential_->converter(), parts_.memory};
}

Result<PciPlace> Board::AddDisk(const DiskConfig& disk) {
  if (disk.vhost_user) {
    VhostUserBlock::Options options;
    options.id = disk.id;
    options.socket = *disk.vhost_socket;
    options.queues = static_cast<uint16_t>(disk.num_queues);
    options.queue_size = static_cast<uint16_t>(disk.queue_size);
    options.cpus = CpusNearSegment(*parts_.config, disk.pci_segment);
    options.guest = Sharing();
    auto device = VhostUserBlock::Create(options);
    if (!device.has_value()) return std::move(device).error().WithField("disk " + disk.id);
    return AddVirtio(*std::move(device), disk.id, disk.pci_segment);
  }
  Result<DiskFile> file = DiskFile::Open(disk.path, disk.readonly, disk.direct);
  if (!file.has_value()) return std::move(file).error().WithField("disk " + disk.id);
  VirtioBlock::Options options;
  options.id = disk.id;
  options.serial = disk.serial.value_or("");
  options.queues = static_cast<uint16_t>(disk.num_queues);
  options.queue_size = static_cast<uint16_t>(disk.queue_size);
  options.limits = SettingsOf(disk.limits);
  options.io_uring = disk.io_uring;
  options.cpus = CpusNearSegment(*parts_.config, disk.pci_segment);
  options.starter = parts_.starter;
  TRY_ASSIGN(auto device, VirtioBlock::Create(*std::move(file), options));
  return AddVirtio(std::move(device), disk.id, disk.pci_segment, disk.iommu);
}

Result<PciPlace> Board::AddNet(const NetPort& net) {
  if (net.vhost_socket) {
    VhostUserNet::Options options;
    options.id = net.id;
    options.socket = *net.vhost_socket;
    options.pairs = static_cast<uint16_t>(net.pairs);
    options.queue_size = static_cast<uint16_t>(net.queue_size);
    if (net.mtu) options.mtu = static_cast<uint16_t>(*net.mtu);
    options.cpus = CpusNearSegment(*parts_.config, net.pci_segment);
    options.guest = Sharing();
    auto device = VhostUserNet::Create(options, net.mac);
    if (!device.has_value()) return std::move(device).error().WithField("net " + net.id);
    return AddVirtio(*std::move(device), net.id, net.pci_segment);
  }
  TRY_ASSIGN(std::vector<Tap> taps, net.ShareTaps());
  VirtioNet::Options options;
  options.id = net.id;
  options.cpus = CpusNearSegment(*parts_.config, net.pci_segment);
  options.starter = parts_.starter;
  if (net.mtu) options.mtu = static_cast<uint16_t>(*net.mtu);
  options.queue_size = static_cast<uint16_t>(net.queue_size);
  options.limits = SettingsOf(net.limits);
  TRY_ASSIGN(auto device, VirtioNet::Create(std::move(taps), net.mac, *parts_.loop, options));
  return AddVirtio(std::move(device), net.id, net.pci_segment, net.iommu);
}

Result<PciPlace> Board::AddVsock(const VsockConfig& vsock) {
  TRY_ASSIGN(auto device, VirtioVsock::Create(vsock.cid, vsock.socket, *parts_.loop));
  return AddVirtio(std::move(device), vsock.id, vsock.pci_segment, vsock.iommu);
}

Status Board::AddVirtioDevices() {
  const VmConfig& config = *parts_.config;
  for (const DiskConfig& disk : config.disks) TRY(AddDisk(disk));
  for (const NetPort& net : *parts_.nets) TRY(AddNet(net));
  if (!config.rng.empty()) {
    Result<std::shared_ptr<VirtioRng>> device = VirtioRng::Open(config.rng, *parts_.loop);
    if (!device.has_value()) return std::move(device).error().WithField("rng");
    TRY(AddVirtio(*std::move(device), "rng0", 0, config.rng_iommu));
  }
  TRY(AddPlainDevices());
  return AddMemoryDevices();
}

Status Board::AddPlainDevices() {
  const VmConfig& config = *parts_.config;
  if (parts_.console != nullptr) TRY(AddConsole());
  if (config.vsock.has_value()) TRY(AddVsock(*config.vsock));
  if (config.balloon.has_value()) {
    balloon_ = VirtioBalloon::Create(
        {config.balloon->size.bytes(), config.balloon->deflate_on_oom, config.balloon->free_page_reporting},
        *parts_.loop);
    TRY(AddVirtio(balloon_, "balloon0"));
  }
  if (config.pvpanic) TRY(AddFunction(MakePvpanic(events_.on_panic), "pvpanic0", 0));
  return OkStatus();
}

Status Board::AddConsole() {
  // The backend outlives the board.
  auto device = VirtioConsole::Create(std::make_shared<BackendSink>(*parts_.console), *parts_.loop);
  parts_.console->SetReceiver([weak = std::weak_ptr(device)](std::span<const uint8_t> data) {
    auto console = weak.lock();
    return console ? console->Receive(data) : data.size();
  });
  TRY(AddVirtio(std::move(device), "console0"));
  return OkStatus();
}

Status Board::AddMemoryDevices() {
  if (parts_.config->memory.hotplug_method != HotplugMethod::kVirtioMem) return OkStatus();
  const std::map<std::string, uint32_t> nodes = NodesOfZones(*parts_.config);
  std::vector<uint32_t> ids;
  ids.reserve(parts_.config->numa.size());
  for (const NumaConfig& node : parts_.config->numa) ids.push_back(node.guest_numa_id);
  const std::map<uint32_t, uint32_t> domains = acpi::ProximityDomains(ids);
  for (const MemoryRegion& area : parts_.memory->hotplug_areas()) {
    // A guest that starts knows nothing of what an earlier one had: it plugs again what it wants.
    for (const PlugMap::Run& run :
         parts_.saved == nullptr ? area.plug->Runs() : std::vector<PlugMap::Run>()) {
      TRY(ram_->Unplug(area, run.offset, run.length));
    }
    std::optional<uint16_t> domain;
    if (auto node = nodes.find(area.zone); node != nodes.end()) {
      domain = static_cast<uint16_t>(domains.at(node->second));
    }
    auto device = VirtioMem::Create(area, domain, *ram_, *parts_.loop);
    auto requested = parts_.requested_memory->find(area.zone);
    if (requested != parts_.requested_memory->end()) TRY(device->Request(requested->second));
    TRY(AddVirtio(device, "__mem-" + area.zone));
    memory_devices_.push_back(std::move(device));
  }
  return OkStatus();
}

Status Board::AddAssignedDevices() {
  for (uint32_t i = 0; i < layout::kIntxPins; ++i) {
    intx_pins_.push_back(SharedPin::Create(ioapic_, layout::kFirstIntxIrq + i));
  }
  if (parts_.assigned == nullptr) return OkStatus();
  if (confidential_ != nullptr) {
    TRY(parts_.assigned->Follow(*confidential_));
  } else {
    parts_.assigned->ForgetUnplugged(*parts_.memory);
    TRY(ram_->AddListener(*parts_.assigned));
  }
  return parts_.assigned->PlugAllInto(SlotsForAssigned());
}

AssignedDeviceSlots Board::SlotsForAssigned() {
  AssignedDeviceSlots slots;
  slots.vm = vm_.get();
  slots.interrupts = [this](uint32_t segment) { return InterruptsOf(segment); };
  slots.memory_slots = slots_.get();
  slots.loop = parts_.loop;
  slots.add = [this](std::shared_ptr<PciFunction> function, const std::string& id, uint32_t segment,
                     const std::shared_ptr<MsiController>& interrupts) {
    return AddFunction(std::move(function), id, segment, interrupts);
  };
  slots.join_iommu = [this](const PciPlace& place, std::shared_ptr<IommuEndpoint> endpoint) {
    return JoinIommu(place, std::move(endpoint));
  };
  slots.withdraw = [this](const std::string& id) { pci_->Withdraw(id); };
  slots.connect = [this](const PciPlace& place, std::function<void()> on_end) {
    return intx_pins_[place.slot % intx_pins_.size()]->Connect(std::move(on_end));
  };
  slots.events.on_error = [events = events_](const std::string& id) {
    events.on_failure("device " + id + " has met an error that it does not recover from");
  };
  slots.events.on_wanted = events_.on_device_wanted;
  return slots;
}

Status Board::SetUpVcpu(uint32_t id, KvmVcpu& vcpu) {
  TRY(vcpu.SetCpuid(BuildCpuid(supported_cpuid_, capabilities_, topology_, id, tsc_khz_)));
  if (tsc_khz_ != 0) TRY(vcpu.SetTscKhz(tsc_khz_));
  if (confidential_ != nullptr) {
    TRY(confidential_->launch().InitVcpu(vcpu, id));
    if (confidential_->launch().owns_registers()) return OkStatus();
  }
  TRY(vcpu.SetMsrs(BootMsrs()));
  TRY_ASSIGN(kvm_lapic_state lapic, vcpu.GetLapic());
  return vcpu.SetLapic(BootLapic(lapic));
}

Status Board::CreateVcpu(uint32_t id, const VcpuSnapshot* saved) {
  VcpuTargets targets;
  targets.ports = &ports_;
  targets.mmio = &mmio_;
  targets.requests = confidential_.get();
  targets.vcpu = id;
  targets.end_of_interrupt = [ioapic = ioapic_](uint8_t vector) { ioapic->EndOfInterrupt(vector); };
  auto on_end = [events = events_](uint32_t vcpu, const VcpuEnding& ending) {
    switch (ending.end) {
      case VcpuEnd::kReset:
        return events.on_reset();
      case VcpuEnd::kPowerOff:
        return events.on_power_off();
      case VcpuEnd::kFailed:
        return events.on_failure("vCPU " + std::to_string(vcpu) + ": " + ending.message);
    }
  };
  // KVM takes the vCPU's number for its APIC id.
  TRY_ASSIGN(auto vcpu, vm_->CreateVcpu(topology_.vcpus[id].apic_id));
  if (id == 0) {
    if (auto khz = vcpu->TscKhz(); khz.has_value()) tsc_khz_ = *khz;
  }
  Status status = saved == nullptr ? SetUpVcpu(id, *vcpu) : vcpu->Restore(*saved);
  if (id == 0 && saved != nullptr) {
    // Those that are plugged later are as those that the guest has, not as this host's would be.
    supported_cpuid_ = saved->cpuid;
    tsc_khz_ = saved->tsc_khz;
  }
  if (!status.ok()) return std::move(status).WithContext("vCPU " + std::to_string(id));
  if (id == 0 && saved == nullptr) TRY(LoadGuest(*vcpu));
  auto affinity = parts_.config->cpus.affinity.find(id);
  CpuSet cpus = affinity == parts_.config->cpus.affinity.end() ? CpuSet() : affinity->second;
  TRY_ASSIGN(auto thread, VcpuThread::Create(id, std::move(vcpu), cpus, targets, on_end));
  if (parts_.config->cpus.core_scheduling == CoreScheduling::kVcpu) {
    TRY(KeepCoreFromOthers(CoreGroup::kThread, thread->thread_id()));
  }
  vcpus_.push_back(std::move(thread));
  return OkStatus();
}

Status Board::CreateVcpus() {
  if (confidential_ != nullptr) {
    TRY(confidential_->launch().InitVm(*vm_, BuildCpuid(supported_cpuid_, capabilities_, topology_, 0, 0)));
  }
  for (uint32_t id = 0; id < parts_.config->cpus.boot; id++) TRY(CreateVcpu(id));
  return confidential_ == nullptr ? OkStatus() : confidential_->launch().Finish(*vm_);
}

Result<acpi::AcpiTables> Board::BuildTables() const {
  return acpi::BuildAcpiTables(BuildAcpiInput(*parts_.config, topology_, *parts_.memory, pci_->Places(),
                                              *parts_.performance, physical_bits_));
}

Result<uint64_t> Board::WriteAcpiTables() {
  TRY_ASSIGN(acpi::AcpiTables tables, BuildTables());
  for (const acpi::AcpiBlob& blob : tables.blobs) TRY(parts_.memory->Write(blob.gpa, blob.bytes));
  return Raw(tables.rsdp);
}

std::string Board::Cmdline() const {
  const VmConfig& config = *parts_.config;
  if (confidential_ == nullptr || config.cmdline.find("swiotlb=") != std::string::npos) return config.cmdline;
  // All that devices may reach lies in the bounce buffer: as large as the guest's kernel would make it, which
  // is what was counted when the host was chosen.
  const uint64_t slabs = confidential_->bounce_bytes() / kSwiotlbSlabBytes;
  return config.cmdline + (config.cmdline.empty() ? "" : " ") + "swiotlb=" + std::to_string(slabs) + ",force";
}

Status Board::LaunchGuest(KvmVcpu& boot_vcpu) {
  LaunchContent content;
  for (const MemoryRegion& region : parts_.memory->regions()) {
    content.ram.push_back({Raw(region.base), region.size});
  }
  const std::string& kernel = confidential_->boot().kernel;
  content.kernel = {reinterpret_cast<const uint8_t*>(kernel.data()), kernel.size()};
  content.cmdline = Cmdline();
  TRY_ASSIGN(acpi::AcpiTables tables, BuildTables());
  for (const acpi::AcpiBlob& blob : tables.blobs) {
    // The firmware makes the list of the tables itself.
    const std::string_view name(reinterpret_cast<const char*>(blob.bytes.data()),
                                std::min<size_t>(blob.bytes.size(), 4));
    if (name != "RSD " && name != "XSDT") content.acpi_tables.push_back(blob.bytes);
  }
  return confidential_->launch().Load(*vm_, boot_vcpu, content);
}

Status Board::LoadGuest(KvmVcpu& boot_vcpu) {
  if (confidential_ != nullptr && confidential_->launch().starts_private()) return LaunchGuest(boot_vcpu);
  const VmConfig& config = *parts_.config;
  if (config.firmware) return LoadFirmware(boot_vcpu);
  LinuxBoot boot;
  TRY_ASSIGN(auto kernel, OpenImageFile(config.kernel));
  boot.kernel = kernel.get();
  std::unique_ptr<ImageSource> initramfs;
  if (config.initramfs.has_value()) {
    TRY_ASSIGN(initramfs, OpenImageFile(*config.initramfs));
    boot.initramfs = initramfs.get();
  }
  boot.cmdline = Cmdline();
  TRY_ASSIGN(boot.rsdp, WriteAcpiTables());
  TRY(WriteResetVector(*parts_.memory));
  TRY_ASSIGN(BootEntry entry, LoadKernel(*parts_.memory, boot));
  TRY_ASSIGN(VcpuState reset, boot_vcpu.GetState());
  return boot_vcpu.SetState(BootState(reset, entry));
}

Status Board::LoadFirmware(KvmVcpu& boot_vcpu) {
  TRY_ASSIGN(auto image, OpenImageFile(*parts_.config->firmware));
  LinuxBoot boot;
  boot.kernel = image.get();
  TRY_ASSIGN(boot.rsdp, WriteAcpiTables());
  if (IsElf(*image)) {
    TRY(WriteResetVector(*parts_.memory));
    TRY_ASSIGN(BootEntry entry, LoadKernel(*parts_.memory, boot));
    TRY_ASSIGN(VcpuState reset, boot_vcpu.GetState());
    return boot_vcpu.SetState(BootState(reset, entry));
  }
  // The processor starts at its reset vector, in the last bytes of the image.
  TRY_ASSIGN(rom_, FirmwareRom::Load(*image));
  TRY(slots_->Add(Gpa{rom_->base()}, rom_->size(), rom_->host(), /*readonly=*/true));
  return OkStatus();
}

}  // namespace berth::vmm
