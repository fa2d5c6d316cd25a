// Disks and devices that come to an instance and leave it while it exists.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"
#include "compute-agent/instances/instance.h"
#include "compute-agent/instances/vmm_options.h"

namespace berth::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPlugPause{200};    // between two looks how far the guest is
constexpr milliseconds kCallPause{1'000};  // after a call that failed
constexpr milliseconds kAskAgain{60'000};  // the VMM's own time limit of a request to the guest
constexpr size_t kMaxDisks = 32;

bool Names(const placement::Claim& claim, const PciAddress& address) {
  return std::any_of(claim.devices.begin(), claim.devices.end(), [&](const placement::DeviceBinding& device) {
    return device.address == address && !device.leaving;
  });
}

constexpr std::string_view kNotAttached = " was not attached: ";
constexpr std::string_view kNotLetGo = "the guest has not let go of ";

bool IsPlugNote(std::string_view note) {
  return note.find(kNotAttached) != std::string_view::npos || note.starts_with(kNotLetGo);
}

}  // namespace

Status Instance::AttachDisk(DiskAttachment disk, bool dry_run) {
  if (broken_) return FailedPrecondition(status_.detail);
  disk.leaving = false;
  TRY(CheckDisk(disk));
  InstanceRecord next = record_;
  auto known = std::find_if(next.disks.begin(), next.disks.end(),
                            [&](const DiskAttachment& other) { return other.id == disk.id; });
  if (known != next.disks.end()) {
    if (*known == disk) return OkStatus();
    return AlreadyExists("the instance has a disk \"" + disk.id + "\": " + known->path +
                             (known->leaving ? ", which is on its way out" : ""),
                         "disk.id");
  }
  if (next.disks.size() >= kMaxDisks) {
    return ResourceExhausted("the instance has " + std::to_string(kMaxDisks) + " attached disks already");
  }
  if (dry_run) return OkStatus();
  next.disks.push_back(std::move(disk));
  TRY(Record(std::move(next)));
  plug_ = true;
  next_call_ = {};
  return OkStatus();
}

Status Instance::DetachDisk(const std::string& id, bool dry_run) {
  if (broken_) return FailedPrecondition(status_.detail);
  InstanceRecord next = record_;
  auto known = std::find_if(next.disks.begin(), next.disks.end(),
                            [&](const DiskAttachment& disk) { return disk.id == id; });
  if (known == next.disks.end()) {
    return NotFound("no disk \"" + id + "\" was attached to the instance", "disk");
  }
  if (dry_run) return OkStatus();
  known->leaving = true;
  TRY(Record(std::move(next)));
  if (!process_.has_value()) ForgetLeftDisks();
  plug_ = true;
  next_call_ = {};
  return OkStatus();
}

// A device is only given up when the record says so: the next agent takes back, from whoever has it then,
// what a record still names.
bool Instance::ForgetDevice(const PciAddress& device) {
  InstanceRecord next = record_;
  std::erase_if(next.devices, [&](const BoundDevice& bound) { return bound.address == device; });
  return Keep(std::move(next));
}

// Without a machine there is nobody who would have to let go.
void Instance::ForgetLeftDisks() {
  if (std::erase_if(record_.disks, [](const DiskAttachment& disk) { return disk.leaving; }) > 0) Save();
}

bool Instance::Holds(const PciAddress& device) const {
  auto same = [&](const BoundDevice& bound) { return bound.address == device; };
  if (std::any_of(record_.devices.begin(), record_.devices.end(), same)) return true;
  if (!process_.has_value()) return false;
  if (plugged_.has_value()) return plugged_->contains(VmmDeviceId(device));
  // Not asked yet: it has what it began with, and of an adopted one nobody knows.
  return !compared_ || std::find(given_.begin(), given_.end(), device) != given_.end();
}

void Instance::Plug(const StartRequest& request) {
  if (!process_.has_value() || record_.phase != Phase::kRunning) return;
  std::vector<PciAddress> wanted;
  for (const placement::DeviceBinding& device : request.claim.devices) {
    if (!device.leaving) wanted.push_back(device.address);
  }
  if (!compared_ || wanted != given_) plug_ = true;
  compared_ = true;
  if (!plug_ || Clock::now() < next_call_) return;
  VmmClient vmm(api_socket());
  Result<VmmInfo> info = vmm.Info();
  if (!info.has_value()) {
    next_call_ = Clock::now() + kCallPause;
    return;
  }
  plugged_ = std::move(info->devices);
  const std::string told = record_.note;
  bool settled = PlugDisks(vmm);
  settled = PlugDevices(vmm, request) && settled;
  if (settled && wanted != given_) {
    InstanceRecord next = record_;
    next.claim = environment_.encode_claim(request.claim);
    settled = Keep(std::move(next));
  }
  // What an earlier wish came to is past when a later one is met.
  if (settled && record_.note == told && IsPlugNote(told)) Note("");
  if (settled) {
    given_ = std::move(wanted);
    plug_ = false;
    asked_back_.clear();
  } else {
    next_call_ = std::max(next_call_, Clock::now() + kPlugPause);
  }
}

// True when the machine has the disks that it is to have, and no others.
bool Instance::PlugDisks(const VmmClient& vmm) {
  bool settled = true;
  std::vector<std::string> gone;  // ids
  for (const DiskAttachment& disk : record_.disks) {
    const std::string id = disk.vmm_id();
    const bool there = plugged_->contains(id);
    if (disk.leaving && there) {
      settled = false;
      auto [at, fresh] = asked_back_.try_emplace(id, Clock::now() + kAskAgain);
      if (!fresh && Clock::now() < at->second) continue;
      at->second = Clock::now() + kAskAgain;
      if (!fresh) Note(std::string(kNotLetGo) + "disk \"" + disk.id + "\" yet");
      BetweenSteps();
      Status asked = vmm.RemoveDevice(id);
      if (!asked.ok()) LOG(kWarning, "disk_not_removed", {{"disk", disk.id}, {"error", asked}});
    } else if (disk.leaving) {
      gone.push_back(disk.id);
    } else if (!there) {
      BetweenSteps();
      Status added = vmm.AddDisk(DiskJson(disk));
      BetweenSteps();
      if (added.ok()) {
        plugged_->insert(id);
      } else if (added.code() == StatusCode::kFailedPrecondition) {
        // The VMM's answer will not change: the wish is taken back, and says why.
        Note("disk \"" + disk.id + "\"" + std::string(kNotAttached) + added.message());
        gone.push_back(disk.id);
      } else {
        settled = false;
        next_call_ = Clock::now() + kCallPause;
      }
    }
  }
  if (gone.empty()) return settled;
  InstanceRecord next = record_;
  std::erase_if(next.disks, [&](const DiskAttachment& disk) {
    return std::find(gone.begin(), gone.end(), disk.id) != gone.end();
  });
  return Keep(std::move(next)) && settled;
}

// Likewise of the host's devices. What is asked back is given back to its driver when the guest has let go.
bool Instance::PlugDevices(const VmmClient& vmm, const StartRequest& request) {
  bool settled = true;
  for (const placement::DeviceBinding& device : request.claim.devices) {
    if (device.leaving || plugged_->contains(VmmDeviceId(device.address))) continue;
    Status given = PlugDevice(vmm, request.claim, request, device);
    if (given.ok()) continue;
    settled = false;
    next_call_ = Clock::now() + kCallPause;
    Note("device " + device.address.ToString() + std::string(kNotAttached) + given.message());
  }
  std::set<PciAddress> leaving;
  for (const placement::DeviceBinding& device : request.claim.devices) {
    if (device.leaving) leaving.insert(device.address);
  }
  for (const BoundDevice& bound : record_.devices) {
    if (!Names(request.claim, bound.address)) leaving.insert(bound.address);
  }
  for (const PciAddress& address : leaving) {
    const std::string id = VmmDeviceId(address);
    if (plugged_->contains(id)) {
      settled = false;
      auto [at, fresh] = asked_back_.try_emplace(id, Clock::now() + kAskAgain);
      if (!fresh && Clock::now() < at->second) continue;
      at->second = Clock::now() + kAskAgain;
      if (!fresh) Note(std::string(kNotLetGo) + "device " + address.ToString() + " yet");
      BetweenSteps();
      Status asked = vmm.RemoveDevice(id);
      if (!asked.ok()) LOG(kWarning, "device_not_removed", {{"device", id}, {"error", asked}});
      continue;
    }
    auto bound = std::find_if(record_.devices.begin(), record_.devices.end(),
                              [&](const BoundDevice& one) { return one.address == address; });
    if (bound == record_.devices.end()) continue;
    BetweenSteps();
    Status back = TakeBack(*bound);
    if (!back.ok()) {
      settled = false;
      next_call_ = Clock::now() + kCallPause;
      Count(&InstanceEvents::device_faults);
      LOG(kError, "device_not_restored", {{"device", address.ToString()}, {"error", back}});
      continue;
    }
    settled = ForgetDevice(address) && settled;
  }
  return settled;
}

Status Instance::PlugDevice(const VmmClient& vmm, const placement::Claim& claim, const StartRequest& request,
                            const placement::DeviceBinding& device) {
  placement::Claim one = claim;
  std::erase_if(one.devices,
                [&](const placement::DeviceBinding& other) { return other.address != device.address; });
  if (std::string held = HeldElsewhere(one); !held.empty()) return FailedPrecondition(held, "devices");
  TRY(UseCards(request, {device}));
  if (request.one_time_use.contains(device.address)) TRY(environment_.used_devices.Mark(device.address));
  DeviceHandover handover(environment_.binder, environment_.vf_ports);
  InstanceRecord next = record_;
  TRY_ASSIGN(next.devices, handover.Plan(one, request.unmanaged, next.devices));
  TRY(Record(std::move(next)));
  std::vector<BoundDevice> only;
  for (const BoundDevice& bound : record_.devices) {
    if (bound.address == device.address) only.push_back(bound);
  }
  TRY(handover.HandOver(one, only));
  BetweenSteps();
  nlohmann::json json = {{"path", "/sys/bus/pci/devices/" + device.address.ToString()},
                         {"id", VmmDeviceId(device.address)}};
  TRY(vmm.AddDevice(json.dump()));
  plugged_->insert(VmmDeviceId(device.address));
  BetweenSteps();
  return OkStatus();
}

bool Instance::TakeBackUnclaimed(const placement::Claim* claim) {
  bool done = true;
  const std::vector<BoundDevice> devices = record_.devices;
  for (const BoundDevice& bound : devices) {
    if (claim != nullptr && Names(*claim, bound.address)) continue;
    BetweenSteps();
    Status back = TakeBack(bound);
    if (!back.ok()) {
      Count(&InstanceEvents::device_faults);
      LOG(kError, "device_not_restored", {{"device", bound.address.ToString()}, {"error", back}});
      SetStatus(status_.state, back.message());
      done = false;
      continue;
    }
    done = ForgetDevice(bound.address) && done;
  }
  return done;
}

}  // namespace berth::agent
