// Disks that are made from images and seeds, and TAPs that are made for networks, before a VMM starts.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "common/file.h"
#include "compute-agent/images/disk_source.h"
#include "compute-agent/images/seed_image.h"
#include "compute-agent/instances/instance.h"
#include "compute-agent/networks/net_source.h"

namespace berth::agent {
namespace {

std::string WithPath(const std::string& path, const DiskSource& source) {
  return "path=\"" + path + "\"" + (source.remaining.empty() ? "" : "," + source.remaining);
}

}  // namespace

Result<bool> Instance::PrepareDisks(placement::Claim& claim) {
  bool ready = true;
  for (size_t i = 0; i < claim.spec.disks.size(); ++i) {
    TRY_ASSIGN(DiskSource source, ParseDiskSource(claim.spec.disks[i]));
    switch (source.kind) {
      case DiskSource::Kind::kPath:
        break;
      case DiskSource::Kind::kImage: {
        const std::string disk = folder() + "/disk" + std::to_string(i) + ".raw";
        TRY_ASSIGN(bool done, environment_.images->Copy(source, disk));
        ready = ready && done;
        claim.spec.disks[i] = WithPath(disk, source);
        break;
      }
      case DiskSource::Kind::kSeed: {
        TRY_ASSIGN(std::string seed, PrepareSeed(source.from, claim, i));
        claim.spec.disks[i] = WithPath(seed, source) + ",readonly=on";
        break;
      }
    }
  }
  return ready;
}

// Made anew at each start: what its owner changes there, the guest sees then.
Result<std::string> Instance::PrepareSeed(const std::string& seed, const placement::Claim& claim,
                                          size_t number) const {
  TRY_ASSIGN(SeedFiles files, ReadSeed(seed, record_.consumer.ToString(), claim.name));
  TRY_ASSIGN(std::string image, MakeSeedImage(files));
  const std::string path = folder() + "/seed" + std::to_string(number) + ".img";
  TRY(WriteFileAtomically(path, image));
  return path;
}

Status Instance::PrepareNets(placement::Claim& claim) {
  InstanceRecord next = record_;
  std::vector<std::pair<std::string, std::string>> wanted;  // TAP, bridge
  for (size_t i = 0; i < claim.spec.nets.size(); ++i) {
    TRY_ASSIGN(NetSource source, ParseNetSource(claim.spec.nets[i]));
    if (source.bridge.empty()) continue;
    const std::string tap = TapName(record_.consumer, i);
    claim.spec.nets[i] = "tap=" + tap + (source.remaining.empty() ? "" : "," + source.remaining);
    wanted.emplace_back(tap, source.bridge);
    if (std::find(next.taps.begin(), next.taps.end(), tap) == next.taps.end()) next.taps.push_back(tap);
  }
  if (wanted.empty()) return OkStatus();
  if (environment_.taps == nullptr) return FailedPrecondition("this agent makes no TAPs", "nets");
  TRY(Record(std::move(next)));
  for (const auto& [tap, bridge] : wanted) {
    BetweenSteps();
    TRY(environment_.taps->Create(tap, bridge));
  }
  BetweenSteps();
  return OkStatus();
}

Status Instance::RemoveTaps() {
  for (const std::string& tap : record_.taps) {
    BetweenSteps();
    TRY(environment_.taps == nullptr ? FailedPrecondition("this agent makes no TAPs")
                                     : environment_.taps->Remove(tap));
  }
  return OkStatus();
}

}  // namespace berth::agent
