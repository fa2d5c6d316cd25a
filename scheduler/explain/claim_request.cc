#include "scheduler/explain/claim_request.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "common/swiotlb.h"
#include "placement/model/capacity.h"

namespace berth::scheduler {
namespace {

void AddCells(const placement::Claim& claim, RequestSpec& spec) {
  std::vector<const placement::CellBinding*> order;
  for (const placement::CellBinding& cell : claim.cells) order.push_back(&cell);
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return a->guest_cell < b->guest_cell; });
  bool all = true;
  bool any = false;
  for (const placement::CellBinding* cell : order) {
    GuestCell guest;
    guest.vcpus = cell->vcpus;
    for (const auto& [vcpu, cpu] : cell->pinning) guest.pinned.Add(vcpu);
    guest.memory_bytes = cell->memory_bytes;
    all = all && guest.pinned == guest.vcpus;
    any = any || !guest.pinned.empty();
    if (cell->secure) spec.encryption = Encryption::kAny;
    spec.cells.push_back(std::move(guest));
  }
  if (order.empty()) return;
  spec.cpu_policy = !any ? CpuPolicy::kShared : all ? CpuPolicy::kDedicated : CpuPolicy::kMixed;
  uint64_t size = order.front()->page_size_bytes;
  bool same = std::all_of(order.begin(), order.end(),
                          [size](const auto* cell) { return cell->page_size_bytes == size; });
  using Kind = PageRequest::Kind;
  if (!same) {
    spec.pages = {Kind::kAny, 0};
  } else if (size != 0) {
    spec.pages = {Kind::kExact, size};
  }
}

// A device like this one.
DeviceMatch MatchOf(const placement::Device& device) {
  DeviceMatch match;
  match.vendor_id = device.vendor_id;
  match.product_id = device.product_id;
  match.kind = device.type == placement::DeviceType::kPf   ? DeviceKind::kPf
               : device.type == placement::DeviceType::kVf ? DeviceKind::kVf
                                                           : DeviceKind::kPci;
  match.network = NetworkMatch{device.physical_network};
  match.trusted = device.trusted;
  match.remote_managed = device.remote_managed;
  match.resource_class = device.resource_class;
  match.traits = device.traits;
  return match;
}

bool IsBeside(const placement::Claim& claim, const placement::DeviceBinding& device) {
  return std::any_of(claim.cells.begin(), claim.cells.end(),
                     [&](const placement::CellBinding& cell) { return device.numa_node == cell.host_cell; });
}

void AddDevices(const placement::Claim& claim, const placement::HostReport& report, const RequestSpec* flavor,
                RequestSpec& spec) {
  std::map<uint32_t, std::vector<const placement::DeviceBinding*>> requests;
  for (const placement::DeviceBinding& device : claim.devices) requests[device.request].push_back(&device);
  for (const auto& [number, devices] : requests) {
    auto count = static_cast<uint32_t>(devices.size());
    const std::string& name = devices.front()->alias;
    bool known = flavor != nullptr && number < flavor->pci.size() && flavor->pci[number].name == name &&
                 flavor->pci[number].count == count;
    if (known) {
      spec.pci.push_back(flavor->pci[number]);
      continue;
    }
    PciRequest request;
    request.name = name;
    request.from_port = true;
    request.count = count;
    request.policy = AffinityPolicy::kRequired;
    for (const placement::DeviceBinding* binding : devices) {
      if (!IsBeside(claim, *binding)) request.policy = AffinityPolicy::kPreferred;
      const placement::Device* device = placement::FindDevice(report, binding->address);
      if (device == nullptr) continue;
      DeviceMatch match = MatchOf(*device);
      if (std::find(request.alternatives.begin(), request.alternatives.end(), match) ==
          request.alternatives.end())
        request.alternatives.push_back(std::move(match));
    }
    spec.pci.push_back(std::move(request));
  }
}

}  // namespace

RequestSpec RequestOfClaim(const placement::Claim& claim, const placement::HostReport& report,
                           const RequestSpec* flavor) {
  RequestSpec spec;
  spec.vcpus = claim.spec.vcpus;
  spec.memory_bytes = claim.spec.memory_bytes;
  spec.disk_bytes = claim.spec.disk_bytes;
  AddCells(claim, spec);
  AddDevices(claim, report, flavor, spec);
  bool reserves = std::any_of(claim.cells.begin(), claim.cells.end(),
                              [](const placement::CellBinding& cell) { return !cell.reserved.empty(); });
  if (flavor != nullptr) {
    spec.thread_policy = flavor->thread_policy;
    spec.emulator_policy = flavor->emulator_policy;
    spec.smt = flavor->smt;
    spec.host = flavor->host;
    spec.isolate_groups = flavor->isolate_groups;
    if (spec.pci.size() == flavor->pci.size()) spec.domains = flavor->domains;
    if (spec.encrypted() && flavor->encrypted()) spec.encryption = flavor->encryption;
  } else if (reserves) {
    spec.emulator_policy = EmulatorPolicy::kIsolate;
  }
  if (spec.encrypted()) {
    spec.pages = {};
    spec.swiotlb_bytes = SwiotlbBytes({.guest_ram_bytes = spec.memory_bytes,
                                       .max_vcpus = spec.vcpus,
                                       .x86_confidential = spec.encryption != Encryption::kArmCca});
  }
  return spec;
}

bool IsMovable(const placement::Claim& claim) {
  return claim.phase == placement::ClaimPhase::kActive && !claim.external && claim.reserved_for.is_nil();
}

}  // namespace berth::scheduler
