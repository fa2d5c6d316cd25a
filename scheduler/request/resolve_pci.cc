#include <algorithm>
#include <utility>

#include "common/yaml.h"
#include "placement/model/names.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

const std::string* Find(const Properties& properties, std::string_view name) {
  auto it = properties.find(name);
  return it == properties.end() ? nullptr : &it->second;
}

Result<AffinityPolicy> ParsePolicy(const std::string& text, const std::string& field) {
  if (auto policy = ParseAffinityPolicy(text)) return *policy;
  return InvalidArgument(
      "InvalidPCINUMAAffinity: policy is \"" + text + "\", must be required, socket, preferred or legacy",
      field);
}

// The policy that flavor or image ask for; both may if they agree.
Result<std::optional<AffinityPolicy>> FlavorPolicy(const Flavor& flavor, const Properties& image) {
  const std::string* own = Find(flavor.extra_specs, "hw:pci_numa_affinity_policy");
  const std::string* other = Find(image, "hw_pci_numa_affinity_policy");
  std::optional<AffinityPolicy> policy;
  if (own != nullptr) {
    TRY_ASSIGN(policy, ParsePolicy(*own, "extra_specs.hw:pci_numa_affinity_policy"));
  }
  if (other != nullptr) {
    const std::string field = "image_properties.hw_pci_numa_affinity_policy";
    TRY_ASSIGN(AffinityPolicy from_image, ParsePolicy(*other, field));
    if (policy && *policy != from_image) {
      return InvalidArgument("ImagePCINUMAPolicyForbidden: hw_pci_numa_affinity_policy is \"" + *other +
                                 "\" although the flavor's hw:pci_numa_affinity_policy is \"" + *own + "\"",
                             field);
    }
    policy = from_image;
  }
  return policy;
}

DeviceMatch MatchOfAlias(const AliasEntry& entry, PciTracking tracking) {
  DeviceMatch match;
  match.vendor_id = entry.vendor_id;
  match.product_id = entry.product_id;
  match.kind = entry.device_type;
  if (tracking != PciTracking::kNovaTracker) {
    match.resource_class = entry.resource_class;
    match.traits = entry.traits;
  }
  if (entry.live_migratable) {
    auto& traits = *entry.live_migratable ? match.traits : match.forbidden_traits;
    traits.insert(std::lower_bound(traits.begin(), traits.end(), kLiveMigratableTrait), kLiveMigratableTrait);
  }
  if (tracking == PciTracking::kNovaInPlacement) {
    if (match.resource_class.empty())
      match.resource_class = placement::DefaultPciResourceClass(entry.vendor_id, entry.product_id);
    match.off_networks = true;
  }
  return match;
}

Status AddAliasRequests(const Flavor& flavor, std::optional<AffinityPolicy> policy, const AliasTable& aliases,
                        PciTracking tracking, std::vector<PciRequest>& out) {
  const std::string field = "extra_specs.pci_passthrough:alias";
  const std::string* text = Find(flavor.extra_specs, "pci_passthrough:alias");
  if (text == nullptr) return OkStatus();
  auto items = ParseAliasItems(*text);
  if (!items.has_value()) {
    return InvalidArgument("InvalidInput: " + items.error().message(), field,
                           "the form is \"NAME:COUNT,NAME:COUNT\"");
  }
  for (const auto& [name, count] : *items) {
    auto found = aliases.find(name);
    if (found == aliases.end()) {
      std::vector<std::string_view> names;
      for (const auto& [known, entries] : aliases) names.push_back(known);
      std::string_view nearest = NearestName(name, names);
      return InvalidArgument("PciRequestAliasNotDefined: alias \"" + name + "\" is not defined", field,
                             nearest.empty() ? "" : "did you mean \"" + std::string(nearest) + "\"?");
    }
    PciRequest request;
    request.name = name;
    request.count = count;
    request.policy = policy.value_or(found->second.front().numa_policy.value_or(AffinityPolicy::kLegacy));
    for (const AliasEntry& entry : found->second)
      request.alternatives.push_back(MatchOfAlias(entry, tracking));
    out.push_back(std::move(request));
  }
  return OkStatus();
}

// The device that the port's type asks for; empty for ports without device.
Result<std::optional<DeviceMatch>> MatchOfPort(const PortRequest& port, const std::string& field) {
  static const std::vector<std::string_view> types = {
      "normal", "direct", "macvtap", "direct-physical", "virtio-forwarder", "vdpa", "remote-managed"};
  if (std::find(types.begin(), types.end(), port.vnic_type) == types.end()) {
    std::string allowed = "allowed:";
    for (std::string_view type : types) allowed += " " + std::string(type);
    return InvalidArgument("InvalidInput: vnic_type is \"" + port.vnic_type + "\"", field + ".vnic_type",
                           allowed);
  }
  // Seed 002: a remote-managed VF is left to its controller; a whole PF has its own address.
  bool vf = port.vnic_type == "direct" || port.vnic_type == "macvtap";
  if (port.settings.any() && !vf) {
    return InvalidArgument(
        "InvalidInput: MAC address, VLAN, trust and spoof check are set of VFs, vnic_type is \"" +
            port.vnic_type + "\"",
        field, "allowed with: direct macvtap");
  }
  if (!NeedsDevice(port)) return std::optional<DeviceMatch>();
  DeviceMatch match;
  match.network = NetworkMatch{port.physical_network};
  match.remote_managed = port.vnic_type == "remote-managed";
  match.trusted = port.trusted;
  if (port.vnic_type == "direct-physical") match.kind = DeviceKind::kPf;
  if (port.vnic_type == "vdpa") match.kind = DeviceKind::kVdpa;
  return std::optional<DeviceMatch>(std::move(match));
}

}  // namespace

bool NeedsDevice(const PortRequest& port) {
  return port.vnic_type != "normal";
}

Result<std::vector<PciRequest>> ResolvePci(const Flavor& flavor, const Properties& image,
                                           const std::vector<PortRequest>& ports, const AliasTable& aliases,
                                           PciTracking tracking, bool encrypted) {
  TRY_ASSIGN(std::optional<AffinityPolicy> policy, FlavorPolicy(flavor, image));
  // R11: only the flavor may relax what a confidential guest asks of its devices.
  bool strict = encrypted && Find(flavor.extra_specs, "hw:pci_numa_affinity_policy") == nullptr;
  std::vector<PciRequest> out;
  if (strict) policy = AffinityPolicy::kRequired;
  TRY(AddAliasRequests(flavor, policy, aliases, tracking, out));
  TRY_ASSIGN(std::vector<PciRequest> groups, ResolveResourceGroups(flavor));
  for (PciRequest& group : groups) {
    group.policy = policy.value_or(AffinityPolicy::kLegacy);
    out.push_back(std::move(group));
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    const PortRequest& port = ports[i];
    std::string field = "ports[" + std::to_string(i) + "]";
    TRY_ASSIGN(std::optional<DeviceMatch> match, MatchOfPort(port, field));
    PciRequest request;
    request.policy = policy.value_or(AffinityPolicy::kLegacy);
    if (!port.numa_policy.empty()) {
      TRY_ASSIGN(request.policy, ParsePolicy(port.numa_policy, field + ".numa_policy"));
    }
    if (!match) continue;
    if (strict) request.policy = AffinityPolicy::kRequired;
    request.name = port.id;
    request.from_port = true;
    request.alternatives.push_back(std::move(*match));
    out.push_back(std::move(request));
  }
  return out;
}

}  // namespace berth::scheduler
