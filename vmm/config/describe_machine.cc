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
  const bool folder = BackingName(zone) == std::string_view("directory");
  std::string text = folder           ? "a file in directory " + *zone.file
                     : zone.file      ? "file " + *zone.file
                     : zone.hugepages ? "huge pages"
                                      : "anonymous pages";
  if (zone.hugepage_size) text += " of " + zone.hugepage_size->ToString();
  if (zone.file && !MappedShared(zone)) text += ", private";
  if (MappedShared(zone)) text += ", shared";
  if (zone.mergeable) text += ", mergeable";
  if (zone.prefault) text += ", prefaulted";
  if (!zone.reserve) text += ", not reserved";
  if (!zone.thp && !zone.hugepages && !zone.file) text += ", without transparent huge pages";
  return text + (zone.host_numa_node ? ", bound to host node " + std::to_string(*zone.host_numa_node)
                                     : ", on any host node");
}

std::string Range(uint64_t base, uint64_t size) {
  char text[64];
  std::snprintf(text, sizeof text, "0x%012llx-0x%012llx", static_cast<unsigned long long>(base),
                static_cast<unsigned long long>(base + size - 1));
  return text;
}

std::string OnGuestNode(const std::optional<uint32_t>& node) {
  return node ? ", guest node " + std::to_string(*node) : "";
}

std::string OnSegment(uint32_t segment) {
  return segment == 0 ? "" : ", PCI segment " + std::to_string(segment);
}

std::string BehindIommu(bool iommu) {
  return iommu ? ", behind the IOMMU" : "";
}

std::string Queues(const DiskConfig& disk) {
  return disk.num_queues == 1 ? "" : ", " + std::to_string(disk.num_queues) + " queues";
}

template <class Device>
std::string QueueSize(const Device& device) {
  return device.queue_size == Device{}.queue_size ? "" : ", queues of " + std::to_string(device.queue_size);
}

std::string Limits(const RateLimits& limits) {
  std::string text;
  for (const auto& [what, limit] :
       {std::pair("bytes", &limits.bandwidth), std::pair("operations", &limits.operations)}) {
    if (limit->size == 0) continue;
    text += ", at most " + std::to_string(limit->size) + " " + what + " in " +
            std::to_string(limit->refill_ms) + " ms";
    if (limit->one_time_burst > 0) text += " (and " + std::to_string(limit->one_time_burst) + " once)";
  }
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
    case SerialConfig::Mode::kPty:
      return "pty";
  }
  CHECK(false);
}

std::string DescribeMemory(const ResolvedMachine& machine) {
  std::string text;
  for (const MemoryZoneConfig& zone : machine.zones) {
    text += Row("zone " + zone.id, zone.size.ToString() + ", " + Backing(zone));
    for (const ResolvedRegion& region : machine.regions) {
      if (region.zone != zone.id) continue;
      text += Row("  region", Range(region.base, region.size) + ", " + ByteSize(region.size).ToString() +
                                  OnGuestNode(region.guest_numa_id));
    }
    for (const ResolvedHotplugArea& hotplug : machine.hotplug) {
      const HotplugArea& area = hotplug.area;
      if (area.zone != zone.id) continue;
      text += Row("  hotplug", Range(area.base, area.size) + ", " + ByteSize(area.size).ToString() + " by " +
                                   (machine.hotplug_method == HotplugMethod::kAcpi ? "ACPI" : "virtio-mem") +
                                   " in pieces of " + ByteSize(area.block).ToString() +
                                   (hotplug.assumed ? " (or of the host's huge page)" : "") + ", " +
                                   ByteSize(area.plugged).ToString() + " at boot" +
                                   OnGuestNode(hotplug.guest_numa_id));
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
    if (!node.sgx_sections.empty()) row += ", sgx";
    for (const std::string& section : node.sgx_sections) row += " " + section;
    if (node.device) row += ", device " + *node.device;
    row += ", distances";
    for (uint8_t distance : node.distances) row += " " + std::to_string(distance);
    row += ", domain " + std::to_string(node.proximity_domain);
    for (const ResolvedSegment& segment : machine.segments) {
      if (segment.guest_numa_id == node.guest_numa_id)
        row += ", PCI segment " + std::to_string(segment.number);
    }
    text += Row("node " + std::to_string(node.guest_numa_id), row);
  }
  return text;
}

std::string DescribeNetBackend(const NetConfig& net) {
  const uint32_t pairs = NetQueues(net) / 2;
  const std::string several = pairs > 1 ? ", " + std::to_string(pairs) + " pairs of queues" : "";
  if (net.vhost_user) return "served at " + net.vhost_socket.value_or("") + several;
  return (net.fds.empty() ? "tap " + net.tap : "a tap by descriptor " + std::to_string(net.fds[0])) + several;
}

}  // namespace

std::string DescribeMachine(const VmConfig& config, std::optional<uint64_t> huge_page) {
  ResolvedMachine machine = ResolveMachine(config, huge_page);
  std::string text;
  if (!config.kernel.empty()) text += Row("kernel", config.kernel);
  if (config.initramfs) text += Row("initramfs", *config.initramfs);
  if (config.firmware) text += Row("firmware", *config.firmware);
  if (config.igvm) text += Row("igvm", *config.igvm);
  if (config.platform.confidential != ConfidentialKind::kNone) {
    text += Row("confidential", ConfidentialName(config.platform.confidential));
  }
  if (!config.cmdline.empty()) text += Row("cmdline", config.cmdline);
  text += Row("vcpus", std::to_string(machine.boot_vcpus) + " at boot, " + std::to_string(machine.max_vcpus) +
                           " at most");
  if (const auto& topology = config.cpus.topology) {
    text += Row("  topology", std::to_string(topology->threads_per_core) + " threads in each of " +
                                  std::to_string(topology->cores_per_die) + " cores in each of " +
                                  std::to_string(topology->dies_per_package) + " dies in each of " +
                                  std::to_string(topology->packages) + " packages");
  }
  if (config.cpus.core_scheduling != CoreScheduling::kOff) {
    text += Row("  cores", config.cpus.core_scheduling == CoreScheduling::kVm
                               ? "shared with threads of this process only"
                               : "shared with nobody, not even with each other");
  }
  for (const auto& [vcpu, host] : config.cpus.affinity)
    text += Row("  vcpu " + std::to_string(vcpu), "on host CPUs " + host.ToString());
  text += DescribeMemory(machine) + DescribeNodes(machine);
  if (machine.segments.size() > 1)
    text += Row("segments", std::to_string(machine.segments.size()) + " PCI segments");
  if (HasIommu(config)) {
    const CpuSet& whole = config.platform.iommu_segments;
    const bool intel = config.platform.iommu_model == IommuModel::kIntel;
    const std::string bits = config.platform.iommu_address_width
                                 ? std::to_string(*config.platform.iommu_address_width)
                                 : (intel ? "48 or 39" : "64");
    text += Row("iommu", std::string(IommuModelName(config.platform.iommu_model)) + ", addresses of " + bits +
                             " bits" + (intel ? ", interrupt remapping" : "") +
                             (whole.empty() ? "" : ", PCI segments " + whole.ToString()));
  }
  for (const SgxEpcConfig& section : config.sgx_epc)
    text += Row("sgx " + section.id, section.size.ToString() + " of enclave memory");
  for (const DiskConfig& disk : config.disks) {
    text +=
        Row("disk " + disk.id, (disk.vhost_user ? "served at " + disk.vhost_socket.value_or("") : disk.path) +
                                   (disk.readonly ? ", read-only" : "") + (disk.direct ? ", direct" : "") +
                                   Queues(disk) + QueueSize(disk) + Limits(disk.limits) +
                                   OnSegment(disk.pci_segment) + BehindIommu(disk.iommu));
  }
  for (const NetConfig& net : config.nets)
    text +=
        Row("net " + net.id, DescribeNetBackend(net) + (net.mac ? ", " + *net.mac : "") +
                                 (net.mtu ? ", MTU " + std::to_string(*net.mtu) : "") + QueueSize(net) +
                                 Limits(net.limits) + OnSegment(net.pci_segment) + BehindIommu(net.iommu));
  for (const DeviceConfig& device : config.devices)
    text += Row("device " + device.id,
                "host device " + device.path + OnSegment(device.pci_segment) + BehindIommu(device.iommu));
  text += Row("rng", config.rng.empty() ? "off" : config.rng + BehindIommu(config.rng_iommu));
  text += Row("serial", DescribeSerial(config.serial));
  if (config.console.mode != SerialConfig::Mode::kOff) text += Row("console", DescribeSerial(config.console));
  if (config.vsock) {
    text += Row("vsock " + config.vsock->id, "address " + std::to_string(config.vsock->cid) + " at " +
                                                 config.vsock->socket + OnSegment(config.vsock->pci_segment) +
                                                 BehindIommu(config.vsock->iommu));
  }
  if (config.balloon) {
    text += Row("balloon", config.balloon->size.ToString() + " at boot" +
                               (config.balloon->free_page_reporting ? ", free page reporting" : ""));
  }
  return text + (config.pvpanic ? Row("pvpanic", "on") : "");
}

}  // namespace berth::vmm
