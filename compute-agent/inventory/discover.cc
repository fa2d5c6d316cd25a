#include "compute-agent/inventory/discover.h"

#include <set>
#include <string>

#include "compute-agent/inventory/confidential_reader.h"
#include "compute-agent/inventory/cpu_reader.h"
#include "compute-agent/inventory/facts_reader.h"
#include "compute-agent/inventory/node_reader.h"
#include "compute-agent/inventory/pci_reader.h"
#include "compute-agent/inventory/warnings.h"

namespace berth::agent {
namespace {

void FillCpuFacts(const CpuTopology& cpus, const std::vector<NumaNodeInfo>& nodes, HostFacts& facts,
                  Warnings& warnings) {
  facts.online_cpus = cpus.online;
  facts.offline_cpus = cpus.offline;
  facts.cpus_without_node = cpus.online;
  for (const NumaNodeInfo& node : nodes) facts.cpus_without_node -= node.cpus;
  if (!facts.cpus_without_node.empty()) {
    warnings.Add("/sys/devices/system/node: no node has the CPUs " + facts.cpus_without_node.ToString());
  }
  // Kernels before 4.19 have no smt folder; two online threads of one core prove that it is active.
  if (facts.smt.active.has_value()) return;
  for (const auto& [cpu, siblings] : cpus.siblings) {
    if ((siblings & cpus.online).Count() > 1) facts.smt.active = true;
  }
}

// A device on a node that is not there cannot be given out with NUMA affinity; the operator should know why.
void CheckDeviceNodes(const HostInventory& inventory, Warnings& warnings) {
  std::set<uint32_t> nodes;
  for (const NumaNodeInfo& node : inventory.numa_nodes) nodes.insert(node.id);
  for (const PciDeviceInfo& device : inventory.pci_devices) {
    if (device.numa_node.has_value() && !nodes.contains(*device.numa_node)) {
      warnings.Add("/sys/bus/pci/devices/" + device.address.ToString() + "/numa_node: node " +
                   std::to_string(*device.numa_node) + " was not found");
    }
  }
}

}  // namespace

HostInventory Discover(const Root& root) {
  Warnings warnings;
  HostInventory inventory;
  CpuTopology cpus = ReadCpus(root, warnings);
  inventory.facts = ReadFacts(root, warnings);
  inventory.numa_nodes = ReadNodes(root, cpus, warnings);
  FillCpuFacts(cpus, inventory.numa_nodes, inventory.facts, warnings);
  inventory.pci_devices = ReadPciDevices(root, warnings);
  CheckDeviceNodes(inventory, warnings);
  inventory.confidential = ReadConfidential(root, warnings);
  inventory.warnings = std::move(warnings).Take();
  return inventory;
}

}  // namespace berth::agent
