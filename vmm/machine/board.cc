#include "vmm/machine/board.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "common/log.h"
#include "vmm/boot/image_source.h"
#include "vmm/boot/linux_loader.h"
#include "vmm/boot/reset_vector.h"
#include "vmm/bus/layout.h"
#include "vmm/machine/acpi_input.h"
#include "vmm/vcpu/cpuid.h"
#include "vmm/vcpu/registers.h"
#include "vmm/virtio/block.h"
#include "vmm/virtio/disk_file.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/pci_transport.h"
#include "vmm/virtio/rng.h"

namespace berth::vmm {
namespace {

uint64_t MonotonicNanoseconds() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

Result<std::unique_ptr<Board>> Board::Create(const BoardParts& parts, BoardEvents events) {
  std::unique_ptr<Board> board(new Board(parts, std::move(events)));
  TRY_ASSIGN(board->capabilities_, parts.kvm->Probe());
  TRY_ASSIGN(board->supported_cpuid_, parts.kvm->SupportedCpuid());
  board->physical_bits_ = PhysicalAddressBits(board->supported_cpuid_);
  TRY_ASSIGN(board->topology_, BuildCpuTopology(parts.config->cpus, parts.config->numa));
  TRY(board->CreateVm());
  TRY(board->AddPlatformDevices());
  TRY(board->AddPci());
  TRY(board->AddVirtioDevices());
  TRY(board->AddAssignedDevices());
  TRY(board->CreateVcpus());
  return board;
}

Board::~Board() {
  Stop();
}

void Board::Run() {
  for (auto& vcpu : vcpus_) vcpu->Run();
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
  TRY_ASSIGN(vm_, parts_.kvm->CreateVm());
  TRY(vm_->ReservePages(Gpa{layout::kKvmTss}, Gpa{layout::kKvmIdentityMap}));
  TRY(vm_->EnableSplitIrqchip(layout::kIoApicPins));
  if (capabilities_.x2apic_api) TRY(vm_->EnableX2apicIds());
  slots_ = std::make_unique<MemorySlots>(*vm_, capabilities_.max_memory_slots);
  for (const MemoryRegion& region : parts_.memory->regions()) {
    Result<uint32_t> slot = slots_->Add(region.base, region.size, region.host, false);
    if (!slot.has_value()) return std::move(slot).error().WithContext("memory zone " + region.zone);
  }
  routes_ = std::make_unique<InterruptRoutes>(*vm_, layout::kIoApicPins);
  io_events_ = std::make_unique<KvmIoEvents>(*vm_);
  return OkStatus();
}

Status Board::AddPlatformDevices() {
  ioapic_sink_ = std::make_unique<KvmIoApicSink>(*vm_, *routes_);
  ioapic_ = std::make_shared<IoApic>(*ioapic_sink_);
  TRY(mmio_.Insert(layout::kIoApicBase, layout::kIoApicSize, ioapic_, "ioapic"));

  ged_ = std::make_shared<GedNotifier>(ConnectPin(ioapic_, layout::kGedIrq));
  const uint64_t platform = layout::PlatformAreaBase(physical_bits_);
  TRY(mmio_.Insert(platform + layout::kGedOffset, layout::kGedSize, ged_, "ged"));

  TRY(ports_.Insert(layout::kI8042Port, layout::kI8042PortSize, std::make_shared<I8042>(events_.on_reset),
                    "i8042"));
  TRY(ports_.Insert(layout::kAcpiPortBase, layout::kAcpiPortSize,
                    std::make_shared<AcpiPower>(events_.on_power_off, events_.on_reset), "acpi-power"));
  TRY(ports_.Insert(layout::kPmTimerPort, layout::kPmTimerPortSize,
                    std::make_shared<PmTimer>(MonotonicNanoseconds), "pm-timer"));
  TRY(ports_.Insert(layout::kRtcPort, layout::kRtcPortSize,
                    std::make_shared<Rtc>([] { return ::time(nullptr); }), "rtc"));
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
  PciWindows windows = WindowsFor(*parts_.memory, physical_bits_);
  const PciWindow io{layout::kPciIoBase, layout::kPciIoSize};
  bars_ = std::make_unique<BarAllocator>(windows.mmio32, windows.mmio64, io);
  pci_ = std::make_shared<PciSegment>(0, mmio_, std::vector{windows.mmio32, windows.mmio64},
                                      PciSegment::IoSpace{&ports_, io});
  TRY(pci_->Add(MakeHostBridge(), "host-bridge", 0));
  TRY(mmio_.Insert(layout::kPciConfigBase, layout::kPciConfigSegmentSize, pci_, "pci-config"));
  return ports_.Insert(layout::kPciConfigAddressPort, layout::kPciConfigPortSize,
                       std::make_shared<PciConfigPorts>(pci_), "pci-ports");
}

Status Board::AddVirtio(std::shared_ptr<VirtioDevice> device, const std::string& id) {
  TRY_ASSIGN(auto transport,
             VirtioPciTransport::Create(std::move(device), *parts_.memory, *routes_, *io_events_));
  TRY(bars_->Place(transport->config()));
  TRY(pci_->Add(transport, id));
  return OkStatus();
}

Status Board::AddVirtioDevices() {
  const VmConfig& config = *parts_.config;
  for (const DiskConfig& disk : config.disks) {
    Result<DiskFile> file = DiskFile::Open(disk.path, disk.readonly, disk.direct);
    if (!file.has_value()) return std::move(file).error().WithField("disk " + disk.id);
    TRY_ASSIGN(auto device, VirtioBlock::Create(*std::move(file), disk.id));
    TRY(AddVirtio(std::move(device), disk.id));
  }
  for (const NetPort& net : *parts_.nets) {
    TRY_ASSIGN(Tap tap, net.ShareTap());
    TRY(AddVirtio(VirtioNet::Create(std::move(tap), net.mac, *parts_.loop), net.id));
  }
  if (!config.rng.empty()) {
    Result<std::shared_ptr<VirtioRng>> device = VirtioRng::Open(config.rng, *parts_.loop);
    if (!device.has_value()) return std::move(device).error().WithField("rng");
    TRY(AddVirtio(*std::move(device), "rng0"));
  }
  return OkStatus();
}

Status Board::AddAssignedDevices() {
  if (parts_.assigned == nullptr || parts_.assigned->empty()) return OkStatus();
  for (uint32_t i = 0; i < layout::kIntxPins; ++i) {
    intx_pins_.push_back(SharedPin::Create(ioapic_, layout::kFirstIntxIrq + i));
  }
  AssignedDeviceSlots board;
  board.vm = vm_.get();
  board.interrupts = routes_.get();
  board.slots = slots_.get();
  board.loop = parts_.loop;
  board.add = [this](std::shared_ptr<PciFunction> function, const std::string& id, uint32_t) {
    return AddFunction(std::move(function), id);
  };
  board.connect = [this](uint32_t slot, std::function<void()> on_end) {
    return intx_pins_[slot % intx_pins_.size()]->Connect(std::move(on_end));
  };
  board.events.on_error = [events = events_](const std::string& id) {
    events.on_failure("device " + id + " has met an error that it does not recover from");
  };
  board.events.on_wanted = [](const std::string& id) {
    LOG(kWarning, "vfio_device_wanted_back", {{"id", id}});
  };
  return parts_.assigned->PlugInto(board);
}

Result<uint32_t> Board::AddFunction(std::shared_ptr<PciFunction> function, const std::string& id) {
  TRY(bars_->Place(function->config()));
  return pci_->Add(std::move(function), id);
}

Status Board::SetUpVcpu(uint32_t id, KvmVcpu& vcpu, uint32_t tsc_khz) {
  TRY(vcpu.SetCpuid(BuildCpuid(supported_cpuid_, capabilities_, topology_, id, tsc_khz)));
  TRY(vcpu.SetMsrs(BootMsrs()));
  TRY_ASSIGN(kvm_lapic_state lapic, vcpu.GetLapic());
  return vcpu.SetLapic(BootLapic(lapic));
}

Status Board::CreateVcpus() {
  VcpuTargets targets;
  targets.ports = &ports_;
  targets.mmio = &mmio_;
  targets.end_of_interrupt = [ioapic = ioapic_](uint8_t vector) { ioapic->EndOfInterrupt(vector); };
  auto on_end = [events = events_](uint32_t id, const VcpuEnding& ending) {
    switch (ending.end) {
      case VcpuEnd::kReset:
        return events.on_reset();
      case VcpuEnd::kPowerOff:
        return events.on_power_off();
      case VcpuEnd::kFailed:
        return events.on_failure("vCPU " + std::to_string(id) + ": " + ending.message);
    }
  };
  uint32_t tsc_khz = 0;
  for (uint32_t id = 0; id < parts_.config->cpus.boot; id++) {
    // KVM takes the vCPU's number for its APIC id.
    TRY_ASSIGN(auto vcpu, vm_->CreateVcpu(topology_.vcpus[id].apic_id));
    if (id == 0) {
      if (auto khz = vcpu->TscKhz(); khz.has_value()) tsc_khz = *khz;
    }
    Status status = SetUpVcpu(id, *vcpu, tsc_khz);
    if (!status.ok()) return std::move(status).WithContext("vCPU " + std::to_string(id));
    if (id == 0) TRY(LoadGuest(*vcpu));
    auto affinity = parts_.config->cpus.affinity.find(id);
    CpuSet cpus = affinity == parts_.config->cpus.affinity.end() ? CpuSet() : affinity->second;
    TRY_ASSIGN(auto thread, VcpuThread::Create(id, std::move(vcpu), cpus, targets, on_end));
    vcpus_.push_back(std::move(thread));
  }
  return OkStatus();
}

Result<uint64_t> Board::WriteAcpiTables() {
  TRY_ASSIGN(acpi::AcpiTables tables, acpi::BuildAcpiTables(BuildAcpiInput(*parts_.config, topology_,
                                                                           *parts_.memory, physical_bits_)));
  for (const acpi::AcpiBlob& blob : tables.blobs) TRY(parts_.memory->Write(blob.gpa, blob.bytes));
  return Raw(tables.rsdp);
}

Status Board::LoadGuest(KvmVcpu& boot_vcpu) {
  const VmConfig& config = *parts_.config;
  LinuxBoot boot;
  TRY_ASSIGN(auto kernel, OpenImageFile(config.kernel));
  boot.kernel = kernel.get();
  std::unique_ptr<ImageSource> initramfs;
  if (config.initramfs.has_value()) {
    TRY_ASSIGN(initramfs, OpenImageFile(*config.initramfs));
    boot.initramfs = initramfs.get();
  }
  boot.cmdline = config.cmdline;
  TRY_ASSIGN(boot.rsdp, WriteAcpiTables());
  TRY(WriteResetVector(*parts_.memory));
  TRY_ASSIGN(BootEntry entry, LoadLinux(*parts_.memory, boot));
  TRY_ASSIGN(VcpuState reset, boot_vcpu.GetState());
  return boot_vcpu.SetState(BootState(reset, entry));
}

}  // namespace berth::vmm
