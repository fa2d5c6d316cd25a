#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/log.h"
#include "common/mac_address.h"
#include "vmm/config/validate.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/zone_backing.h"
#include "vmm/snapshot/memory_image.h"

// The machine as files, and a machine out of them.
namespace berth::vmm {
namespace {

constexpr uint32_t kZonesMax = 4096;
constexpr size_t kIdMax = 4096;

std::function<bool(const std::string&)> ZonesInFiles(const VmConfig& config) {
  return [zones = EffectiveZones(config)](const std::string& id) {
    return std::any_of(zones.begin(), zones.end(),
                       [&id](const MemoryZoneConfig& zone) { return zone.id == id && StaysInItsFile(zone); });
  };
}

}  // namespace

// ---- Taking one

Status Machine::CheckSnapshot() const {
  if (config_.platform.confidential != ConfidentialKind::kNone) {
    return FailedPrecondition(
        "the memory of a confidential guest cannot be read by the host, so it cannot be saved");
  }
  if (!config_.devices.empty()) {
    return FailedPrecondition("device " + config_.devices[0].id +
                                  " is a device of the host, and the state of its hardware cannot be taken",
                              "", "remove it first, by vm.remove-device");
  }
  return OkStatus();
}

// With what was chosen when the VM was made, and the guest knows.
VmConfig Machine::SnapshotConfig() const {
  VmConfig config = config_;
  for (NetConfig& net : config.nets) {
    auto port = std::find_if(nets_.begin(), nets_.end(), [&net](const NetPort& p) { return p.id == net.id; });
    if (port != nets_.end()) net.mac = MacAddressText(port->mac);
    // Only how many there were counts, and small numbers can be read by everybody.
    constexpr int kFirstInherited = 3;
    std::iota(net.fds.begin(), net.fds.end(), kFirstInherited);
  }
  return config;
}

void Machine::SaveMemory(const std::vector<SavedRun>& plan, StateWriter& out) const {
  SaveRuns(plan, out);
  out.Put(static_cast<uint32_t>(requested_memory_.size()));
  for (const auto& [zone, bytes] : requested_memory_) {
    out.PutText(zone);
    out.Put(bytes);
  }
  out.Put(static_cast<uint32_t>(added_memory_.size()));
  for (const MemoryHotplug::Piece& piece : added_memory_) {
    out.Put(piece.base);
    out.Put(piece.size);
  }
}

Status Machine::WriteSnapshotTo(const std::string& directory) {
  const std::vector<MemoryRegion> runs = memory_->memory().PresentRuns();
  const std::vector<SavedRun> plan = PlanMemoryImage(runs, ZonesInFiles(config_));
  StateWriter state;
  state.PutPart(kMemoryPart, kMemoryVersion, [&](StateWriter& part) { SaveMemory(plan, part); });
  TRY(board_->Save(state));
  return WriteSnapshot(directory, SnapshotConfig(), std::move(state).Take(),
                       [&](int file) { return WriteMemoryImage(file, runs, plan); });
}

Status Machine::Snapshot(const std::string& directory) {
  std::lock_guard lock(mutex_);
  TRY(Require(VmState::kPaused, "snapshot"));
  TRY(CheckSnapshot());
  // What has not come from an older snapshot yet would be missing in this one.
  if (pager_ != nullptr) TRY(pager_->Finish());
  // Nothing of the loop runs any more, and what the devices' own threads do ends.
  StopDevices();
  Status status = board_->Suspend();
  if (status.ok()) {
    status = WriteSnapshotTo(directory);
    board_->Resume();
  }
  StartDevices();
  TRY(status);
  LOG(kInfo, "snapshot_taken", {{"directory", directory}});
  Tell("vm", "snapshot_taken", {{"directory", directory}});
  return OkStatus();
}

// ---- Going on from one

Result<std::unique_ptr<Machine>> Machine::Restore(Kvm& kvm, SnapshotContent snapshot,
                                                  const RestoreOptions& options, EventLoop& control,
                                                  std::function<void(MachineEnd)> on_end,
                                                  EventMonitor* monitor) {
  VmConfig config = snapshot.config;
  // What comes on demand must not be there before.
  std::optional<bool> prefault = options.prefault;
  if (options.on_demand) prefault = false;
  if (prefault) {
    if (config.memory_zones.empty()) config.memory.prefault = *prefault;
    for (MemoryZoneConfig& zone : config.memory_zones) zone.prefault = *prefault;
  }
  for (UniqueFd& fd : snapshot.descriptors) fd.release();
  TRY_ASSIGN(auto machine, Create(kvm, std::move(config), control, std::move(on_end), monitor));
  TRY(machine->CheckSnapshot());
  TRY(machine->RestoreFrom(std::move(snapshot), options));
  return machine;
}

Status Machine::PlugSaved(const std::vector<SavedRun>& plan) {
  for (const MemoryRegion& area : memory_->memory().hotplug_areas()) {
    const uint64_t begin = Raw(area.base), end = begin + area.size;
    for (const SavedRun& run : plan) {
      if (run.end() <= begin || run.base >= end) continue;
      const uint64_t block = area.plug->block();
      if (run.base < begin || run.end() > end || (run.base - begin) % block != 0 || run.size % block != 0) {
        return InvalidArgument("memory that was added to zone " + area.zone + " does not fit its area");
      }
      TRY(PopulatePlugged(area.Part(run.base - begin, run.size)));
      area.plug->Set(run.base - begin, run.size, true);
    }
  }
  return OkStatus();
}

Status Machine::RestoreMemory(SnapshotContent& snapshot, const RestoreOptions& options, StateReader& in) {
  const std::vector<SavedRun> plan = LoadRuns(snapshot.memory_size, in);
  requested_memory_.clear();
  const uint32_t zones = in.GetCount(kZonesMax, 12);
  for (uint32_t i = 0; i < zones; ++i) {
    const std::string zone = in.GetText(kIdMax);
    requested_memory_[zone] = in.Get<uint64_t>();
  }
  const uint32_t pieces = in.GetCount(layout::kMemoryHotplugSlots, 16);
  for (uint32_t i = 0; i < pieces; ++i) {
    MemoryHotplug::Piece& piece = added_memory_.emplace_back();
    in.Get(piece.base);
    in.Get(piece.size);
  }
  TRY(in.Finish());
  TRY(PlugSaved(plan));
  TRY_ASSIGN(std::vector<ImagePiece> image, MatchImage(memory_->memory().PresentRuns(), plan));
  std::vector<ImagePiece> paged;
  if (options.on_demand) {
    // What cannot come on demand (huge pages, private files) is copied now.
    auto later = std::stable_partition(image.begin(), image.end(),
                                       [](const ImagePiece& piece) { return !MemoryPager::CanPage(piece); });
    paged.assign(later, image.end());
    image.erase(later, image.end());
  }
  TRY(ReadMemoryImage(snapshot.memory.get(), image));
  if (paged.empty()) return OkStatus();
  // Without its memory the guest must not take another step, nor may a device finish a request with zeros in
  // the place of data: who waits for a page cannot be told to stop, so the process ends where it stands.
  auto lost = [this](const Status& error) {
    LOG(kError, "snapshot_memory_lost", {{"error", error}});
    Tell("vm", "failed", {{"reason", "memory of the snapshot: " + error.ToString()}});
    constexpr int kGuestFailed = 3;  // docs/vmm.md, exit status
    ::_exit(kGuestFailed);
  };
  TRY_ASSIGN(pager_, MemoryPager::Start(std::move(snapshot.memory), paged, lost));
  return OkStatus();
}

Status Machine::RestoreFrom(SnapshotContent snapshot, const RestoreOptions& options) {
  std::lock_guard lock(mutex_);
  StateReader in(snapshot.state);
  StateReader memory = in.GetPart(kMemoryPart, kMemoryVersion);
  TRY(in.status());
  TRY(RestoreMemory(snapshot, options, memory));
  TRY(BuildBoard(&in));
  StartDevices();
  BeginMemoryRequests();
  board_->Resume();
  state_ = VmState::kPaused;
  LOG(kInfo, "vm_restored", {{"on_demand", pager_ != nullptr}});
  Tell("vm", "restored");
  return OkStatus();
}

}  // namespace berth::vmm
