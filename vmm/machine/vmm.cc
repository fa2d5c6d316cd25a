#include "vmm/machine/vmm.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "vmm/bus/thread_affinity.h"
#include "vmm/config/json_config.h"
#include "vmm/config/validate.h"
#include "vmm/machine/accounting.h"
#include "vmm/machine/preflight.h"
#include "vmm/machine/private_account.h"
#include "vmm/memory/prefault.h"

namespace berth::vmm {
namespace {

Status AsStatus(const ConfigErrors& errors) {
  std::string text = ToText(errors);
  while (text.ends_with('\n')) text.pop_back();
  return InvalidArgument(text, errors[0].key);
}

// What a VM that has not booted can have: without --cpus max, any number.
uint32_t Most(const CpusConfig& cpus) {
  return cpus.max == 0 ? kMaxVcpus : cpus.max;
}

// The field of vm.resize and vm.resize-zone that an option's rule is broken by.
const char* ResizeField(std::string_view option) {
  if (option.starts_with("memory")) return "desired_ram";
  return option == "balloon" ? "desired_balloon" : "desired_vcpus";
}

Status Told(ConfigErrors found, ConfigErrors& errors) {
  errors = std::move(found);
  return AsStatus(errors);
}

MemoryAccount CountAll(const VmFacts& facts) {
  MemoryAccount account =
      CountMemory(ReadFile("/proc/self/numa_maps", 64 << 20).value_or(""), facts.memory_regions);
  if (!facts.confidential) return account;
  PrivateAccount& found = account.confidential.emplace();
  // The kernel adds its counters up when as many pages have changed (MEMCG_CHARGE_BATCH on each CPU).
  constexpr uint64_t kBatchBytes = uint64_t{64} * 4096;
  found.slack = kBatchBytes * static_cast<uint64_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  auto nodes = UnevictableOfCgroup("/sys/fs/cgroup", ReadFile("/proc/self/cgroup").value_or(""), ::getpid());
  if (nodes.has_value()) {
    found.nodes = *std::move(nodes);
  } else {
    found.unknown = nodes.error().message();
  }
  return account;
}

// How long the control loop is waited for.
constexpr std::chrono::seconds kLongest{30};

constexpr char kNone[] = "no VM has been created";

}  // namespace

std::shared_ptr<Machine> Vmm::machine() {
  std::lock_guard lock(mutex_);
  return machine_;
}

bool Vmm::exists() {
  std::lock_guard lock(mutex_);
  return config_.has_value() || machine_ != nullptr;
}

Result<std::shared_ptr<Machine>> Vmm::Booted(std::string_view action) {
  std::lock_guard lock(mutex_);
  if (machine_ != nullptr) return machine_;
  if (!config_) return NotFound(kNone);
  return FailedPrecondition(std::string(action) + ": the VM is Created, must have booted");
}

Status Vmm::CreateVm(VmConfig config) {
  std::lock_guard lock(mutex_);
  if (config_ || machine_ != nullptr)
    return AlreadyExists("there is a VM already").WithHint("delete it first");
  TRY(Confine(config, false));
  config_ = std::move(config);
  LOG(kInfo, "vm_created");
  if (monitor_ != nullptr) monitor_->Write("vm", "created");
  return OkStatus();
}

Status Vmm::Confine(const VmConfig& config, bool restored) {
  const bool before = confinement_.entered();
  TRY(confinement_.Enter(config, restored, [this](std::function<Status()> restrict) -> Status {
    struct Turn {
      std::atomic_flag taken =
          ATOMIC_FLAG_INIT;  // by whoever decides first: the loop, or a wait that is over
      std::promise<Status> done;
    };
    auto turn = std::make_shared<Turn>();
    control_.Post([turn, restrict = std::move(restrict)] {
      if (!turn->taken.test_and_set()) turn->done.set_value(restrict());
    });
    std::future<Status> status = turn->done.get_future();
    if (status.wait_for(kLongest) != std::future_status::ready && !turn->taken.test_and_set()) {
      return Status(StatusCode::kDeadlineExceeded, "the control loop is busy", "", "try again");
    }
    return status.get();
  }));
  if (!before && confinement_.entered()) LOG(kInfo, "confined");
  return OkStatus();
}

Status Vmm::OutOfReach(Status error) {
  if (error.code() != StatusCode::kPermissionDenied || !error.hint().empty()) return error;
  std::lock_guard lock(mutex_);
  if (!confinement_.entered()) return error;
  return std::move(error).WithHint("the process is confined: landlock_rules name what may be added later");
}

Status Vmm::Create(std::string_view json, ConfigErrors& errors) {
  ConfigResult<VmConfig> config = ConfigFromJson(json);
  if (!config.has_value()) return Told(std::move(config).error(), errors);
  ConfigErrors missing = MissingRulePaths(config->landlock.rules);
  if (!missing.empty()) return Told(std::move(missing), errors);
  return CreateVm(*std::move(config));
}

Status Vmm::Boot() {
  std::lock_guard lock(mutex_);
  if (machine_ != nullptr) return machine_->Boot();
  if (!config_) return NotFound(kNone);
  TRY_ASSIGN(auto machine, Machine::Create(kvm_, *config_, control_, on_end_, monitor_));
  // A machine that could not boot is made anew by the next attempt.
  if (Status booted = machine->Boot(); !booted.ok()) return booted;
  machine_ = std::move(machine);
  config_.reset();
  return OkStatus();
}

Status Vmm::RestoreVm(SnapshotContent snapshot, const RestoreOptions& options, bool resume) {
  std::lock_guard lock(mutex_);
  if (config_ || machine_ != nullptr)
    return AlreadyExists("there is a VM already").WithHint("delete it first");
  TRY(Confine(snapshot.config, true));
  TRY_ASSIGN(auto machine, Machine::Restore(kvm_, std::move(snapshot), options, control_, on_end_, monitor_));
  machine_ = std::move(machine);
  return resume ? machine_->Perform(VmAction::kResume) : OkStatus();
}

Status Vmm::Restore(RestoreRequest request) {
  Result<SnapshotContent> snapshot = ReadSnapshot(request.directory, request.nets, std::move(request.fds));
  if (!snapshot.has_value()) return OutOfReach(std::move(snapshot).error());
  return RestoreVm(*std::move(snapshot), {request.prefault, request.on_demand}, request.resume);
}

Status Vmm::Snapshot(const std::string& directory) {
  TRY_ASSIGN(auto machine, Booted("snapshot"));
  return machine->Snapshot(directory);
}

Status Vmm::Delete() {
  std::shared_ptr<Machine> gone;
  {
    std::lock_guard lock(mutex_);
    if (!config_ && machine_ == nullptr) return OkStatus();
    config_.reset();
    gone = std::move(machine_);
  }
  if (monitor_ != nullptr) monitor_->Write("vm", "deleted");
  LOG(kInfo, "vm_deleted");
  if (gone == nullptr) return OkStatus();
  // A machine is destroyed on the control loop, where its last tasks run.
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> destroyed = done->get_future();
  control_.Post([machine = std::move(gone), done]() mutable {
    machine.reset();
    done->set_value();
  });
  if (destroyed.wait_for(kLongest) == std::future_status::ready) return OkStatus();
  return Status(StatusCode::kDeadlineExceeded, "the VM is still being taken apart");
}

VmConfig Vmm::config() {
  std::unique_lock lock(mutex_);
  if (machine_ == nullptr) return config_.value_or(VmConfig());
  std::shared_ptr<Machine> machine = machine_;
  lock.unlock();
  return machine->config();
}

VmFacts Vmm::Facts() {
  std::shared_ptr<Machine> machine = this->machine();
  return machine == nullptr ? VmFacts() : machine->Facts();
}

VmCounters Vmm::Counters() {
  std::shared_ptr<Machine> machine = this->machine();
  return machine == nullptr ? VmCounters() : machine->Counters();
}

Status Vmm::Perform(VmAction action) {
  if (action == VmAction::kExit && machine() == nullptr) {
    control_.Post([this] { on_end_({MachineEnd::Kind::kPoweredOff, {}}); });
    return OkStatus();
  }
  TRY_ASSIGN(auto machine, Booted(VmActionName(action)));
  return machine->Perform(action);
}

Status Vmm::Change(const std::function<Status(VmConfig&)>& change) {
  std::lock_guard lock(mutex_);
  if (!config_) return NotFound(kNone);
  VmConfig changed = *config_;
  TRY(change(changed));
  if (ConfigErrors errors = ValidateConfig(changed); !errors.empty()) {
    return AsStatus(errors).WithField(ResizeField(errors[0].option));
  }
  config_ = std::move(changed);
  return OkStatus();
}

Status Vmm::Resize(const ResizeRequest& request) {
  if (auto machine = this->machine()) return machine->Resize(request);
  return Change([&request](VmConfig& config) -> Status {
    if (request.vcpus) TRY(Machine::CheckVcpus(*request.vcpus, Most(config.cpus)));
    if (request.ram && !config.memory_zones.empty()) {
      return InvalidArgument("the memory of this VM is described by zones", "desired_ram",
                             "resize one of them by vm.resize-zone");
    }
    if (request.balloon && !config.balloon) {
      return InvalidArgument("this VM has no balloon", "desired_balloon", "give one when the VM is created");
    }
    // No --cpus max means as many as there are at boot.
    if (request.vcpus) config.cpus.boot = *request.vcpus;
    if (request.ram) config.memory.size = ByteSize(*request.ram);
    if (request.balloon) config.balloon->size = ByteSize(*request.balloon);
    return OkStatus();
  });
}

Status Vmm::ResizeZone(const std::string& zone, uint64_t ram, std::chrono::milliseconds timeout) {
  if (machine() == nullptr) {
    return Change([&](VmConfig& config) -> Status {
      for (MemoryZoneConfig& one : config.memory_zones) {
        if (one.id != zone) continue;
        one.size = ByteSize(ram);
        return OkStatus();
      }
      return NotFound("no memory zone " + zone, "id");
    });
  }
  TRY_ASSIGN(auto machine, Booted("resize-zone"));
  return machine->ResizeZone(zone, ram, timeout);
}

Status Vmm::ResizeDisk(const std::string& id, uint64_t bytes) {
  TRY_ASSIGN(auto machine, Booted("resize-disk"));
  return machine->ResizeDisk(id, bytes);
}

Status Vmm::CoreDump(const std::string& path) {
  TRY_ASSIGN(auto machine, Booted("coredump"));
  return machine->CoreDump(path);
}

Result<AddedDevice> Vmm::AddDevice(std::string_view option, std::string_view json, std::vector<UniqueFd> fds,
                                   ConfigErrors& errors) {
  {
    std::lock_guard lock(mutex_);
    if (machine_ == nullptr && config_) {
      if (!fds.empty()) {
        return FailedPrecondition("descriptors can be added to a VM that has booted", "fds", "boot it first");
      }
      ConfigResult<VmConfig> with = ConfigWithDevice(*config_, option, json);
      if (!with.has_value()) return Told(std::move(with).error(), errors);
      if (confinement_.entered()) TRY(Confine(*with, false));
      config_ = *std::move(with);
      return AddedDevice{LastDeviceId(*config_, option), std::nullopt};
    }
  }
  TRY_ASSIGN(auto machine, Booted("add a device"));
  Result<AddedDevice> added = machine->AddDevice(option, json, std::move(fds), &errors);
  if (!added.has_value()) return OutOfReach(std::move(added).error());
  return added;
}

Status Vmm::RemoveDevice(const std::string& id, std::chrono::milliseconds timeout) {
  if (auto machine = this->machine()) return machine->RemoveDevice(id, timeout);
  return Change([&id](VmConfig& config) {
    if (DropDevice(config, id)) return OkStatus();
    return NotFound("no disk, network device, host device or vsock device " + id, "id")
        .WithHint("vm.info lists what there is");
  });
}

Result<std::string> Vmm::Preflight(std::string_view json, ConfigErrors& errors) {
  if (json.empty()) {
    if (!exists())
      return NotFound(kNone, "body").WithHint("give the configuration to look at, as of vm.create");
    VmConfig own = config();
    if (machine() != nullptr) {  // they are in use: by this VM
      own.disks.clear();
      own.devices.clear();
      own.memory_zones.clear();
      own.memory.prefault = own.memory.hugepages = false;
    }
    return ToJson(vmm::Preflight(own, &kvm_));
  }
  ConfigResult<VmConfig> config = ConfigFromJson(json);
  if (!config.has_value()) return Told(std::move(config).error(), errors);
  return ToJson(vmm::Preflight(*config, &kvm_));
}

std::string Vmm::Accounting() {
  const VmFacts facts = Facts();
  return AccountJson(CountAll(facts), facts);
}

std::string Vmm::Placement() {
  const VmFacts facts = Facts();
  return PlacementJson(config(), facts, CountAll(facts), AllowedCpus,
                       [](uint32_t node) { return CpusOfHostNode(node); });
}

}  // namespace berth::vmm
