#include "vmm/machine/machine.h"

#include <pthread.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "vmm/bus/thread_affinity.h"
#include "vmm/config/validate.h"
#include "vmm/jail/thread_filter.h"
#include "vmm/machine/acpi_input.h"
#include "vmm/machine/core_dump.h"
#include "vmm/machine/preflight.h"

namespace berth::vmm {
namespace {

// All threads of this process but the vCPUs', by name.
std::vector<ThreadFacts> OtherThreads() {
  std::vector<ThreadFacts> threads;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", error)) {
    const std::string number = entry.path().filename().string();
    ThreadFacts thread;
    std::from_chars(number.data(), number.data() + number.size(), thread.tid);
    Result<std::string> name = ReadFile(entry.path().string() + "/comm");
    if (!name.has_value()) continue;  // it has ended meanwhile
    thread.name = name->substr(0, name->find('\n'));
    if (!thread.name.starts_with("vcpu")) threads.push_back(std::move(thread));
  }
  return threads;
}

}  // namespace

Machine::Machine(Kvm& kvm, VmConfig config, EventLoop& control, std::function<void(MachineEnd)> on_end,
                 EventMonitor* monitor)
    : kvm_(kvm),
      control_(control),
      on_end_(std::move(on_end)),
      monitor_(monitor),
      config_(std::move(config)) {
  config_.cpus.max = MaxVcpus(config_.cpus);  // stays when boot changes
  if (config_.memory.hotplug_method != HotplugMethod::kVirtioMem) return;
  for (const MemoryZoneConfig& zone : EffectiveZones(config_)) {
    if (zone.hotplugged_size) requested_memory_[zone.id] = zone.hotplugged_size->bytes();
  }
}

namespace {

// The zones as the host maps them. What a guest that starts private has there is the little that it will
// share: it comes page by page, and what the zone asks for holds for the private side.
std::vector<MemoryZoneConfig> HostZones(const VmConfig& config, const ConfidentialBoot* boot) {
  std::vector<MemoryZoneConfig> zones = EffectiveZones(config);
  if (boot == nullptr || !boot->launch->starts_private()) return zones;
  for (MemoryZoneConfig& zone : zones) zone.prefault = zone.thp = zone.reserve = false;
  return zones;
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::Create(Kvm& kvm, VmConfig config, EventLoop& control,
                                                 std::function<void(MachineEnd)> on_end,
                                                 EventMonitor* monitor, const VfioSource& vfio) {
  std::unique_ptr<Machine> machine(new Machine(kvm, std::move(config), control, std::move(on_end), monitor));
  TRY_ASSIGN(machine->nets_, OpenNetPorts(machine->config_.nets));
  TRY(machine->WatchRequests());
  TRY(CheckSgx(machine->config_));
  TRY(AssignedDevices::Check(machine->config_, vfio));
  // Images that cannot be launched are found before anything runs.
  TRY_ASSIGN(const std::unique_ptr<ConfidentialBoot> boot, ConfidentialBoot::Read(machine->config_));
  TRY_ASSIGN(machine->devices_, EventLoop::Create());
  TRY_ASSIGN(machine->starter_, WorkerLoop::Start({.name = "starter", .kind = ThreadKind::kControl}));
  if (machine->config_.serial.mode != SerialConfig::Mode::kOff) {
    TRY_ASSIGN(machine->serial_, OpenSerialBackend(machine->config_.serial, *machine->devices_));
  }
  if (machine->config_.console.mode != SerialConfig::Mode::kOff) {
    Result<std::shared_ptr<SerialBackend>> console =
        OpenSerialBackend(machine->config_.console, *machine->devices_);
    if (!console.has_value()) return std::move(console).error().WithContext("console");
    machine->console_ = *std::move(console);
  }
  // What a terminal is called is known only now; vm.info tells.
  if (machine->serial_ && !machine->serial_->terminal().empty()) {
    machine->config_.serial.path = machine->serial_->terminal();
  }
  if (machine->console_ && !machine->console_->terminal().empty()) {
    machine->config_.console.path = machine->console_->terminal();
  }
  TRY_ASSIGN(machine->memory_, ZonedMemory::Create(HostZones(machine->config_, boot.get()),
                                                   machine->config_.memory.hotplug_method));
  TRY_ASSIGN(machine->assigned_, AssignedDevices::Open(machine->config_, machine->memory_->memory(), vfio));
  machine->performance_ = ReadHostPerformance(machine->config_);
  return machine;
}

Machine::~Machine() {
  if (request_timer_.valid()) control_.Remove(request_timer_.get());
  std::lock_guard lock(mutex_);
  StopBoard();
}

Status Machine::Boot() {
  std::lock_guard lock(mutex_);
  if (board_ != nullptr) {
    return FailedPrecondition("boot: the VM is " + std::string(VmStateName(state_)));
  }
  return StartBoard();
}

Status Machine::Require(VmState state, std::string_view action) const {
  if (state_ == state) return OkStatus();
  return FailedPrecondition(std::string(action) + ": the VM is " + std::string(VmStateName(state_)) +
                            ", must be " + std::string(VmStateName(state)));
}

Status Machine::Perform(VmAction action) {
  std::lock_guard lock(mutex_);
  switch (action) {
    case VmAction::kPowerButton:
      TRY(Require(VmState::kRunning, "power-button"));
      board_->PressPowerButton();
      return OkStatus();
    case VmAction::kNmi:
      TRY(Require(VmState::kRunning, "nmi"));
      return board_->SendNmi();
    case VmAction::kPause:
      TRY(Require(VmState::kRunning, "pause"));
      board_->Pause();
      state_ = VmState::kPaused;
      LOG(kInfo, "vm_paused");
      Tell("vm", "paused");
      return OkStatus();
    case VmAction::kResume:
      TRY(Require(VmState::kPaused, "resume"));
      board_->Run();
      state_ = VmState::kRunning;
      LOG(kInfo, "vm_resumed");
      Tell("vm", "resumed");
      return OkStatus();
    case VmAction::kReboot:
      if (board_ == nullptr) return Require(VmState::kRunning, "reboot");
      Post(boots_, [this] { Reboot(); });
      return OkStatus();
    case VmAction::kShutdown:
      if (board_ == nullptr) return Require(VmState::kRunning, "shutdown");
      StopBoard();
      LOG(kInfo, "vm_shut_down");
      Tell("vm", "shutdown");
      return OkStatus();
    case VmAction::kExit:
      Post(boots_, [this] { End({MachineEnd::Kind::kPoweredOff, {}}); });
      return OkStatus();
  }
  return InvalidArgument("unknown action");
}

Status Machine::CoreDump(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (config_.platform.confidential != ConfidentialKind::kNone) {
    return FailedPrecondition(
        "coredump: the memory of a confidential guest is its own, the VMM cannot read it");
  }
  TRY(Require(VmState::kPaused, "coredump"));
  std::vector<VcpuState> vcpus;
  for (const auto& vcpu : board_->vcpus()) {
    TRY_ASSIGN(VcpuState state, vcpu->State());
    vcpus.push_back(state);
  }
  TRY(WriteCoreDump(path, memory_->memory(), vcpus));
  LOG(kInfo, "core_dumped", {{"path", path}});
  Tell("vm", "core_dumped", {{"path", path}});
  return OkStatus();
}

VmConfig Machine::config() {
  std::lock_guard lock(mutex_);
  return config_;
}

VmFacts Machine::Facts() {
  std::lock_guard lock(mutex_);
  VmFacts facts;
  facts.state = state_;
  // Those that are there: a guest may take its time with what is asked back.
  const uint32_t present = board_ == nullptr ? config_.cpus.boot : board_->vcpus_present();
  for (uint32_t id = 0; id < present; id++) {
    VcpuFacts vcpu;
    vcpu.id = id;
    if (board_ != nullptr && id < board_->vcpus().size()) vcpu.tid = board_->vcpus()[id]->thread_id();
    auto affinity = config_.cpus.affinity.find(id);
    if (affinity != config_.cpus.affinity.end()) vcpu.host_cpus = affinity->second;
    facts.vcpus.push_back(std::move(vcpu));
  }
  for (const auto* regions : {&memory_->memory().regions(), &memory_->memory().hotplug_areas()}) {
    for (const MemoryRegion& region : *regions) {
      facts.memory_regions.push_back(
          {region.zone, Raw(region.base), region.size, reinterpret_cast<uintptr_t>(region.host),
           region.plug ? region.plug->plugged() : region.size, region.host_numa_node});
    }
  }
  if (board_ != nullptr && board_->balloon() != nullptr) facts.balloon = board_->balloon()->actual();
  facts.hotplug = LookAtRequests();
  if (board_ != nullptr) {
    for (const auto& [id, place] : board_->pci().Places()) facts.devices.push_back({id, place.ToString()});
  }
  if (board_ != nullptr && board_->confidential() != nullptr) {
    facts.confidential = board_->confidential()->Facts();
  }
  facts.threads = OtherThreads();
  return facts;
}

VmCounters Machine::Counters() {
  std::lock_guard lock(mutex_);
  VmCounters counters;
  counters["vm"]["boots"] = boots_;
  if (board_ == nullptr) return counters;
  for (const auto& vcpu : board_->vcpus()) {
    counters["vcpu" + std::to_string(vcpu->id())]["exits"] = vcpu->exits();
  }
  if (const ConfidentialGuest* guest = board_->confidential()) {
    const ConversionCounters counts = guest->converter().counters();
    auto& told = counters["conversions"];
    told["to_private"] = counts.conversions[static_cast<size_t>(Direction::kToPrivate)];
    told["to_shared"] = counts.conversions[static_cast<size_t>(Direction::kToShared)];
    told["bytes_to_private"] = counts.bytes[static_cast<size_t>(Direction::kToPrivate)];
    told["bytes_to_shared"] = counts.bytes[static_cast<size_t>(Direction::kToShared)];
    told["undone"] = counts.undone;
    told["attribute_calls"] = counts.attribute_calls;
    told["populate_calls"] = counts.populate_calls;
    told["discard_calls"] = counts.discard_calls;
    told["retained_bytes"] = guest->converter().RetainedBytes();
  }
  if (const IntelIommu* iommu = board_->intel_iommu()) {
    counters[kIommuId]["faults"] = iommu->faults();
    counters[kIommuId]["pages_not_mapped"] = iommu->pages_not_mapped();
  }
  if (const DmaEngine* dma = assigned_->shared_dma()) {
    const DmaCounters counts = dma->counters();
    auto& told = counters["dma"];
    told["map_calls"] = counts.maps;
    told["unmap_calls"] = counts.unmaps;
    told["failed_calls"] = counts.failures;
    told["mapped_bytes"] = dma->mapped_bytes();
  }
  for (const auto& [id, device] : board_->devices()) {
    for (const auto& [name, value] : device->Counters()) counters[id][std::string(name)] = value;
  }
  return counters;
}

void Machine::Tell(std::string_view source, std::string_view event,
                   const EventMonitor::Properties& properties) {
  if (monitor_ != nullptr) monitor_->Write(source, event, properties);
}

Status Machine::BuildBoard(StateReader* saved) {
  BoardParts parts;
  parts.saved = saved;
  parts.kvm = &kvm_;
  parts.config = &config_;
  parts.memory = &memory_->memory();
  parts.loop = devices_.get();
  parts.starter = &starter_->loop();
  parts.serial = serial_.get();
  parts.console = console_.get();
  parts.nets = &nets_;
  parts.assigned = assigned_.get();
  parts.performance = &performance_;
  parts.requested_memory = &requested_memory_;
  parts.added_memory = &added_memory_;
  assigned_->Reset();
  TRY(assigned_->ForgetShared());
  TRY_ASSIGN(confidential_, ConfidentialBoot::Read(config_));
  parts.confidential = confidential_.get();
  TRY_ASSIGN(board_, Board::Create(parts, EventsOf(++boots_)));
  return OkStatus();
}

void Machine::StartDevices() {
  device_thread_ = std::thread([loop = devices_.get()] {
    ::pthread_setname_np(::pthread_self(), "devices");
    EnterThread(ThreadKind::kDevices);
    if (Status status = loop->Run(); !status.ok()) LOG(kError, "device_loop_failed", {{"error", status}});
  });
  KeepOn(device_thread_, CpusForDeviceLoop(config_));
}

void Machine::StopDevices() {
  devices_->Stop();
  device_thread_.join();
}

Status Machine::StartBoard() {
  Tell("vm", "booting");
  TRY(BuildBoard(nullptr));
  StartDevices();
  BeginMemoryRequests();
  board_->Run();
  state_ = VmState::kRunning;
  LOG(kInfo, "vm_booted", {{"boot", boots_}, {"vcpus", config_.cpus.boot}});
  Tell("vm", "booted", {{"boot", std::to_string(boots_)}});
  return OkStatus();
}

void Machine::StopBoard() {
  if (board_ == nullptr) return;
  board_->Stop();
  StopDevices();
  DropRemoved();  // what the guest has ejected must not outlive the board
  board_.reset();
  requests_.Clear([this](const HotplugFacts& dropped) { TellRequest(dropped); });
  state_ = VmState::kShutdown;
}

void Machine::DropRemoved() {
  std::vector<RemovedDevice> removed;
  {
    std::lock_guard lock(removed_mutex_);
    removed.swap(removed_);
  }
  for (RemovedDevice& device : removed) {
    if (board_ != nullptr) board_->ForgetDevice(device.id);
    device.function.reset();
    ForgetDevice(device.id);
    wanted_.erase(device.id);
    LOG(kInfo, "device_removed", {{"id", device.id}});
    Tell("vm", "device_removed", {{"id", device.id}});
  }
}

void Machine::Post(uint32_t boot, std::function<void()> handle) {
  control_.Post([this, boot, alive = std::weak_ptr<bool>(alive_), handle = std::move(handle)] {
    if (alive.expired()) return;
    std::lock_guard lock(mutex_);
    if (boot == boots_) handle();
  });
}

BoardEvents Machine::EventsOf(uint32_t boot) {
  BoardEvents events;
  events.on_power_off = [this, boot] { Post(boot, [this] { End({MachineEnd::Kind::kPoweredOff, {}}); }); };
  events.on_reset = [this, boot] { Post(boot, [this] { Reboot(); }); };
  events.on_failure = [this, boot](std::string message) {
    Post(boot, [this, message = std::move(message)] { End({MachineEnd::Kind::kFailed, message}); });
  };
  events.on_panic = [this, boot](GuestPanic panic) {
    Post(boot, [this, panic] {
      LOG(kWarning, "guest_panic", {{"kind", panic == GuestPanic::kPanicked ? "panic" : "crash_loaded"}});
      Tell("guest", "panic", {{"kind", panic == GuestPanic::kPanicked ? "panic" : "crash_loaded"}});
    });
  };
  events.on_vcpu_ejected = [this, boot](uint32_t vcpu) {
    Post(boot, [this, vcpu] {
      if (board_ != nullptr) board_->ParkVcpu(vcpu);
    });
  };
  // The function is let go of on the control loop: a vCPU must not wait for a device's thread.
  events.on_device_removed = [this, boot](const std::string& id, std::shared_ptr<PciFunction> function) {
    {
      std::lock_guard lock(removed_mutex_);
      removed_.push_back({id, std::move(function)});
    }
    Post(boot, [this] { DropRemoved(); });
  };
  events.on_iommu_fault = [this, boot](const PciPlace& place, const IommuFault& fault) {
    Post(boot, [this, place, fault] {
      Tell("iommu", "fault",
           {{"bdf", place.ToString()},
            {"address", std::to_string(fault.address)},
            {"access", fault.write ? "write" : "read"},
            {"reason", fault.reason == IommuFault::Reason::kDomain ? "no domain" : "not mapped"}});
    });
  };
  events.on_device_wanted = [this, boot](const std::string& id) {
    Post(boot, [this, id] { GiveDeviceBack(id); });
  };
  return events;
}

void Machine::Reboot() {
  if (board_ == nullptr) return;
  StopBoard();
  LOG(kInfo, "vm_reset");
  Tell("vm", "reset");
  if (Status status = StartBoard(); !status.ok()) {
    End({MachineEnd::Kind::kFailed, "reset: " + status.ToString()});
  }
}

void Machine::End(MachineEnd end) {
  StopBoard();
  state_ = VmState::kShutdown;
  Tell("vm", end.kind == MachineEnd::Kind::kPoweredOff ? "powered_off" : "failed", {{"reason", end.message}});
  on_end_(std::move(end));
}

}  // namespace berth::vmm
