#include <nlohmann/json.hpp>

#include "vmm/config/json_config.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"

namespace berth::vmm {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json CpusJson(const CpusConfig& cpus) {
  Json json = {{"boot_vcpus", cpus.boot}, {"max_vcpus", MaxVcpus(cpus)}};
  if (const auto& topology = cpus.topology) {
    json["topology"] = {{"threads_per_core", topology->threads_per_core},
                        {"cores_per_die", topology->cores_per_die},
                        {"dies_per_package", topology->dies_per_package},
                        {"packages", topology->packages}};
  }
  if (cpus.max_phys_bits) json["max_phys_bits"] = *cpus.max_phys_bits;
  if (cpus.core_scheduling != CoreScheduling::kOff) {
    json["core_scheduling"] = cpus.core_scheduling == CoreScheduling::kVm ? "Vm" : "Vcpu";
  }
  for (const auto& [vcpu, host] : cpus.affinity)
    json["affinity"].push_back({{"vcpu", vcpu}, {"host_cpus", host.ToVector()}});
  return json;
}

template <class Memory>
void AddBacking(const Memory& memory, Json& json) {
  json["size"] = memory.size.bytes();
  json["mergeable"] = memory.mergeable;
  json["shared"] = memory.shared;
  json["hugepages"] = memory.hugepages;
  if (memory.hugepage_size) json["hugepage_size"] = memory.hugepage_size->bytes();
  json["prefault"] = memory.prefault;
  json["reserve"] = memory.reserve;
  if (memory.hotplug_size) json["hotplug_size"] = memory.hotplug_size->bytes();
  if (memory.hotplugged_size) json["hotplugged_size"] = memory.hotplugged_size->bytes();
}

Json ZoneJson(const MemoryZoneConfig& zone) {
  Json json = {{"id", zone.id}};
  AddBacking(zone, json);
  if (zone.file) json["file"] = *zone.file;
  if (zone.host_numa_node) json["host_numa_node"] = *zone.host_numa_node;
  return json;
}

Json NumaJson(const NumaConfig& node) {
  Json json = {{"guest_numa_id", node.guest_numa_id}};
  if (!node.cpus.empty()) json["cpus"] = node.cpus.ToVector();
  for (auto [destination, distance] : node.distances)
    json["distances"].push_back({{"destination", destination}, {"distance", distance}});
  if (!node.memory_zones.empty()) json["memory_zones"] = node.memory_zones;
  if (!node.sgx_epc_sections.empty()) json["sgx_epc_sections"] = node.sgx_epc_sections;
  if (!node.pci_segments.empty()) json["pci_segments"] = node.pci_segments.ToVector();
  if (node.device_id) json["device_id"] = *node.device_id;
  return json;
}

void AddLimits(const RateLimits& limits, Json& json) {
  for (const auto& [name, limit] :
       {std::pair("bandwidth", &limits.bandwidth), std::pair("ops", &limits.operations)}) {
    if (limit->size == 0) continue;
    json["rate_limiter_config"][name] = {
        {"size", limit->size}, {"one_time_burst", limit->one_time_burst}, {"refill_time", limit->refill_ms}};
  }
}

Json DiskJson(const DiskConfig& disk) {
  Json json = Json::object();
  if (!disk.path.empty()) json["path"] = disk.path;
  json["readonly"] = disk.readonly;
  json["direct"] = disk.direct;
  json["id"] = disk.id;
  json["num_queues"] = disk.num_queues;
  json["queue_size"] = disk.queue_size;
  json["pci_segment"] = disk.pci_segment;
  if (disk.iommu) json["iommu"] = true;
  if (disk.vhost_user) json["vhost_user"] = true;
  if (disk.vhost_socket) json["vhost_socket"] = *disk.vhost_socket;
  if (!disk.io_uring) json["disable_io_uring"] = true;
  if (disk.serial) json["serial"] = *disk.serial;
  AddLimits(disk.limits, json);
  return json;
}

Json NetJson(const NetConfig& net) {
  Json json = Json::object();
  if (!net.tap.empty()) json["tap"] = net.tap;
  json["id"] = net.id;
  json["pci_segment"] = net.pci_segment;
  if (net.iommu) json["iommu"] = true;
  if (net.num_queues) json["num_queues"] = *net.num_queues;
  json["queue_size"] = net.queue_size;
  if (!net.fds.empty()) json["fds"] = net.fds;
  if (net.vhost_user) json["vhost_user"] = true;
  if (net.vhost_socket) json["vhost_socket"] = *net.vhost_socket;
  if (net.mac) json["mac"] = *net.mac;
  if (net.mtu) json["mtu"] = *net.mtu;
  AddLimits(net.limits, json);
  return json;
}

Json SerialJson(const SerialConfig& serial) {
  switch (serial.mode) {
    case SerialConfig::Mode::kOff:
      return {{"mode", "Off"}};
    case SerialConfig::Mode::kNull:
      return {{"mode", "Null"}};
    case SerialConfig::Mode::kTty:
      return {{"mode", "Tty"}};
    case SerialConfig::Mode::kFile:
      return {{"mode", "File"}, {"file", serial.path}};
    case SerialConfig::Mode::kSocket:
      return {{"mode", "Socket"}, {"socket", serial.path}};
    case SerialConfig::Mode::kPty:
      return serial.path.empty() ? Json({{"mode", "Pty"}}) : Json({{"mode", "Pty"}, {"file", serial.path}});
  }
  CHECK(false);
}

Json ConfigJson(const VmConfig& config) {
  Json json;
  json["payload"] = Json::object();
  if (!config.firmware || !config.kernel.empty()) {
    json["payload"]["kernel"] = config.kernel;
    json["payload"]["cmdline"] = config.cmdline;
  }
  if (config.initramfs) json["payload"]["initramfs"] = *config.initramfs;
  if (config.firmware) json["payload"]["firmware"] = *config.firmware;
  if (config.igvm) json["payload"]["igvm"] = *config.igvm;
  if (config.host_data) json["payload"]["host_data"] = *config.host_data;
  json["cpus"] = CpusJson(config.cpus);
  AddBacking(config.memory, json["memory"]);
  json["memory"]["thp"] = config.memory.thp;
  json["memory"]["hotplug_method"] =
      config.memory.hotplug_method == HotplugMethod::kAcpi ? "Acpi" : "VirtioMem";
  for (const MemoryZoneConfig& zone : config.memory_zones) json["memory"]["zones"].push_back(ZoneJson(zone));
  for (const NumaConfig& node : config.numa) json["numa"].push_back(NumaJson(node));
  json["platform"] = {{"num_pci_segments", config.platform.num_pci_segments}};
  if (config.platform.iommu_model != IommuModel::kVirtio)
    json["platform"]["iommu_model"] = IommuModelName(config.platform.iommu_model);
  if (const auto& width = config.platform.iommu_address_width)
    json["platform"]["iommu_address_width_bits"] = *width;
  if (const CpuSet& segments = config.platform.iommu_segments; !segments.empty())
    json["platform"]["iommu_segments"] = segments.ToVector();
  if (config.platform.confidential != ConfidentialKind::kNone) {
    json["platform"]["confidential"] = ConfidentialName(config.platform.confidential);
  }
  if (config.platform.quote_socket) json["platform"]["quote_socket"] = *config.platform.quote_socket;
  if (config.platform.confidential == ConfidentialKind::kSevSnp) {
    json["platform"]["snp_policy"] = config.platform.snp_policy;
  }
  for (const PciSegmentConfig& segment : config.pci_segments) {
    json["pci_segments"].push_back({{"pci_segment", segment.segment},
                                    {"mmio32_aperture_weight", segment.mmio32_weight},
                                    {"mmio64_aperture_weight", segment.mmio64_weight}});
  }
  for (const SgxEpcConfig& section : config.sgx_epc) {
    json["sgx_epc"].push_back(
        {{"id", section.id}, {"size", section.size.bytes()}, {"prefault", section.prefault}});
  }
  for (const DiskConfig& disk : config.disks) json["disks"].push_back(DiskJson(disk));
  for (const NetConfig& net : config.nets) json["net"].push_back(NetJson(net));
  for (const DeviceConfig& device : config.devices) {
    json["devices"].push_back(
        {{"path", device.path}, {"id", device.id}, {"pci_segment", device.pci_segment}});
    if (device.iommu) json["devices"].back()["iommu"] = true;
  }
  json["rng"] = config.rng.empty() ? Json() : Json({{"src", config.rng}});
  if (config.rng_iommu && !config.rng.empty()) json["rng"]["iommu"] = true;
  json["serial"] = SerialJson(config.serial);
  json["console"] = SerialJson(config.console);
  if (const auto& balloon = config.balloon) {
    json["balloon"] = {{"size", balloon->size.bytes()},
                       {"deflate_on_oom", balloon->deflate_on_oom},
                       {"free_page_reporting", balloon->free_page_reporting}};
  }
  if (const auto& vsock = config.vsock) {
    json["vsock"] = {{"cid", vsock->cid},
                     {"socket", vsock->socket},
                     {"id", vsock->id},
                     {"pci_segment", vsock->pci_segment}};
    if (vsock->iommu) json["vsock"]["iommu"] = true;
  }
  if (config.pvpanic) json["pvpanic"] = true;
  if (config.landlock.enable) json["landlock_enable"] = true;
  for (const LandlockRule& rule : config.landlock.rules)
    json["landlock_rules"].push_back({{"path", rule.path}, {"access", rule.write ? "rw" : "r"}});
  return json;
}

template <class T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

}  // namespace

std::string ConfigToJson(const VmConfig& config) {
  return Dump(ConfigJson(config));
}

std::string OptionToJson(const OptionValues& values) {
  Json json = Json::object();
  for (const auto& [name, value] : values.values) {
    const std::string key(FindKey(*values.spec, name)->json_name);
    std::visit(
        [&](const auto& typed) {
          using T = std::decay_t<decltype(typed)>;
          if constexpr (std::is_same_v<T, CpuSet>) {
            json[key] = typed.ToVector();
          } else if constexpr (std::is_same_v<T, TupleList>) {
            for (auto [left, right] : typed)
              json[key].push_back({{"destination", left}, {"distance", right}});
          } else if constexpr (std::is_same_v<T, AffinityList>) {
            for (const auto& [vcpu, cpus] : typed)
              json[key].push_back({{"vcpu", vcpu}, {"host_cpus", cpus.ToVector()}});
          } else if constexpr (std::is_same_v<T, DescriptorLists>) {
            for (const auto& [id, fds] : typed)
              json[key].push_back({{"id", id}, {"num_fds", fds.Count()}, {"fds", fds.ToVector()}});
          } else {
            json[key] = typed;
          }
        },
        value);
  }
  return Dump(json);
}

std::string DescribeMachineJson(const VmConfig& config, std::optional<uint64_t> huge_page) {
  ResolvedMachine machine = ResolveMachine(config, huge_page);
  Json json = {{"vcpus", {{"boot", machine.boot_vcpus}, {"max", machine.max_vcpus}}}};
  json["memory_zones"] = Json::array();
  for (const MemoryZoneConfig& zone : machine.zones) {
    json["memory_zones"].push_back(ZoneJson(zone));
    json["memory_zones"].back()["backing"] = BackingName(zone);
    json["memory_zones"].back()["mapped_shared"] = MappedShared(zone);
  }
  json["memory_regions"] = Json::array();
  for (const ResolvedRegion& region : machine.regions) {
    json["memory_regions"].push_back({{"zone", region.zone},
                                      {"base", region.base},
                                      {"size", region.size},
                                      {"guest_numa_id", OrNull(region.guest_numa_id)},
                                      {"host_numa_node", OrNull(region.host_numa_node)}});
  }
  json["hotplug_areas"] = Json::array();
  for (const ResolvedHotplugArea& hotplug : machine.hotplug) {
    json["hotplug_areas"].push_back({{"zone", hotplug.area.zone},
                                     {"base", hotplug.area.base},
                                     {"size", hotplug.area.size},
                                     {"block_size", hotplug.area.block},
                                     {"block_size_assumed", hotplug.assumed},
                                     {"plugged", hotplug.area.plugged},
                                     {"guest_numa_id", OrNull(hotplug.guest_numa_id)},
                                     {"host_numa_node", OrNull(hotplug.host_numa_node)}});
  }
  json["pci_segments"] = Json::array();
  for (const ResolvedSegment& segment : machine.segments) {
    json["pci_segments"].push_back({{"pci_segment", segment.number},
                                    {"guest_numa_id", OrNull(segment.guest_numa_id)},
                                    {"mmio32_aperture_weight", segment.mmio32_weight},
                                    {"mmio64_aperture_weight", segment.mmio64_weight}});
  }
  json["numa_nodes"] = Json::array();
  for (const ResolvedNode& node : machine.nodes) {
    json["numa_nodes"].push_back({{"guest_numa_id", node.guest_numa_id},
                                  {"proximity_domain", node.proximity_domain},
                                  {"vcpus", node.vcpus.ToString()},
                                  {"memory_zones", node.zones},
                                  {"sgx_epc_sections", node.sgx_sections},
                                  {"device", OrNull(node.device)},
                                  {"distances", node.distances}});
  }
  json["pci_node"] = OrNull(machine.pci_node);
  json["config"] = ConfigJson(config);
  return Dump(json);
}

}  // namespace berth::vmm
