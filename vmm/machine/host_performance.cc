#include "vmm/machine/host_performance.h"

#include <charconv>

#include "common/file.h"

namespace berth::vmm {
namespace {

uint32_t ReadNumber(const std::string& path) {
  Result<std::string> text = ReadFile(path);
  if (!text.has_value()) return 0;
  uint32_t value = 0;
  std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

}  // namespace

HostPerformance ReadHostPerformance(const VmConfig& config, const std::string& root) {
  HostPerformance performance;
  for (const MemoryZoneConfig& zone : config.memory_zones) {
    if (!zone.host_numa_node || performance.contains(*zone.host_numa_node)) continue;
    const std::string folder = root + "/sys/devices/system/node/node" + std::to_string(*zone.host_numa_node) +
                               "/access0/initiators/";
    const NodePerformance node{ReadNumber(folder + "read_latency"), ReadNumber(folder + "write_latency"),
                               ReadNumber(folder + "read_bandwidth"), ReadNumber(folder + "write_bandwidth")};
    if (node != NodePerformance()) performance.emplace(*zone.host_numa_node, node);
  }
  return performance;
}

}  // namespace berth::vmm
