#include <algorithm>
#include <charconv>
#include <set>

#include "vmm/config/option_values.h"

namespace berth::vmm {
namespace {

template <class T>
void Set(const OptionValues& values, std::string_view key, T& target) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string> || std::is_same_v<T, CpuSet> ||
                std::is_same_v<T, std::vector<std::string>>) {
    if (const T* value = values.Get<T>(key)) target = *value;
  } else if constexpr (std::is_same_v<T, ByteSize> || std::is_integral_v<T>) {
    if (const uint64_t* value = values.Get<uint64_t>(key)) target = T(*value);
  } else {  // std::optional
    typename T::value_type value{};
    if (values.values.contains(key)) {
      Set(values, key, value);
      target = std::move(value);
    }
  }
}

// "threads:cores:dies:packages"
std::optional<CpuTopologyConfig> ParseTopology(std::string_view text) {
  constexpr uint32_t kMax = 255;
  uint32_t numbers[4];
  for (size_t i = 0; i < std::size(numbers); ++i) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), numbers[i]);
    if (error != std::errc() || numbers[i] == 0 || numbers[i] > kMax) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (i + 1 == std::size(numbers)) break;
    if (!text.starts_with(':')) return std::nullopt;
    text.remove_prefix(1);
  }
  if (!text.empty()) return std::nullopt;
  return CpuTopologyConfig{numbers[0], numbers[1], numbers[2], numbers[3]};
}

void ApplyCpus(const OptionValues& values, CpusConfig& cpus, ConfigErrors& errors) {
  Set(values, "boot", cpus.boot);
  Set(values, "max", cpus.max);
  Set(values, "max_phys_bits", cpus.max_phys_bits);
  if (const AffinityList* list = values.Get<AffinityList>("affinity")) {
    for (const auto& [vcpu, host] : *list) {
      if (cpus.affinity.emplace(vcpu, host).second) continue;
      errors.push_back({"DuplicateTuple", values.label, "affinity",
                        std::to_string(vcpu) + "@[" + host.ToString() + "]", "vCPU stands twice in the list",
                        "each vCPU once", ""});
    }
  }
  if (const auto* mode = values.Get<std::string>("core_scheduling")) {
    cpus.core_scheduling = *mode == "vm"     ? CoreScheduling::kVm
                           : *mode == "vcpu" ? CoreScheduling::kVcpu
                                             : CoreScheduling::kOff;
  }
  const auto* topology = values.Get<std::string>("topology");
  if (topology == nullptr) return;
  cpus.topology = ParseTopology(*topology);
  if (cpus.topology) return;
  errors.push_back({"InvalidValue", values.label, "topology", *topology, "not a topology",
                    "threads:cores:dies:packages, four numbers from 1 to 255", ""});
}

void ApplyMemory(const OptionValues& values, MemoryConfig& memory) {
  Set(values, "size", memory.size);
  Set(values, "mergeable", memory.mergeable);
  Set(values, "shared", memory.shared);
  Set(values, "hugepages", memory.hugepages);
  Set(values, "hugepage_size", memory.hugepage_size);
  Set(values, "prefault", memory.prefault);
  Set(values, "reserve", memory.reserve);
  Set(values, "thp", memory.thp);
  Set(values, "hotplug_size", memory.hotplug_size);
  Set(values, "hotplugged_size", memory.hotplugged_size);
  const auto* method = values.Get<std::string>("hotplug_method");
  if (method != nullptr && *method == "virtio-mem") memory.hotplug_method = HotplugMethod::kVirtioMem;
}

MemoryZoneConfig MakeZone(const OptionValues& values, const MemoryConfig& memory) {
  MemoryZoneConfig zone;
  zone.mergeable = memory.mergeable;
  zone.thp = memory.thp;
  Set(values, "id", zone.id);
  Set(values, "size", zone.size);
  Set(values, "file", zone.file);
  Set(values, "mergeable", zone.mergeable);
  Set(values, "shared", zone.shared);
  Set(values, "hugepages", zone.hugepages);
  Set(values, "hugepage_size", zone.hugepage_size);
  Set(values, "host_numa_node", zone.host_numa_node);
  Set(values, "prefault", zone.prefault);
  Set(values, "reserve", zone.reserve);
  Set(values, "hotplug_size", zone.hotplug_size);
  Set(values, "hotplugged_size", zone.hotplugged_size);
  return zone;
}

NumaConfig MakeNumaNode(const OptionValues& values, ConfigErrors& errors) {
  NumaConfig node;
  Set(values, "guest_numa_id", node.guest_numa_id);
  Set(values, "cpus", node.cpus);
  Set(values, "memory_zones", node.memory_zones);
  Set(values, "sgx_epc_sections", node.sgx_epc_sections);
  Set(values, "pci_segments", node.pci_segments);
  Set(values, "device_id", node.device_id);
  if (const TupleList* list = values.Get<TupleList>("distances")) {
    for (auto [destination, distance] : *list) {
      const std::string given = std::to_string(destination) + "@" + std::to_string(distance);
      // A distance is one byte in the SLIT; what does not fit is reported here, the finer rules later.
      if (distance > UINT8_MAX) {
        errors.push_back(
            {"InvalidDistance", values.label, "distances", given, "distance out of range", "11 to 255", ""});
      } else if (!node.distances.emplace(destination, static_cast<uint8_t>(distance)).second) {
        errors.push_back({"DuplicateTuple", values.label, "distances", given, "node stands twice in the list",
                          "each node once", ""});
      }
    }
  }
  return node;
}

void ApplySerial(const OptionValues& values, SerialConfig& serial, ConfigErrors& errors) {
  using Mode = SerialConfig::Mode;
  if (values.word == "off") serial.mode = Mode::kOff;
  if (values.word == "null") serial.mode = Mode::kNull;
  if (values.word == "tty") serial.mode = Mode::kTty;
  if (values.word == "pty") serial = {Mode::kPty, ""};
  const auto* file = values.Get<std::string>("file");
  const auto* socket = values.Get<std::string>("socket");
  if (file != nullptr && socket != nullptr) {
    errors.push_back(
        {"InvalidValue", values.label, "socket", *socket, "file and socket exclude each other", "", ""});
  }
  if (file != nullptr) serial = {Mode::kFile, *file};
  if (socket != nullptr) serial = {Mode::kSocket, *socket};
}

void ApplyPlatform(const OptionValues& values, PlatformConfig& platform, ConfigErrors& errors) {
  Set(values, "num_pci_segments", platform.num_pci_segments);
  if (const auto* model = values.Get<std::string>("iommu_model")) {
    for (IommuModel known : {IommuModel::kVirtio, IommuModel::kIntel, IommuModel::kSmmuv3}) {
      if (*model == IommuModelName(known)) platform.iommu_model = known;
    }
  }
  Set(values, "iommu_segments", platform.iommu_segments);
  Set(values, "iommu_address_width", platform.iommu_address_width);
  Set(values, "quote_socket", platform.quote_socket);
  Set(values, "snp_policy", platform.snp_policy);
  std::set<ConfidentialKind> asked;
  const auto* word = values.Get<std::string>("confidential");
  for (auto kind : {ConfidentialKind::kSwProtected, ConfidentialKind::kTdx, ConfidentialKind::kSevSnp,
                    ConfidentialKind::kVirtcca}) {
    if (word != nullptr && *word == ConfidentialName(kind)) asked.insert(kind);
  }
  for (auto [key, kind] :
       {std::pair("tdx", ConfidentialKind::kTdx), std::pair("sev_snp", ConfidentialKind::kSevSnp)}) {
    const bool* on = values.Get<bool>(key);
    if (on != nullptr && *on) asked.insert(kind);
  }
  if (asked.size() > 1) {
    errors.push_back({"InvalidValue", values.label, "confidential", word == nullptr ? "" : *word,
                      "two platforms at once", "one of confidential, tdx and sev_snp", ""});
  }
  if (!asked.empty()) platform.confidential = *asked.begin();
}

PciSegmentConfig MakePciSegment(const OptionValues& values) {
  PciSegmentConfig segment;
  Set(values, "pci_segment", segment.segment);
  Set(values, "mmio32_aperture_weight", segment.mmio32_weight);
  Set(values, "mmio64_aperture_weight", segment.mmio64_weight);
  return segment;
}

SgxEpcConfig MakeSgxSection(const OptionValues& values) {
  SgxEpcConfig section;
  Set(values, "id", section.id);
  Set(values, "size", section.size);
  Set(values, "prefault", section.prefault);
  return section;
}

VsockConfig MakeVsock(const OptionValues& values) {
  VsockConfig vsock;
  vsock.id = "vsock0";
  Set(values, "cid", vsock.cid);
  Set(values, "iommu", vsock.iommu);
  Set(values, "socket", vsock.socket);
  Set(values, "id", vsock.id);
  Set(values, "pci_segment", vsock.pci_segment);
  return vsock;
}

BalloonConfig MakeBalloon(const OptionValues& values) {
  BalloonConfig balloon;
  Set(values, "size", balloon.size);
  Set(values, "deflate_on_oom", balloon.deflate_on_oom);
  Set(values, "free_page_reporting", balloon.free_page_reporting);
  return balloon;
}

RateLimits MakeLimits(const OptionValues& values) {
  RateLimits limits;
  Set(values, "bw_size", limits.bandwidth.size);
  Set(values, "bw_one_time_burst", limits.bandwidth.one_time_burst);
  Set(values, "bw_refill_time", limits.bandwidth.refill_ms);
  Set(values, "ops_size", limits.operations.size);
  Set(values, "ops_one_time_burst", limits.operations.one_time_burst);
  Set(values, "ops_refill_time", limits.operations.refill_ms);
  return limits;
}

DiskConfig MakeDisk(const OptionValues& values) {
  DiskConfig disk;
  Set(values, "path", disk.path);
  Set(values, "readonly", disk.readonly);
  Set(values, "direct", disk.direct);
  Set(values, "id", disk.id);
  Set(values, "pci_segment", disk.pci_segment);
  Set(values, "iommu", disk.iommu);
  Set(values, "num_queues", disk.num_queues);
  Set(values, "queue_size", disk.queue_size);
  Set(values, "serial", disk.serial);
  Set(values, "vhost_user", disk.vhost_user);
  Set(values, "socket", disk.vhost_socket);
  bool no_ring = false;
  Set(values, "_disable_io_uring", no_ring);
  disk.io_uring = !no_ring;
  disk.limits = MakeLimits(values);
  return disk;
}

NetConfig MakeNet(const OptionValues& values) {
  NetConfig net;
  Set(values, "tap", net.tap);
  Set(values, "mac", net.mac);
  Set(values, "id", net.id);
  Set(values, "pci_segment", net.pci_segment);
  Set(values, "iommu", net.iommu);
  Set(values, "queue_size", net.queue_size);
  Set(values, "mtu", net.mtu);
  Set(values, "num_queues", net.num_queues);
  Set(values, "vhost_user", net.vhost_user);
  Set(values, "socket", net.vhost_socket);
  if (const auto* fds = values.Get<CpuSet>("fd")) {
    for (const uint32_t fd : fds->ToVector()) net.fds.push_back(static_cast<int>(fd));
  }
  net.limits = MakeLimits(values);
  return net;
}

DeviceConfig MakeDevice(const OptionValues& values) {
  DeviceConfig device;
  Set(values, "path", device.path);
  Set(values, "id", device.id);
  Set(values, "pci_segment", device.pci_segment);
  Set(values, "iommu", device.iommu);
  return device;
}

// "disk0", "disk1", ...: the next that is not taken.
template <class Devices>
void GenerateIds(Devices& devices, std::string_view prefix, std::set<std::string>& taken) {
  size_t next = 0;
  for (auto& device : devices) {
    while (device.id.empty()) {
      std::string id = std::string(prefix) + std::to_string(next++);
      if (taken.insert(id).second) device.id = std::move(id);
    }
  }
}

void GenerateDeviceIds(VmConfig& config) {
  std::set<std::string> taken;
  for (const MemoryZoneConfig& zone : config.memory_zones) taken.insert(zone.id);
  for (const SgxEpcConfig& section : config.sgx_epc) taken.insert(section.id);
  if (config.vsock) taken.insert(config.vsock->id);
  for (const DiskConfig& disk : config.disks) taken.insert(disk.id);
  for (const NetConfig& net : config.nets) taken.insert(net.id);
  for (const DeviceConfig& device : config.devices) taken.insert(device.id);
  GenerateIds(config.disks, "disk", taken);
  GenerateIds(config.nets, "net", taken);
  GenerateIds(config.devices, "device", taken);
}

void ApplyOption(const OptionValues& values, VmConfig& config, ConfigErrors& errors) {
  std::string_view name = values.spec->name;
  if (name == "cpus") ApplyCpus(values, config.cpus, errors);
  if (name == "memory") ApplyMemory(values, config.memory);
  if (name == "memory-zone") config.memory_zones.push_back(MakeZone(values, config.memory));
  if (name == "numa") config.numa.push_back(MakeNumaNode(values, errors));
  if (name == "platform") ApplyPlatform(values, config.platform, errors);
  if (name == "pci-segment") config.pci_segments.push_back(MakePciSegment(values));
  if (name == "sgx-epc") config.sgx_epc.push_back(MakeSgxSection(values));
  if (name == "disk") config.disks.push_back(MakeDisk(values));
  if (name == "net") config.nets.push_back(MakeNet(values));
  if (name == "device") config.devices.push_back(MakeDevice(values));
  if (name == "rng" && values.word == "off") {
    config.rng.clear();
    config.rng_iommu = false;
  }
  if (name == "rng") Set(values, "src", config.rng);
  if (name == "rng") Set(values, "iommu", config.rng_iommu);
  if (name == "serial") ApplySerial(values, config.serial, errors);
  if (name == "console") ApplySerial(values, config.console, errors);
  if (name == "vsock") config.vsock = MakeVsock(values);
  if (name == "balloon") config.balloon = MakeBalloon(values);
  if (name == "landlock-rules") {
    const auto* path = values.Get<std::string>("path");
    const auto* access = values.Get<std::string>("access");
    if (path != nullptr && access != nullptr) config.landlock.rules.push_back({*path, *access == "rw"});
  }
}

}  // namespace

void ApplyOptions(const std::vector<OptionValues>& options, VmConfig& config, ConfigErrors& errors) {
  for (const OptionSpec& spec : OptionTable()) {
    for (const OptionValues& values : options) {
      if (values.spec == &spec) ApplyOption(values, config, errors);
    }
  }
  GenerateDeviceIds(config);
}

}  // namespace berth::vmm
