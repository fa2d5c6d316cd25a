#include <algorithm>
#include <iterator>
#include <utility>

#include "scheduler/request/alias.h"
#include "scheduler/request/resolve.h"
#include "scheduler/whatif/scenario.h"

namespace berth::scheduler::whatif {
namespace {

// What the form has; whatever else the scheduler knows is ignored like any other name.
bool IsSpecOfForm(std::string_view name) {
  static constexpr std::string_view kNames[] = {"hw:numa_nodes",
                                                "hw:cpu_policy",
                                                "hw:cpu_thread_policy",
                                                "hw:cpu_dedicated_mask",
                                                "hw:emulator_threads_policy",
                                                "hw:mem_page_size",
                                                "hw:pci_numa_affinity_policy",
                                                "pci_passthrough:alias",
                                                "group_policy",
                                                "resources:PCPU",
                                                "resources:VCPU",
                                                "trait:HW_CPU_HYPERTHREADING",
                                                "hw:mem_encryption",
                                                "hw:mem_encryption_model",
                                                "berth:same_domain"};
  bool numbered = name.starts_with("hw:numa_cpus.") || name.starts_with("hw:numa_mem.");
  return numbered ? IsKnownExtraSpec(name)
                  : std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

bool IsPropertyOfForm(std::string_view name) {
  static constexpr std::string_view kNames[] = {"hw_numa_nodes",
                                                "hw_cpu_policy",
                                                "hw_cpu_thread_policy",
                                                "hw_mem_page_size",
                                                "hw_pci_numa_affinity_policy",
                                                "hw_mem_encryption"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// Members of an object as text, those that the form knows; others are ignored.
Properties ReadProperties(const Json& parent, const char* key, bool (*known)(std::string_view),
                          JsonFields& fields) {
  Properties out;
  const Json* object = Find(parent, key);
  if (object == nullptr) return out;
  if (!object->IsObject()) {
    fields.Fail(key, "must be an object");
    return out;
  }
  for (const auto& member : object->GetObject()) {
    std::string_view name = TextOf(member.name);
    if (!member.value.IsNull() && known(name)) out.emplace(name, ToText(member.value));
  }
  return out;
}

Flavor ReadFlavor(const Json& json, JsonFields& fields) {
  Flavor flavor;
  flavor.name = fields.Text(json, "name");
  uint64_t vcpus = fields.WholeRequired(json, "vcpus");
  flavor.vcpus = static_cast<uint32_t>(std::min<uint64_t>(vcpus, UINT32_MAX));
  flavor.memory_mib = fields.WholeRequired(json, "memory_mb");
  flavor.extra_specs = ReadProperties(json, "extra_specs", IsSpecOfForm, fields);
  return flavor;
}

std::vector<PortRequest> ReadPorts(const Json& scenario, JsonFields& fields) {
  std::vector<PortRequest> out;
  const Json* ports = fields.Array(scenario, "ports");
  if (ports == nullptr) return out;
  for (const Json& port : ports->GetArray()) {
    if (!port.IsObject()) {
      fields.Fail("ports", "must be objects");
      return out;
    }
    PortRequest one;
    one.id = fields.Text(port, "id");
    one.vnic_type = Find(port, "vnic_type") == nullptr ? "normal" : fields.Text(port, "vnic_type");
    if (Find(port, "physical_network") != nullptr)
      one.physical_network = fields.Text(port, "physical_network");
    one.tunneled = fields.Bool(port, "tunneled", false);
    if (Find(port, "trusted") != nullptr) one.trusted = fields.Bool(port, "trusted", false);
    one.numa_policy = fields.Text(port, "numa_policy");
    out.push_back(std::move(one));
  }
  return out;
}

Result<AliasEntry> ReadAlias(const Json& json) {
  std::vector<AliasField> pairs;
  pairs.reserve(json.MemberCount());
  for (const auto& [name, value] : json.GetObject()) {
    if (value.IsNull()) continue;
    std::string text;
    if (value.IsArray()) {
      for (const Json& item : value.GetArray()) text += ToText(item) + ",";
    } else {
      text = ToText(value);
    }
    pairs.emplace_back(TextOf(name), std::move(text));
  }
  return MakeAliasEntry(pairs);
}

// As in Nova, aliases are read when a flavor asks for one: an invalid one then rejects the request.
Result<AliasTable> ReadAliases(const Json* config, const Properties& extra_specs, JsonFields& fields) {
  AliasTable table;
  const Json* aliases = config == nullptr ? nullptr : fields.Array(*config, "aliases");
  if (aliases == nullptr || !extra_specs.contains("pci_passthrough:alias")) return table;
  for (const Json& alias : aliases->GetArray()) {
    if (!alias.IsObject()) {
      return InvalidArgument("PciInvalidAlias: an alias must be an object", "config.aliases");
    }
    TRY_ASSIGN(AliasEntry entry, ReadAlias(alias));
    TRY(AddAliasEntry(std::move(entry), table));
  }
  return table;
}

}  // namespace

Result<RequestSpec> ReadRequest(const Json& scenario, JsonFields& fields) {
  const Json* config = Find(scenario, "config");
  if (config != nullptr && !config->IsObject()) fields.Fail("config", "must be an object");
  Flavor flavor = ReadFlavor(*Find(scenario, "flavor"), fields);
  Properties image = ReadProperties(scenario, "image_properties", IsPropertyOfForm, fields);
  std::vector<PortRequest> ports = ReadPorts(scenario, fields);
  if (!fields.ok()) return RequestSpec{};
  TRY_ASSIGN(AliasTable aliases, ReadAliases(config, flavor.extra_specs, fields));
  bool in_placement = config != nullptr && fields.Bool(*config, "pci_in_placement", false);
  return ResolveRequest(flavor, image, ports, aliases,
                        in_placement ? PciTracking::kNovaInPlacement : PciTracking::kNovaTracker);
}

}  // namespace berth::scheduler::whatif
