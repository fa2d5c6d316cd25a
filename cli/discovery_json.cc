#include <cstdio>

#include "cli/discovery_output.h"

namespace berth::cli {
namespace {

template <class T>
Json OrNull(const std::optional<T>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

Json TextOrNull(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json NodeToJson(const agent::NumaNodeInfo& node) {
  Json siblings = Json::array();
  for (const CpuSet& core : node.siblings) siblings.push_back(core.ToVector());
  Json pages = Json::array();
  for (const agent::PageCount& pool : node.pages) {
    pages.push_back({{"size_bytes", pool.size_bytes}, {"total", pool.total}, {"free", pool.free}});
  }
  return {{"id", node.id},
          {"socket", OrNull(node.socket)},
          {"cpus", node.cpus.ToString()},
          {"siblings", std::move(siblings)},
          {"memory_bytes", node.memory_bytes},
          {"memory_free_bytes", node.memory_free_bytes},
          {"pages", std::move(pages)},
          {"distances", node.distances}};
}

Json DeviceToJson(const agent::PciDeviceInfo& device) {
  char class_code[8];
  std::snprintf(class_code, sizeof(class_code), "%06x", device.class_code & 0xffffff);
  return {{"address", device.address.ToString()},
          {"vendor_id", device.vendor_id},
          {"product_id", device.product_id},
          {"class", class_code},
          {"dev_type", placement::DeviceTypeName(device.type)},
          {"parent", device.parent.has_value() ? Json(device.parent->ToString()) : Json(nullptr)},
          {"numa_node", OrNull(device.numa_node)},
          {"driver", TextOrNull(device.driver)},
          {"iommu_group", OrNull(device.iommu_group)},
          {"sriov_total_vfs", device.sriov_total_vfs},
          {"sriov_num_vfs", device.sriov_num_vfs},
          {"netdevs", device.netdevs}};
}

Json FactsToJson(const agent::HostFacts& facts) {
  return {
      {"hostname", TextOrNull(facts.hostname)},
      {"machine_id", TextOrNull(facts.machine_id)},
      {"os",
       {{"name", TextOrNull(facts.os_name)},
        {"id", TextOrNull(facts.os_id)},
        {"version_id", TextOrNull(facts.os_version)}}},
      {"kernel_release", TextOrNull(facts.kernel_release)},
      {"kernel_command_line", TextOrNull(facts.kernel_command_line)},
      {"online_cpus", facts.online_cpus.ToString()},
      {"offline_cpus", facts.offline_cpus.ToString()},
      {"cpus_without_node", facts.cpus_without_node.ToString()},
      {"memory_bytes", facts.memory_bytes},
      {"smt", {{"active", OrNull(facts.smt.active)}, {"control", TextOrNull(facts.smt.control)}}},
      {"kvm",
       {{"present", facts.kvm.present},
        {"usable", facts.kvm.usable},
        {"module", TextOrNull(facts.kvm.module)},
        {"nested", OrNull(facts.kvm.nested)}}},
      {"vfio",
       {{"container", facts.vfio.container},
        {"iommufd", facts.vfio.iommufd},
        {"pci_driver", facts.vfio.pci_driver}}},
      {"iommu",
       {{"available", facts.iommu.available()},
        {"units", facts.iommu.units},
        {"groups", facts.iommu.groups}}},
      {"overcommit_memory", OrNull(facts.overcommit_memory)},
  };
}

}  // namespace

Json DiscoveryToJson(const agent::HostInventory& inventory) {
  Json nodes = Json::array();
  for (const agent::NumaNodeInfo& node : inventory.numa_nodes) nodes.push_back(NodeToJson(node));
  Json devices = Json::array();
  for (const agent::PciDeviceInfo& device : inventory.pci_devices) devices.push_back(DeviceToJson(device));
  return {{"host", FactsToJson(inventory.facts)},
          {"numa_nodes", std::move(nodes)},
          {"pci_devices", std::move(devices)},
          {"warnings", inventory.warnings}};
}

}  // namespace berth::cli
