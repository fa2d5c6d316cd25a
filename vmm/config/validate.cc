#include "vmm/config/validate.h"

#include <algorithm>
#include <string_view>

#include "vmm/config/option_table.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

// A rule that compares values: what it says of one (`code`, `key`, where empty stands for any) follows from
// keys of an option that could not be read. An empty option stands for the entry that the rule is about.
struct Consequence {
  std::string_view code;
  std::string_view key;
  std::string_view option;
  std::string_view keys;
};
constexpr Consequence kConsequences[] = {
    {"VcpuUnassigned", "", "numa", "cpus"},
    {"VcpuUnassigned", "", "cpus", "boot, max"},
    {"InvalidVcpu", "", "cpus", "boot, max"},
    {"CpusMaxLowerThanBoot", "", "cpus", "boot"},
    {"InvalidTopology", "", "cpus", "boot, max"},
    {"MemoryZoneUnassigned", "", "numa", "memory_zones"},
    {"UnknownNumaNode", "", "numa", "guest_numa_id"},
    {"DuplicateNumaNode", "", "numa", "guest_numa_id"},
    {"DefaultPciSegmentInvalidNode", "", "numa", "guest_numa_id"},
    {"DuplicatePciSegment", "", "pci-segment", "pci_segment"},
    {"InvalidPciSegment", "", "platform", "num_pci_segments"},
    {"MissingMemoryZones", "", "memory-zone", ""},
    {"UnknownMemoryZone", "", "memory-zone", "id"},
    {"UnknownSgxEpcSection", "", "sgx-epc", "id"},
    {"UnknownDevice", "", "disk", "id"},
    {"UnknownDevice", "", "net", "id"},
    {"UnknownDevice", "", "device", "id"},
    {"InvalidHotplugMethodWithMemoryZones", "", "memory", "hotplug_method"},
    {"ConfidentialHotplug", "", "memory", "hotplug_method"},
    {"InvalidMemoryParameters", "hotplugged_size", "", "hotplug_size, hotplug_method"},
    {"MisalignedMemorySize", "hotplug_size", "", "hotplug_method"},
    {"MisalignedMemorySize", "hotplugged_size", "", "hotplug_method"},
    {"HugePageSizeWithoutHugePages", "", "", "hugepages"},
    {"BalloonLargerThanRam", "", "memory", "size, hotplug_size"},
    {"BalloonLargerThanRam", "", "memory-zone", "size, hotplug_size"},
    {"VhostUserRequiresSharedMemory", "", "memory", "shared, hugepages"},
    {"VhostUserRequiresSharedMemory", "", "memory-zone", "shared, hugepages"},
    {"MissingKey", "tap", "", "fd, vhost_user"},
    {"MissingKey", "path", "", "vhost_user"},
    {"MissingKey", "socket", "", "vhost_user"},
    {"InvalidRateLimit", "", "", "bw_size, bw_refill_time, ops_size, ops_refill_time"},
    {"OnIommuSegment", "", "", "iommu"},
    {"InvalidIommuAddressWidthBits", "", "platform", "iommu_model"},
    {"QuoteSocketUnused", "", "platform", "confidential, tdx, sev_snp"},
    {"InvalidHostData", "", "platform", "confidential, tdx, sev_snp"},
    {"FirmwareUnused", "", "platform", "confidential, tdx, sev_snp"},
    {"KernelMissing", "", "platform", "confidential, tdx, sev_snp"},
};

// Whether the entry that could not be read can be the one that the rule did not find, or found twice.
bool IsAbout(const ConfigError& earlier, const ConfigError& error) {
  if (error.code.starts_with("Duplicate")) return error.message.find(earlier.option) != std::string::npos;
  if (!error.code.starts_with("Unknown") && error.code != "MemoryZoneUnassigned") return true;
  const std::string name = error.value.substr(0, error.value.find('@'));
  return earlier.value.find(name) != std::string::npos;
}

// A value that could not be read keeps its default: a rule about it would blame what nobody wrote.
bool FollowsFrom(const ConfigErrors& known, const ConfigError& error) {
  return std::any_of(known.begin(), known.end(), [&](const ConfigError& earlier) {
    // Of what stands twice the first was read.
    if (earlier.code.starts_with("Duplicate") || earlier.code == "InvalidDistance") return false;
    const bool same = earlier.option == error.option;
    // A syntax error without a value is about a part of the entry that stands for nothing.
    const bool whole = earlier.key.empty() && !(earlier.code == "SyntaxError" && earlier.value.empty());
    if (same && (whole || (!error.key.empty() && earlier.key == error.key))) return true;
    const std::string_view option = std::string_view(earlier.option).substr(0, earlier.option.find('['));
    return std::any_of(
        std::begin(kConsequences), std::end(kConsequences), [&](const Consequence& consequence) {
          return consequence.code == error.code &&
                 (consequence.key.empty() || consequence.key == error.key) &&
                 (consequence.option.empty() ? same : consequence.option == option) &&
                 (whole || !FindWord(consequence.keys, earlier.key).empty()) && IsAbout(earlier, error);
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
  CheckLandlock(config.landlock, errors);
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
  size_t dropped = std::erase_if(config.disks, named) + std::erase_if(config.nets, named) +
                   std::erase_if(config.devices, named);
  if (config.vsock && config.vsock->id == id) {
    config.vsock.reset();
    ++dropped;
  }
  for (NumaConfig& node : config.numa) {
    if (node.device_id == id) node.device_id.reset();
  }
  return dropped > 0;
}

std::vector<std::string> PciDeviceIds(const VmConfig& config) {
  std::vector<std::string> ids;
  ids.reserve(config.disks.size() + config.nets.size() + config.devices.size());
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
