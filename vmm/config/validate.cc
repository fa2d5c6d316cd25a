#include "vmm/config/validate.h"

#include <algorithm>
#include <string_view>

#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

// A value that could not be read keeps its default: a rule about it would blame what nobody wrote. The same
// holds for the rules that compare it with other options.
bool FollowsFrom(const ConfigErrors& known, const ConfigError& error) {
  struct Consequence {
    std::string_view option;
    std::string_view code;
  };
  constexpr Consequence kConsequences[] = {
      {"numa", "VcpuUnassigned"},
      {"numa", "MemoryZoneUnassigned"},
      {"numa", "UnknownNumaNode"},
      {"cpus", "VcpuUnassigned"},
      {"cpus", "InvalidVcpu"},
      {"cpus", "CpusMaxLowerThanBoot"},
      {"memory-zone", "MissingMemoryZones"},
      {"memory-zone", "UnknownMemoryZone"},
      {"memory", "InvalidMemoryParameters"},
      {"memory", "InvalidHotplugMethodWithMemoryZones"},
      {"memory", "InvalidHotplugSize"},
      {"platform", "InvalidPciSegment"},
      {"sgx-epc", "UnknownSgxEpcSection"},
      {"disk", "UnknownDevice"},
      {"net", "UnknownDevice"},
      {"device", "UnknownDevice"},
  };
  return std::any_of(known.begin(), known.end(), [&](const ConfigError& earlier) {
    if (earlier.option == error.option && (earlier.key.empty() || earlier.key == error.key)) return true;
    std::string_view option = std::string_view(earlier.option).substr(0, earlier.option.find('['));
    return std::any_of(std::begin(kConsequences), std::end(kConsequences),
                       [&](const Consequence& consequence) {
                         return consequence.option == option && consequence.code == error.code;
                       });
  });
}

}  // namespace

ConfigErrors ValidateConfig(const VmConfig& config) {
  ConfigErrors errors;
  CheckBoot(config, errors);
  CheckCpus(config.cpus, errors);
  CheckMemory(config, errors);
  CheckPlatform(config, errors);
  CheckNuma(config, errors);
  CheckDevices(config, errors);
  CheckConfidential(config, errors);
  CheckIdentifiers(config, errors);
  return errors;
}

void AppendValidation(const VmConfig& config, ConfigErrors& errors) {
  const ConfigErrors known = errors;
  for (ConfigError& error : ValidateConfig(config)) {
    if (!FollowsFrom(known, error)) errors.push_back(std::move(error));
  }
}

const char* IommuModelName(IommuModel model) {
  switch (model) {
    case IommuModel::kVirtio:
      return "virtio";
    case IommuModel::kIntel:
      return "intel";
    case IommuModel::kSmmuv3:
      return "smmuv3";
  }
  return "";
}

const char* ConfidentialName(ConfidentialKind kind) {
  switch (kind) {
    case ConfidentialKind::kNone:
      return "none";
    case ConfidentialKind::kSwProtected:
      return "sw-protected";
    case ConfidentialKind::kTdx:
      return "tdx";
    case ConfidentialKind::kSevSnp:
      return "sev-snp";
    case ConfidentialKind::kVirtcca:
      return "virtcca";
  }
  return "";
}

uint32_t MaxVcpus(const CpusConfig& cpus) {
  return cpus.max == 0 ? cpus.boot : cpus.max;
}

std::vector<MemoryZoneConfig> EffectiveZones(const VmConfig& config) {
  if (!config.memory_zones.empty()) return config.memory_zones;
  const MemoryConfig& memory = config.memory;
  MemoryZoneConfig zone;
  zone.id = kDefaultZoneId;
  zone.size = memory.size;
  zone.mergeable = memory.mergeable;
  zone.shared = memory.shared;
  zone.hugepages = memory.hugepages;
  zone.hugepage_size = memory.hugepage_size;
  zone.prefault = memory.prefault;
  zone.reserve = memory.reserve;
  zone.thp = memory.thp;
  zone.hotplug_size = memory.hotplug_size;
  zone.hotplugged_size = memory.hotplugged_size;
  return {zone};
}

uint32_t NetQueues(const NetConfig& net) {
  return net.num_queues.value_or(2 * std::max<uint32_t>(1, static_cast<uint32_t>(net.fds.size())));
}

bool DropDevice(VmConfig& config, const std::string& id) {
  auto named = [&id](const auto& device) { return device.id == id; };
  const size_t dropped = std::erase_if(config.disks, named) + std::erase_if(config.nets, named) +
                         std::erase_if(config.devices, named);
  for (NumaConfig& node : config.numa) {
    if (node.device_id == id) node.device_id.reset();
  }
  return dropped > 0;
}

std::vector<std::string> PciDeviceIds(const VmConfig& config) {
  std::vector<std::string> ids;
  for (const DiskConfig& disk : config.disks) ids.push_back(disk.id);
  for (const NetConfig& net : config.nets) ids.push_back(net.id);
  for (const DeviceConfig& device : config.devices) ids.push_back(device.id);
  if (config.vsock) ids.push_back(config.vsock->id);
  if (!config.rng.empty()) ids.push_back("rng0");
  if (config.balloon) ids.push_back("balloon0");
  if (HasIommu(config)) ids.push_back("iommu0");
  if (config.pvpanic) ids.push_back("pvpanic0");
  if (config.console.mode != SerialConfig::Mode::kOff) ids.push_back("console0");
  return ids;
}

uint8_t EffectiveDistance(const std::vector<NumaConfig>& nodes, const NumaConfig& from, uint32_t to) {
  constexpr uint8_t kLocal = 10;
  constexpr uint8_t kRemote = 20;
  if (from.guest_numa_id == to) return kLocal;
  if (auto given = from.distances.find(to); given != from.distances.end()) return given->second;
  for (const NumaConfig& node : nodes) {
    if (node.guest_numa_id != to) continue;
    if (auto back = node.distances.find(from.guest_numa_id); back != node.distances.end())
      return back->second;
  }
  return kRemote;
}

}  // namespace berth::vmm
