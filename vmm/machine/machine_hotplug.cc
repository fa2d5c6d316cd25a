#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/byte_size.h"
#include "common/log.h"
#include "vmm/config/hotplug_plan.h"
#include "vmm/config/json_config.h"
#include "vmm/config/validate.h"
#include "vmm/machine/machine.h"

// Resizing and devices that come and go. A size is checked against everything before anything is done, and
// what the guest has to do is asked for, not waited for.
namespace berth::vmm {
namespace {

constexpr char kVcpus[] = "vcpus";
constexpr char kMemory[] = "memory";
constexpr char kBalloon[] = "balloon";
constexpr std::string_view kZone = "zone ";
constexpr std::string_view kDevice = "device ";

// When requests are looked at.
constexpr std::chrono::milliseconds kSoon{1}, kOften{100}, kSeldom{1000};

std::string Size(uint64_t bytes) {
  return ByteSize(bytes).ToString();
}

}  // namespace

// A guest does its part at any time, and says so to the board only: whoever reads the events need not ask.
Status Machine::WatchRequests() {
  request_timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!request_timer_.valid()) return ErrnoStatus("timer of hot-plug requests", errno);
  return control_.Add(request_timer_.get(), EPOLLIN, [this](uint32_t) {
    uint64_t ticks = 0;
    if (::read(request_timer_.get(), &ticks, sizeof ticks) != sizeof ticks) return;
    // The control loop does not wait for what takes its time, such as a snapshot: there is another tick.
    if (const std::unique_lock lock(mutex_, std::try_to_lock); lock.owns_lock()) LookAtRequests();
  });
}

void Machine::BeginRequest(const std::string& subject, uint64_t wanted, std::chrono::milliseconds timeout) {
  requests_.Begin(subject, wanted, timeout, HotplugRequests::Clock::now());
  SetRequestTimer(kSoon, kOften);
}

void Machine::TellRequest(const HotplugFacts& changed) {
  Tell("vm", "hotplug_changed",
       {{"subject", changed.subject},
        {"wanted", std::to_string(changed.wanted)},
        {"actual", std::to_string(changed.actual)},
        {"state", std::string(HotplugStateName(changed.state))}});
}

std::vector<HotplugFacts> Machine::LookAtRequests() {
  std::vector<HotplugFacts> facts = requests_.Look(
      HotplugRequests::Clock::now(), [this](const std::string& subject) { return ActualOf(subject); },
      [this](const HotplugFacts& changed) { TellRequest(changed); });
  auto any = [&facts](HotplugState state) {
    return std::any_of(facts.begin(), facts.end(), [state](const auto& fact) { return fact.state == state; });
  };
  // One whose time is over may come to it yet.
  const auto next = any(HotplugState::kPending)    ? kOften
                    : any(HotplugState::kTimedOut) ? kSeldom
                                                   : std::chrono::milliseconds(0);
  SetRequestTimer(next, next);
  return facts;
}

void Machine::SetRequestTimer(std::chrono::milliseconds first, std::chrono::milliseconds every) {
  auto time = [](std::chrono::milliseconds value) {
    return timespec{value.count() / 1000, value.count() % 1000 * 1'000'000};
  };
  const itimerspec spec{time(every), time(first)};
  ::timerfd_settime(request_timer_.get(), 0, &spec, nullptr);
}

Status Machine::CheckVcpus(uint32_t wanted, uint32_t max) {
  if (wanted >= 1 && wanted <= max) return OkStatus();
  return InvalidArgument(
      "a guest with " + std::to_string(wanted) + " vCPUs; this one can have 1 to " + std::to_string(max),
      "desired_vcpus", "--cpus max is fixed when the VM is created");
}

Status Machine::ResizeVcpus(uint32_t wanted, std::chrono::milliseconds timeout) {
  if (board_ != nullptr) {
    // Both: a guest that was asked for two may have given back the one below the one that it kept.
    TRY(board_->PlugVcpus(wanted, state_ == VmState::kRunning));
    board_->RequestVcpuRemoval(wanted);
    BeginRequest(kVcpus, wanted, timeout);
  }
  config_.cpus.boot = wanted;
  return OkStatus();
}

uint64_t Machine::BootRam(const std::string& zone) const {
  uint64_t bytes = 0;
  for (const MemoryRegion& region : memory_->memory().regions()) {
    if (region.zone == zone) bytes += region.size;
  }
  return bytes;
}

const MemoryRegion* Machine::FindArea(const std::string& zone) const {
  for (const MemoryRegion& area : memory_->memory().hotplug_areas()) {
    if (area.zone == zone) return &area;
  }
  return nullptr;
}

Status Machine::CheckMemory(uint64_t ram) const {
  if (!config_.memory_zones.empty()) {
    return InvalidArgument("the memory of this VM is described by zones", "desired_ram",
                           "resize one of them by vm.resize-zone");
  }
  const uint64_t boot = BootRam(kDefaultZoneId);
  if (ram < boot) {
    return InvalidArgument(Size(ram) + " are below the size at boot, " + Size(boot), "desired_ram");
  }
  const MemoryRegion* area = FindArea(kDefaultZoneId);
  if (area == nullptr) {
    if (ram == boot) return OkStatus();
    return InvalidArgument("no memory can be added to this VM", "desired_ram",
                           "give --memory hotplug_size when the VM is created");
  }
  const uint64_t wanted = ram - boot;
  const uint64_t plugged = area->plug->plugged();
  if (wanted > area->size) {
    return InvalidArgument(Size(ram) + " are above the " + Size(boot + area->size) +
                               " that this VM can have (size and hotplug_size)",
                           "desired_ram");
  }
  const bool by_acpi = config_.memory.hotplug_method == HotplugMethod::kAcpi;
  if (by_acpi && wanted < plugged) {
    return InvalidArgument("memory that was added by ACPI cannot be taken back: " + Size(ram) +
                               " are below the present " + Size(boot + plugged),
                           "desired_ram", "use hotplug_method=virtio-mem, or a balloon");
  }
  if (wanted % area->plug->block() != 0) {
    return InvalidArgument(
        Size(ram) + " are not the " + Size(boot) + " at boot and a multiple of " + Size(area->plug->block()),
        "desired_ram");
  }
  return OkStatus();
}

Status Machine::ResizeMemory(uint64_t ram, std::chrono::milliseconds timeout) {
  const MemoryRegion* area = FindArea(kDefaultZoneId);
  if (area == nullptr) return OkStatus();
  const uint64_t wanted = ram - BootRam(kDefaultZoneId);
  if (config_.memory.hotplug_method == HotplugMethod::kAcpi) return AddMemoryByAcpi(*area, wanted, timeout);
  return RequestMemory(*area, wanted, timeout);
}

Status Machine::AddMemoryByAcpi(const MemoryRegion& area, uint64_t wanted,
                                std::chrono::milliseconds timeout) {
  const uint64_t plugged = area.plug->plugged();
  if (wanted > plugged) {
    if (board_ == nullptr) {
      return FailedPrecondition("memory is added by ACPI to a running guest only", "desired_ram",
                                "boot the VM first");
    }
    TRY(board_->PlugMemory(area, plugged, wanted - plugged));
    added_memory_.push_back({Raw(area.base) + plugged, wanted - plugged});
  }
  if (board_ != nullptr) BeginRequest(kMemory, BootRam(area.zone) + wanted, timeout);
  return OkStatus();
}

std::string Machine::MemorySubject(const std::string& zone) const {
  return config_.memory_zones.empty() ? std::string(kMemory) : std::string(kZone) + zone;
}

Status Machine::RequestMemory(const MemoryRegion& area, uint64_t wanted, std::chrono::milliseconds timeout) {
  if (board_ != nullptr) {
    VirtioMem* device = board_->FindMemoryDevice(area.zone);
    CHECK(device != nullptr);
    TRY(device->Request(wanted));
    BeginRequest(MemorySubject(area.zone), BootRam(area.zone) + wanted, timeout);
  }
  requested_memory_[area.zone] = wanted;
  const std::optional<ByteSize> added = wanted == 0 ? std::nullopt : std::optional(ByteSize(wanted));
  if (config_.memory_zones.empty()) config_.memory.hotplugged_size = added;
  for (MemoryZoneConfig& zone : config_.memory_zones) {
    if (zone.id == area.zone) zone.hotplugged_size = added;
  }
  return OkStatus();
}

// A guest that starts has nothing yet of what it is asked to plug.
void Machine::BeginMemoryRequests() {
  constexpr std::chrono::seconds kPatience{60};
  for (const auto& [zone, wanted] : requested_memory_) {
    const MemoryRegion* area = FindArea(zone);
    if (area == nullptr || wanted == area->plug->plugged()) continue;
    BeginRequest(MemorySubject(zone), BootRam(zone) + wanted, kPatience);
  }
}

Status Machine::CheckBalloon(uint64_t bytes, std::optional<uint64_t> ram) const {
  if (!config_.balloon) {
    return InvalidArgument("this VM has no balloon", "desired_balloon",
                           "give --balloon when the VM is created");
  }
  uint64_t most = 0;
  for (const MemoryRegion& run : memory_->memory().PresentRuns()) most += run.size;
  most = ram.value_or(most);
  if (bytes % 4096 == 0 && bytes <= most) return OkStatus();
  return InvalidArgument(
      "a balloon of " + Size(bytes) + "; it can have 0 to " + Size(most) + " in pages of 4K",
      "desired_balloon");
}

void Machine::ResizeBalloon(uint64_t bytes, std::chrono::milliseconds timeout) {
  config_.balloon->size = ByteSize(bytes);
  if (board_ == nullptr) return;
  board_->balloon()->Request(bytes);
  BeginRequest(kBalloon, bytes, timeout);
}

Status Machine::Resize(const ResizeRequest& request) {
  std::lock_guard lock(mutex_);
  if (request.vcpus) TRY(CheckVcpus(*request.vcpus, config_.cpus.max));
  if (request.ram) TRY(CheckMemory(*request.ram));
  if (request.balloon) TRY(CheckBalloon(*request.balloon, request.ram));
  if (request.ram) TRY(ResizeMemory(*request.ram, request.timeout));
  if (request.vcpus) TRY(ResizeVcpus(*request.vcpus, request.timeout));
  if (request.balloon) ResizeBalloon(*request.balloon, request.timeout);
  LOG(kInfo, "vm_resize_requested", {{"vcpus", config_.cpus.boot}, {"ram", request.ram.value_or(0)}});
  return OkStatus();
}

Status Machine::ResizeZone(const std::string& zone, uint64_t ram, std::chrono::milliseconds timeout) {
  std::lock_guard lock(mutex_);
  const uint64_t boot = BootRam(zone);
  if (boot == 0) return NotFound("no memory zone " + zone, "id");
  const MemoryRegion* area = FindArea(zone);
  if (config_.memory.hotplug_method != HotplugMethod::kVirtioMem) {
    return InvalidArgument("zones can be resized only by virtio-mem", "id",
                           "give --memory hotplug_method=virtio-mem when the VM is created");
  }
  if (area == nullptr) {
    return InvalidArgument("nothing can be added to zone " + zone, "id",
                           "give the zone a hotplug_size when the VM is created");
  }
  if (ram < boot || ram - boot > area->size || (ram - boot) % area->plug->block() != 0) {
    return InvalidArgument("zone " + zone + " can have " + Size(boot) + " to " + Size(boot + area->size) +
                               " in steps of " + Size(area->plug->block()) + ", not " + Size(ram),
                           "desired_ram");
  }
  return RequestMemory(*area, ram - boot, timeout);
}

uint64_t Machine::ActualOf(const std::string& subject) const {
  if (board_ == nullptr) return 0;
  if (subject == kVcpus) return board_->vcpus_present();
  if (subject == kBalloon) return board_->balloon()->actual();
  if (subject == kMemory || subject.starts_with(kZone)) {
    const std::string zone = subject == kMemory ? kDefaultZoneId : subject.substr(kZone.size());
    const MemoryRegion* area = FindArea(zone);
    const uint64_t plugged = area == nullptr ? 0 : area->plug->plugged();
    // What the guest has not looked at is not there for it.
    if (board_->memory_pending() > 0 && !added_memory_.empty()) {
      return BootRam(zone) + plugged - added_memory_.back().size;
    }
    return BootRam(zone) + plugged;
  }
  return board_->pci().Find(subject.substr(kDevice.size())) ? 1 : 0;
}

Result<PciPlace> Machine::Plug(std::string_view option, const VmConfig& with) {
  if (option == "disk") return board_->PlugDisk(with.disks.back());
  if (option == "vsock") return board_->PlugVsock(*with.vsock);
  if (option == "device") {
    TRY(board_->CheckAssigned(with.devices.back()));
    // What the device loop plugs meanwhile must not miss the first device.
    TRY(board_->ram().Still([&] { return assigned_->Add(with.devices.back()); }));
    Result<PciPlace> place = board_->PlugAssigned(with.devices.back().id);
    if (!place.has_value()) {
      DropRemoved();  // what is left of it on the board uses the device
      RemoveAssigned(with.devices.back().id);
    }
    return place;
  }
  TRY_ASSIGN(NetPort port, OpenNetPort(with.nets.back()));
  TRY_ASSIGN(PciPlace place, board_->PlugNet(port));
  nets_.push_back(std::move(port));
  return place;
}

Result<AddedDevice> Machine::AddDevice(std::string_view option, std::string_view json,
                                       std::vector<UniqueFd> fds, ConfigErrors* errors) {
  std::lock_guard lock(mutex_);
  std::vector<int> numbers;
  numbers.reserve(fds.size());
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  ConfigResult<VmConfig> with = ConfigWithDevice(config_, option, json, numbers);
  if (!with.has_value()) {
    std::string text = ToText(with.error());
    while (text.ends_with('\n')) text.pop_back();
    const std::string key = with.error()[0].key;
    if (errors != nullptr) *errors = std::move(with).error();
    return InvalidArgument(text, key);
  }
  // From here on they are the configuration's, whose network device takes them over.
  for (UniqueFd& fd : fds) fd.release();
  AddedDevice added;
  added.id = LastDeviceId(*with, option);
  if (board_ != nullptr) {
    TRY_ASSIGN(PciPlace place, Plug(option, *with));
    added.place = place.ToString();
    BeginRequest(std::string(kDevice) + added.id, 1, std::chrono::milliseconds(0));
  } else if (option == "device") {
    TRY(assigned_->Add(with->devices.back()));
  } else if (option == "net") {
    TRY_ASSIGN(NetPort port, OpenNetPort(with->nets.back()));
    nets_.push_back(std::move(port));
  }
  config_ = *std::move(with);
  LOG(kInfo, "device_added", {{"id", added.id}, {"place", added.place.value_or("")}});
  Tell("vm", "device_added", {{"id", added.id}, {"bdf", added.place.value_or("")}});
  return added;
}

Status Machine::RemoveDevice(const std::string& id, std::chrono::milliseconds timeout) {
  std::lock_guard lock(mutex_);
  auto named = [&id](const auto& device) { return device.id == id; };
  const bool known = std::any_of(config_.disks.begin(), config_.disks.end(), named) ||
                     std::any_of(config_.nets.begin(), config_.nets.end(), named) ||
                     std::any_of(config_.devices.begin(), config_.devices.end(), named) ||
                     (config_.vsock && named(*config_.vsock));
  if (!known) {
    return NotFound("no disk, network device, host device or vsock device " + id, "id")
        .WithHint("vm.info lists what there is");
  }
  if (board_ == nullptr) {
    ForgetDevice(id);
    return OkStatus();
  }
  TRY(board_->RequestDeviceRemoval(id));
  BeginRequest(std::string(kDevice) + id, 0, timeout);
  return OkStatus();
}

void Machine::GiveDeviceBack(const std::string& id) {
  constexpr std::chrono::seconds kPatience{30};
  if (board_ == nullptr || !board_->pci().Find(id)) return;
  const auto now = std::chrono::steady_clock::now();
  auto [since, fresh] = wanted_.try_emplace(id, now);
  if (fresh) {
    LOG(kWarning, "device_wanted_by_host", {{"id", id}});
    if (Status status = board_->RequestDeviceRemoval(id); !status.ok()) {
      LOG(kError, "device_not_asked_back", {{"id", id}, {"error", status}});
    }
    return;
  }
  if (now - since->second < kPatience) return;
  LOG(kWarning, "device_taken_away", {{"id", id}, {"seconds", kPatience.count()}});
  board_->TakeDeviceAway(id);
}

Status Machine::ResizeDisk(const std::string& id, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (board_ == nullptr)
    return FailedPrecondition("resize-disk: the VM is " + std::string(VmStateName(state_)));
  return board_->GrowDisk(id, bytes);
}

void Machine::RemoveAssigned(const std::string& id) {
  auto remove = [&] {
    assigned_->Remove(id);
    return OkStatus();
  };
  // What the device loop plugs meanwhile must not meet it half-way.
  CHECK((board_ != nullptr ? board_->ram().Still(remove) : remove()).ok());
}

void Machine::ForgetDevice(const std::string& id) {
  for (const NumaConfig& node : config_.numa) {
    if (node.device_id != id) continue;
    LOG(kWarning, "numa_node_without_device", {{"guest_numa_id", node.guest_numa_id}, {"device", id}});
  }
  DropDevice(config_, id);
  RemoveAssigned(id);
  std::erase_if(nets_, [&id](const NetPort& port) { return port.id == id; });
}

}  // namespace berth::vmm
