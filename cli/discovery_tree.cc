#include <algorithm>
#include <map>
#include <set>

#include "cli/discovery_output.h"
#include "cli/pci_names.h"
#include "cli/text.h"

namespace berth::cli {
namespace {

using agent::HostInventory;
using agent::NumaNodeInfo;
using agent::PciDeviceInfo;
using placement::DeviceType;
using Tone = TreeItem::Tone;

// Kinds of lines whose columns are aligned among each other.
enum Kind { kNodeLine = 1, kDetail, kDevice };

std::string Headline(const HostInventory& inventory) {
  const agent::HostFacts& facts = inventory.facts;
  std::vector<std::string> parts = {facts.hostname.empty() ? "host" : facts.hostname};
  if (!facts.os_name.empty()) parts.push_back(facts.os_name);
  if (!facts.kernel_release.empty()) parts.push_back("Linux " + facts.kernel_release);
  return Join(parts, " · ");
}

std::string Capabilities(const HostInventory& inventory) {
  const agent::HostFacts& facts = inventory.facts;
  std::set<uint32_t> sockets;
  uint64_t memory = 0;
  for (const NumaNodeInfo& node : inventory.numa_nodes) {
    if (node.socket.has_value()) sockets.insert(*node.socket);
    memory += node.memory_bytes;
  }
  std::vector<std::string> parts = {Count(facts.online_cpus.Count(), "CPU")};
  if (!sockets.empty()) parts.push_back(Count(sockets.size(), "socket"));
  parts.push_back(Count(inventory.numa_nodes.size(), "NUMA node"));
  parts.push_back(BytesText(memory));
  if (facts.smt.active.has_value()) parts.push_back(*facts.smt.active ? "SMT on" : "SMT off");
  parts.push_back(facts.kvm.usable ? "KVM usable" : facts.kvm.present ? "KVM present" : "no KVM");
  parts.push_back(facts.iommu.available() ? "IOMMU with " + Count(facts.iommu.groups, "group") : "no IOMMU");
  if (facts.vfio.container || facts.vfio.iommufd) parts.push_back("VFIO");
  return Join(parts, " · ");
}

std::string DeviceTail(const PciDeviceInfo& device) {
  std::vector<std::string> parts;
  if (!device.driver.empty()) parts.push_back(device.driver);
  if (device.iommu_group.has_value()) parts.push_back("group " + std::to_string(*device.iommu_group));
  if (!device.netdevs.empty()) parts.push_back(Join(device.netdevs, ","));
  return Join(parts, " · ");
}

bool IsAlike(const PciDeviceInfo& a, const PciDeviceInfo& b) {
  return a.vendor_id == b.vendor_id && a.product_id == b.product_id && a.driver == b.driver &&
         a.numa_node == b.numa_node && a.netdevs.empty() && b.netdevs.empty();
}

// VFs of one PF: neighbours that are alike in one line.
void AddVfs(const std::vector<const PciDeviceInfo*>& vfs, TreeItem& pf) {
  for (size_t i = 0; i < vfs.size();) {
    size_t end = i + 1;
    while (end < vfs.size() && IsAlike(*vfs[i], *vfs[end])) ++end;
    const PciDeviceInfo& first = *vfs[i];
    std::string tail = end - i == 1 ? DeviceTail(first) : first.driver;
    pf.Add(TreeItem({AddressRangeText(first.address, vfs[end - 1]->address),
                     first.vendor_id + ":" + first.product_id, Count(end - i, "VF"), tail},
                    Tone::kPlain, kDevice));
    i = end;
  }
}

// The devices of one node (or of none): functions in lines of their own, bridges and the board's own devices
// counted.
void AddDevices(const HostInventory& inventory, const std::vector<const PciDeviceInfo*>& devices,
                TreeItem& parent) {
  std::map<PciAddress, std::vector<const PciDeviceInfo*>> vfs;
  for (const PciDeviceInfo& device : inventory.pci_devices) {
    if (device.type == DeviceType::kVf && device.parent.has_value()) vfs[*device.parent].push_back(&device);
  }
  std::set<PciAddress> known;
  for (const PciDeviceInfo& device : inventory.pci_devices) known.insert(device.address);
  size_t platform = 0;
  for (const PciDeviceInfo* device : devices) {
    // A VF hangs below its PF, if that is there.
    if (device->type == DeviceType::kVf && device->parent.has_value() && known.contains(*device->parent)) {
      continue;
    }
    if (device->type == DeviceType::kPci && IsPlatformDevice(device->class_code)) {
      ++platform;
      continue;
    }
    std::string tail = DeviceTail(*device);
    if (device->type == DeviceType::kPf) {
      tail = Join(
          {"PF, " + std::to_string(device->sriov_num_vfs) + " of " + Count(device->sriov_total_vfs, "VF"),
           tail},
          tail.empty() ? "" : " · ");
    }
    if (device->type == DeviceType::kVf) tail = Join({"VF without PF", tail}, tail.empty() ? "" : " · ");
    TreeItem& item =
        parent.Add(TreeItem({device->address.ToString(), device->vendor_id + ":" + device->product_id,
                             PciClassName(device->class_code), tail},
                            Tone::kPlain, kDevice));
    if (auto found = vfs.find(device->address); found != vfs.end()) AddVfs(found->second, item);
  }
  if (platform > 0) {
    parent.Add(TreeItem({"and " + Count(platform, "bridge") + (platform == 1 ? " or" : " and") +
                         " system device" + (platform == 1 ? "" : "s")},
                        Tone::kQuiet, kDetail));
  }
}

std::string PagesText(const NumaNodeInfo& node) {
  std::vector<std::string> parts;
  std::vector<std::string> empty;
  for (size_t i = 1; i < node.pages.size(); ++i) {
    const agent::PageCount& pool = node.pages[i];
    std::string size = PageSizeText(pool.size_bytes);
    if (pool.total == 0) {
      empty.push_back(size);
      continue;
    }
    parts.push_back(std::to_string(pool.total) + " × " + size + " (" + std::to_string(pool.free) + " free)");
  }
  if (!empty.empty()) parts.push_back("none of " + Join(empty, ", "));
  return Join(parts, " · ");
}

TreeItem NodeItem(const HostInventory& inventory, const NumaNodeInfo& node) {
  std::vector<std::string> facts = {BytesText(node.memory_bytes)};
  if (node.memory_bytes > 0) facts.push_back(BytesText(node.memory_free_bytes) + " free");
  facts.push_back(node.cpus.empty() ? "no CPUs" : Count(node.cpus.Count(), "CPU"));
  if (node.siblings.size() != node.cpus.Count()) facts.back() += " in " + Count(node.siblings.size(), "core");
  TreeItem item({"node " + std::to_string(node.id), Join(facts, " · ")}, Tone::kPlain, kNodeLine);
  if (!node.cpus.empty()) {
    item.Add(TreeItem({"CPUs", node.cpus.ToString()}, Tone::kPlain, kDetail));
    if (node.siblings.size() != node.cpus.Count()) {
      item.Add(TreeItem({"cores", CoresText(node.siblings)}, Tone::kPlain, kDetail));
    }
  }
  if (node.pages.size() > 1) item.Add(TreeItem({"pages", PagesText(node)}, Tone::kPlain, kDetail));
  if (inventory.numa_nodes.size() > 1 && !node.distances.empty()) {
    std::vector<std::string> distances;
    distances.reserve(node.distances.size());
    for (size_t i = 0; i < node.distances.size(); ++i) {
      distances.push_back(std::to_string(inventory.numa_nodes[i].id) + ":" +
                          std::to_string(node.distances[i]));
    }
    item.Add(TreeItem({"reach", Join(distances, " ")}, Tone::kQuiet, kDetail));
  }
  std::vector<const PciDeviceInfo*> devices;
  for (const PciDeviceInfo& device : inventory.pci_devices) {
    if (device.numa_node == node.id) devices.push_back(&device);
  }
  AddDevices(inventory, devices, item);
  return item;
}

void AddWarnings(const HostInventory& inventory, TreeItem& root) {
  constexpr size_t kShown = 10;
  if (inventory.warnings.empty()) return;
  TreeItem& item = root.Add(TreeItem({Count(inventory.warnings.size(), "warning")}, Tone::kWarning));
  for (size_t i = 0; i < std::min(inventory.warnings.size(), kShown); ++i) {
    item.Add(TreeItem({inventory.warnings[i]}, Tone::kWarning));
  }
  if (inventory.warnings.size() > kShown) {
    item.Add(TreeItem({"… all in -o json"}, Tone::kQuiet));
  }
}

}  // namespace

TreeItem DiscoveryToTree(const HostInventory& inventory) {
  TreeItem root({Headline(inventory)}, Tone::kTitle);
  root.Add(TreeItem({Capabilities(inventory)}));
  std::map<uint32_t, std::vector<const NumaNodeInfo*>> by_socket;
  std::vector<const NumaNodeInfo*> without_socket;
  std::set<uint32_t> node_ids;
  for (const NumaNodeInfo& node : inventory.numa_nodes) {
    node_ids.insert(node.id);
    if (node.socket.has_value()) {
      by_socket[*node.socket].push_back(&node);
    } else {
      without_socket.push_back(&node);
    }
  }
  for (const auto& [socket, nodes] : by_socket) {
    TreeItem& item = root.Add(TreeItem({"socket " + std::to_string(socket)}, Tone::kTitle));
    for (const NumaNodeInfo* node : nodes) item.Add(NodeItem(inventory, *node));
  }
  for (const NumaNodeInfo* node : without_socket) root.Add(NodeItem(inventory, *node));
  if (!inventory.facts.offline_cpus.empty()) {
    root.Add(TreeItem({"offline CPUs", inventory.facts.offline_cpus.ToString()}, Tone::kQuiet));
  }
  if (!inventory.facts.cpus_without_node.empty()) {
    root.Add(TreeItem({"CPUs without a node", inventory.facts.cpus_without_node.ToString()}, Tone::kWarning));
  }
  std::vector<const PciDeviceInfo*> elsewhere;
  for (const PciDeviceInfo& device : inventory.pci_devices) {
    if (!device.numa_node.has_value() || !node_ids.contains(*device.numa_node)) elsewhere.push_back(&device);
  }
  if (!elsewhere.empty()) {
    AddDevices(inventory, elsewhere, root.Add(TreeItem({"devices without a NUMA node"}, Tone::kTitle)));
  }
  AddWarnings(inventory, root);
  return root;
}

}  // namespace berth::cli
