#include "cli/discovery_output.h"
#include "cli/pci_names.h"
#include "cli/table.h"
#include "cli/text.h"

namespace berth::cli {
namespace {

using Align = Table::Align;

std::string NodesTable(const std::vector<agent::NumaNodeInfo>& nodes) {
  Table table({{"NODE", Align::kRight},
               {"SOCKET", Align::kRight},
               {"CPUS"},
               {"CORES", Align::kRight},
               {"MEMORY", Align::kRight},
               {"FREE", Align::kRight},
               {"HUGE PAGES (FREE/TOTAL)"},
               {"DISTANCES"}});
  for (const agent::NumaNodeInfo& node : nodes) {
    std::vector<std::string> pools;
    for (size_t i = 1; i < node.pages.size(); ++i) {
      const agent::PageCount& pool = node.pages[i];
      pools.push_back(PageSizeText(pool.size_bytes) + " " + std::to_string(pool.free) + "/" +
                      std::to_string(pool.total));
    }
    std::vector<std::string> distances;
    distances.reserve(node.distances.size());
    for (uint32_t distance : node.distances) distances.push_back(std::to_string(distance));
    table.AddRow({std::to_string(node.id), node.socket.has_value() ? std::to_string(*node.socket) : "",
                  node.cpus.ToString(), std::to_string(node.siblings.size()), BytesText(node.memory_bytes),
                  BytesText(node.memory_free_bytes), Join(pools, ", "), Join(distances, " ")});
  }
  return table.ToString();
}

std::string DevicesTable(const std::vector<agent::PciDeviceInfo>& devices) {
  Table table({{"ADDRESS"},
               {"TYPE"},
               {"ID"},
               {"CLASS"},
               {"NODE", Align::kRight},
               {"GROUP", Align::kRight},
               {"DRIVER"},
               {"VFS", Align::kRight},
               {"PARENT"},
               {"NETDEVS"}});
  for (const agent::PciDeviceInfo& device : devices) {
    std::string vfs;
    if (device.type == placement::DeviceType::kPf) {
      vfs = std::to_string(device.sriov_num_vfs) + "/" + std::to_string(device.sriov_total_vfs);
    }
    table.AddRow({device.address.ToString(), placement::DeviceTypeName(device.type),
                  device.vendor_id + ":" + device.product_id, PciClassName(device.class_code),
                  device.numa_node.has_value() ? std::to_string(*device.numa_node) : "",
                  device.iommu_group.has_value() ? std::to_string(*device.iommu_group) : "", device.driver,
                  vfs, device.parent.has_value() ? device.parent->ToString() : "",
                  Join(device.netdevs, ",")});
  }
  return table.ToString();
}

std::string FactsTable(const agent::HostFacts& facts) {
  auto yes = [](bool value) { return std::string(value ? "yes" : "no"); };
  Table table({{"FACT"}, {"VALUE"}});
  table.AddRow({"hostname", facts.hostname});
  table.AddRow({"os", facts.os_name});
  table.AddRow({"kernel", facts.kernel_release});
  table.AddRow({"online CPUs", facts.online_cpus.ToString()});
  table.AddRow({"offline CPUs", facts.offline_cpus.ToString()});
  table.AddRow({"SMT active", facts.smt.active.has_value() ? yes(*facts.smt.active) : ""});
  table.AddRow({"KVM", facts.kvm.usable ? "usable" : facts.kvm.present ? "present" : "no"});
  table.AddRow({"VFIO", yes(facts.vfio.container || facts.vfio.iommufd)});
  table.AddRow({"IOMMU groups", std::to_string(facts.iommu.groups)});
  table.AddRow({"overcommit_memory",
                facts.overcommit_memory.has_value() ? std::to_string(*facts.overcommit_memory) : ""});
  return table.ToString();
}

}  // namespace

std::string DiscoveryToTable(const agent::HostInventory& inventory) {
  std::string text = FactsTable(inventory.facts) + "\n" + NodesTable(inventory.numa_nodes);
  if (!inventory.pci_devices.empty()) text += "\n" + DevicesTable(inventory.pci_devices);
  if (!inventory.warnings.empty()) text += "\nWARNINGS\n" + Join(inventory.warnings, "\n") + "\n";
  return text;
}

}  // namespace berth::cli
