#include <cstdio>

#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"

namespace berth::vmm {
namespace {

std::string Row(const std::string& label, const std::string& text) {
  constexpr size_t kLabelWidth = 12;
  std::string row = label;
  row.resize(std::max(kLabelWidth, label.size() + 1), ' ');
  return row + text + "\n";
}

std::string Backing(const MemoryZoneConfig& zone) {
  std::string text = zone.file ? "file " + *zone.file : zone.hugepages ? "huge pages" : "anonymous pages";
  if (zone.hugepage_size) text += " of " + zone.hugepage_size->ToString();
  if (zone.shared) text += ", shared";
  if (zone.mergeable) text += ", mergeable";
  if (zone.prefault) text += ", prefaulted";
  return text + (zone.host_numa_node ? ", bound to host node " + std::to_string(*zone.host_numa_node)
                                     : ", on any host node");
}

std::string Range(const ResolvedRegion& region) {
  char text[64];
  std::snprintf(text, sizeof text, "0x%012llx-0x%012llx", static_cast<unsigned long long>(region.base),
                static_cast<unsigned long long>(region.base + region.size - 1));
  return text;
}

std::string DescribeSerial(const SerialConfig& serial) {
  switch (serial.mode) {
    case SerialConfig::Mode::kOff:
      return "off";
    case SerialConfig::Mode::kNull:
      return "null";
    case SerialConfig::Mode::kTty:
      return "tty";
    case SerialConfig::Mode::kFile:
      return "file " + serial.path;
    case SerialConfig::Mode::kSocket:
      return "socket " + serial.path;
  }
  CHECK(false);
}

std::string DescribeMemory(const ResolvedMachine& machine) {
  std::string text;
  for (const MemoryZoneConfig& zone : machine.zones) {
    text += Row("zone " + zone.id, zone.size.ToString() + ", " + Backing(zone));
    for (const ResolvedRegion& region : machine.regions) {
      if (region.zone != zone.id) continue;
      text += Row("  region",
                  Range(region) + ", " + ByteSize(region.size).ToString() +
                      (region.guest_numa_id ? ", guest node " + std::to_string(*region.guest_numa_id) : ""));
    }
  }
  return text;
}

std::string DescribeNodes(const ResolvedMachine& machine) {
  std::string text;
  for (const ResolvedNode& node : machine.nodes) {
    std::string row = "vcpus " + (node.vcpus.empty() ? "none" : node.vcpus.ToString()) + ", zones";
    for (const std::string& zone : node.zones) row += " " + zone;
    if (node.zones.empty()) row += " none";
    row += ", distances";
    for (uint8_t distance : node.distances) row += " " + std::to_string(distance);
    row += ", domain " + std::to_string(node.proximity_domain);
    if (machine.pci_node == node.guest_numa_id) row += ", PCI bus";
    text += Row("node " + std::to_string(node.guest_numa_id), row);
  }
  return text;
}

}  // namespace

std::string DescribeMachine(const VmConfig& config) {
  ResolvedMachine machine = ResolveMachine(config);
  std::string text = Row("kernel", config.kernel);
  if (config.initramfs) text += Row("initramfs", *config.initramfs);
  if (!config.cmdline.empty()) text += Row("cmdline", config.cmdline);
  text += Row("vcpus", std::to_string(machine.boot_vcpus) + " at boot, " + std::to_string(machine.max_vcpus) +
                           " at most");
  for (const auto& [vcpu, host] : config.cpus.affinity)
    text += Row("  vcpu " + std::to_string(vcpu), "on host CPUs " + host.ToString());
  text += DescribeMemory(machine) + DescribeNodes(machine);
  for (const DiskConfig& disk : config.disks) {
    text += Row("disk " + disk.id,
                disk.path + (disk.readonly ? ", read-only" : "") + (disk.direct ? ", direct" : ""));
  }
  for (const NetConfig& net : config.nets)
    text += Row("net " + net.id, "tap " + net.tap + (net.mac ? ", " + *net.mac : ""));
  text += Row("rng", config.rng.empty() ? "off" : config.rng);
  return text + Row("serial", DescribeSerial(config.serial));
}

}  // namespace berth::vmm
