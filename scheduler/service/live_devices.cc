// Devices that come to an instance and leave it while it exists.
#include <algorithm>
#include <utility>

#include "common/log.h"
#include "scheduler/fit/device_fit.h"
#include "scheduler/service/scheduler.h"

namespace berth::scheduler {
namespace {

using placement::Claim;
using placement::DeviceBinding;

constexpr int kMaxAttempts = 16;
constexpr uint64_t kSteps = 1'000'000;
constexpr const char* kAffinitySpec = "hw:pci_numa_affinity_policy";

// The host cells that the claim sits on.
Locality LocalityOf(const FitHost& host, const Claim& claim) {
  std::vector<uint32_t> chosen;
  for (uint32_t i = 0; i < host.cells.size(); ++i) {
    auto on = [&](const placement::CellBinding& cell) { return cell.host_cell == host.cells[i].id; };
    if (std::any_of(claim.cells.begin(), claim.cells.end(), on)) chosen.push_back(i);
  }
  if (chosen.empty()) return {};
  Locality locality = MakeLocality(host, chosen);
  locality.topology = true;
  return locality;
}

uint32_t NextRequest(const Claim& claim) {
  uint32_t next = 0;
  for (const DeviceBinding& device : claim.devices) next = std::max(next, device.request + 1);
  return next;
}

}  // namespace

// The request of one device of the alias, with the policy of the instance's flavor.
Result<RequestSpec> Scheduler::DeviceRequest(const std::string& alias, const Claim& claim) const {
  if (alias.empty() || catalogue_->aliases.find(alias) == catalogue_->aliases.end()) {
    return InvalidArgument("alias \"" + alias + "\" is not defined", "alias");
  }
  Flavor one;
  one.name = claim.spec.flavor;
  one.vcpus = 1;
  one.memory_mib = 1;
  one.extra_specs["pci_passthrough:alias"] = alias + ":1";
  auto flavor = catalogue_->flavors.find(claim.spec.flavor);
  if (flavor != catalogue_->flavors.end()) {
    auto policy = flavor->second.extra_specs.find(kAffinitySpec);
    if (policy != flavor->second.extra_specs.end()) one.extra_specs[kAffinitySpec] = policy->second;
  }
  TRY_ASSIGN(RequestSpec spec, ResolveRequest(one, {}, {}, catalogue_->aliases));
  // R11, as at its creation: an encrypted guest may have secure cards, and only its flavor relaxes the
  // policy.
  auto secure = [](const placement::CellBinding& cell) { return cell.secure; };
  if (std::any_of(claim.cells.begin(), claim.cells.end(), secure)) {
    spec.encryption = Encryption::kAny;
    if (!one.extra_specs.contains(kAffinitySpec)) spec.pci.front().policy = AffinityPolicy::kRequired;
  }
  return spec;
}

Result<DeviceBinding> Scheduler::AttachDevice(const std::string& instance, const std::string& alias,
                                              const std::optional<PciAddress>& address, bool dry_run) {
  TRY_ASSIGN(Claim claim, Movable(instance));
  if (address.has_value()) {
    for (const DeviceBinding& held : claim.devices) {
      if (held.address == *address && !held.leaving) return held;  // a repeated call
    }
  }
  TRY_ASSIGN(RequestSpec spec, DeviceRequest(alias, claim));
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    TRY_ASSIGN(HostState state, client_.GetHost(claim.host));
    placement::HostUsage usage;
    for (const Claim& held : state.claims) placement::AddClaim(held, usage);
    for (placement::Device& device : state.report.devices) {
      if (address.has_value() && device.address != *address) device.assignable = false;
    }
    const FitHost host = FromHost(state.report, usage);
    StepBudget budget(kSteps);
    DeviceFit fit = FitDevices(host, spec, BuildDevicePool(host, spec), LocalityOf(host, claim), budget);
    if (fit.verdict != Verdict::kFits || fit.devices.empty()) {
      return ResourceExhausted("host " + state.report.name + " has no free device " +
                                   (address.has_value() ? address->ToString() + " " : std::string()) +
                                   "of alias \"" + alias + "\" that the NUMA affinity policy " +
                                   AffinityPolicyName(spec.pci.front().policy) + " allows",
                               "alias");
    }
    DeviceBinding device;
    device.request = NextRequest(claim);
    device.address = fit.devices.front().address;
    device.alias = alias;
    device.numa_node = fit.devices.front().numa_node;
    if (dry_run) return device;
    Result<Claim> changed =
        client_.ChangeDevice(claim.consumer, PlacementClient::DeviceChange::kAdd, device, state.generation);
    if (changed.has_value()) {
      LOG(kInfo, "device_claimed",
          {{"instance", claim.consumer.ToString()}, {"device", device.address.ToString()}});
      return device;
    }
    if (changed.error().code() != StatusCode::kAborted) return changed.error();
  }
  return Aborted("the host changed under " + std::to_string(kMaxAttempts) + " decisions in a row: try again");
}

Status Scheduler::DetachDevice(const std::string& instance, const PciAddress& address, bool dry_run) {
  TRY_ASSIGN(Claim claim, Movable(instance));
  if (dry_run) {
    const bool held = std::any_of(claim.devices.begin(), claim.devices.end(),
                                  [&](const DeviceBinding& one) { return one.address == address; });
    return held ? OkStatus()
                : NotFound("device " + address.ToString() + " of instance \"" + claim.name + "\" is not held",
                           "device.address");
  }
  DeviceBinding device;
  device.address = address;
  return client_.ChangeDevice(claim.consumer, PlacementClient::DeviceChange::kLeave, device, std::nullopt)
      .status();
}

}  // namespace berth::scheduler
