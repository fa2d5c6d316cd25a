#include "vmm/config/validate.h"

#include "vmm/config/validate_rules.h"

namespace berth::vmm {

ConfigErrors ValidateConfig(const VmConfig& config) {
  ConfigErrors errors;
  CheckBoot(config, errors);
  CheckCpus(config.cpus, errors);
  CheckMemory(config, errors);
  CheckNuma(config, errors);
  CheckDevices(config, errors);
  CheckIdentifiers(config, errors);
  return errors;
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
  return {zone};
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
