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
  return json;
}

Json DiskJson(const DiskConfig& disk) {
  return {{"path", disk.path}, {"readonly", disk.readonly}, {"direct", disk.direct}, {"id", disk.id}};
}

Json NetJson(const NetConfig& net) {
  Json json = {{"tap", net.tap}, {"id", net.id}};
  if (net.mac) json["mac"] = *net.mac;
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
  }
  CHECK(false);
}

Json ConfigJson(const VmConfig& config) {
  Json json;
  json["payload"] = {{"kernel", config.kernel}, {"cmdline", config.cmdline}};
  if (config.initramfs) json["payload"]["initramfs"] = *config.initramfs;
  json["cpus"] = CpusJson(config.cpus);
  AddBacking(config.memory, json["memory"]);
  for (const MemoryZoneConfig& zone : config.memory_zones) json["memory"]["zones"].push_back(ZoneJson(zone));
  for (const NumaConfig& node : config.numa) json["numa"].push_back(NumaJson(node));
  for (const DiskConfig& disk : config.disks) json["disks"].push_back(DiskJson(disk));
  for (const NetConfig& net : config.nets) json["net"].push_back(NetJson(net));
  json["rng"] = config.rng.empty() ? Json() : Json({{"src", config.rng}});
  json["serial"] = SerialJson(config.serial);
  json["console"] = {{"mode", "Off"}};
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

std::string DescribeMachineJson(const VmConfig& config) {
  ResolvedMachine machine = ResolveMachine(config);
  Json json = {{"vcpus", {{"boot", machine.boot_vcpus}, {"max", machine.max_vcpus}}}};
  json["memory_zones"] = Json::array();
  for (const MemoryZoneConfig& zone : machine.zones) json["memory_zones"].push_back(ZoneJson(zone));
  json["memory_regions"] = Json::array();
  for (const ResolvedRegion& region : machine.regions) {
    json["memory_regions"].push_back({{"zone", region.zone},
                                      {"base", region.base},
                                      {"size", region.size},
                                      {"guest_numa_id", OrNull(region.guest_numa_id)},
                                      {"host_numa_node", OrNull(region.host_numa_node)}});
  }
  json["numa_nodes"] = Json::array();
  for (const ResolvedNode& node : machine.nodes) {
    json["numa_nodes"].push_back({{"guest_numa_id", node.guest_numa_id},
                                  {"proximity_domain", node.proximity_domain},
                                  {"vcpus", node.vcpus.ToString()},
                                  {"memory_zones", node.zones},
                                  {"distances", node.distances}});
  }
  json["pci_node"] = OrNull(machine.pci_node);
  json["config"] = ConfigJson(config);
  return Dump(json);
}

}  // namespace berth::vmm
