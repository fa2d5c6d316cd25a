// What ordinary guests and assigned devices need.
#include "common/byte_size.h"
#include "compute-agent/preflight/checks.h"

namespace berth::agent {
namespace {

constexpr uint64_t kDmaEntries = 1 << 20;  // of a guest whose memory is mapped piece by piece
constexpr uint32_t kNetworkClass = 0x02;

enum class Maker { kIntel, kAmd, kArm, kUnknown };

Maker MakerOf(const HostInventory& inventory) {
  if (inventory.facts.kvm.module == "kvm_intel") return Maker::kIntel;
  if (inventory.facts.kvm.module == "kvm_amd") return Maker::kAmd;
  for (const std::string& unit : inventory.facts.iommu.units) {
    if (unit.starts_with("dmar")) return Maker::kIntel;
    if (unit.starts_with("ivhd")) return Maker::kAmd;
    if (unit.starts_with("smmu")) return Maker::kArm;
  }
  return inventory.confidential.virtcca.has_value() ? Maker::kArm : Maker::kUnknown;
}

std::string IommuRepair(Maker maker) {
  switch (maker) {
    case Maker::kIntel:
      return "BIOS: enable VT-d; kernel command line: intel_iommu=on iommu=pt; reboot";
    case Maker::kAmd:
      return "BIOS: enable IOMMU (AMD-Vi); kernel command line: iommu=pt; reboot";
    case Maker::kArm:
      return "BIOS: enable Support SMMU; kernel command line: iommu.passthrough=1; reboot";
    case Maker::kUnknown:
      break;
  }
  return "BIOS: enable VT-d, AMD-Vi or the SMMU; Intel: kernel command line intel_iommu=on iommu=pt; reboot";
}

void CheckKvm(const PreflightInput& input, PreflightReport& report) {
  const KvmState& kvm = input.inventory.facts.kvm;
  std::string repair = "chmod g+rw /dev/kvm && chgrp kvm /dev/kvm, or run the agent as root";
  if (!kvm.present) {
    repair =
        "BIOS: enable VT-x, SVM or the hypervisor mode; then modprobe kvm_intel, modprobe kvm_amd, or a "
        "kernel "
        "with KVM";
  }
  AddFinding(report, Scope::kGuests, "kvm", !kvm.usable, Severity::kHard,
             !kvm.present ? "no /dev/kvm"
             : kvm.usable ? "/dev/kvm can be used"
                          : "/dev/kvm cannot be opened",
             "/dev/kvm can be opened for reading and writing", repair);
}

void CheckHugePages(const PreflightInput& input, PreflightReport& report) {
  std::string pools;
  for (const NumaNodeInfo& node : input.inventory.numa_nodes) {
    for (size_t i = 1; i < node.pages.size(); ++i) {
      if (node.pages[i].total == 0) continue;
      pools += (pools.empty() ? "" : ", ") + std::string("node ") + std::to_string(node.id) + ": " +
               std::to_string(node.pages[i].total) + " of " + ByteSize(node.pages[i].size_bytes).ToHuman();
    }
  }
  AddFinding(report, Scope::kGuests, "huge_pages", pools.empty(), Severity::kInfo,
             pools.empty() ? "no huge pages" : pools,
             "huge pages on each node, for flavors that ask for them",
             "echo COUNT > /sys/devices/system/node/nodeN/hugepages/hugepages-2048kB/nr_hugepages, or kernel "
             "command line: hugepagesz=1G hugepages=COUNT");
}

std::string Limit(uint64_t bytes) {
  return bytes == UINT64_MAX ? "unlimited" : ByteSize(bytes).ToHuman();
}

void CheckMemlock(const PreflightInput& input, PreflightReport& report) {
  const std::optional<uint64_t>& limit = input.settings.memlock_bytes;
  AddFinding(
      report, Scope::kDevices, "memlock", !limit.has_value() || *limit != UINT64_MAX,
      limit.has_value() ? Severity::kWarning : Severity::kInfo,
      limit.has_value() ? "locked memory: " + Limit(*limit) : "the limit of locked memory is not told",
      "unlimited: VFIO pins all memory of a guest with devices",
      "systemd: LimitMEMLOCK=infinity in the agent's unit; else ulimit -l unlimited, or give the agent "
      "CAP_IPC_LOCK");
}

void CheckDmaEntries(const PreflightInput& input, PreflightReport& report) {
  const std::optional<uint64_t>& limit = input.settings.dma_entry_limit;
  AddFinding(report, Scope::kDevices, "dma_entry_limit", limit.has_value() && *limit < kDmaEntries,
             Severity::kWarning,
             limit.has_value() ? std::to_string(*limit) + " mappings for each guest"
                               : "vfio_iommu_type1 is not loaded",
             "at least " + std::to_string(kDmaEntries) +
                 ": the memory of confidential guests is mapped in many pieces",
             "echo " + std::to_string(kDmaEntries) +
                 " > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit; to keep it: options "
                 "vfio_iommu_type1 dma_entry_limit=" +
                 std::to_string(kDmaEntries) + " in /etc/modprobe.d/vfio.conf");
}

// Devices of which the kernel does not tell the node can never serve a request with policy `required`.
void CheckDeviceNodes(const PreflightInput& input, PreflightReport& report) {
  if (input.inventory.numa_nodes.size() < 2) return;
  std::string unknown;
  size_t count = 0;
  for (const PciDeviceInfo& device : input.inventory.pci_devices) {
    if ((device.class_code >> 16) != kNetworkClass || device.numa_node.has_value()) continue;
    if (++count <= 4) unknown += (unknown.empty() ? "" : ", ") + device.address.ToString();
  }
  AddFinding(report, Scope::kDevices, "device_nodes", count > 0, Severity::kWarning,
             count > 0 ? std::to_string(count) + " network devices without a NUMA node: " + unknown
                       : "the NUMA node of every network device is known",
             "a NUMA node for each device, for policies that bind guests to it",
             "BIOS: enable NUMA (ACPI _PXM of the root ports) and update the firmware; else echo NODE > "
             "/sys/bus/pci/devices/ADDRESS/numa_node at each boot");
}

}  // namespace

void CheckGuests(const PreflightInput& input, PreflightReport& report) {
  CheckKvm(input, report);
  CheckHugePages(input, report);
}

void CheckDevices(const PreflightInput& input, PreflightReport& report) {
  const HostFacts& facts = input.inventory.facts;
  Severity missing = input.devices_configured ? Severity::kHard : Severity::kInfo;
  AddFinding(report, Scope::kDevices, "iommu", facts.iommu.groups == 0, missing,
             std::to_string(facts.iommu.groups) + " IOMMU groups", "an IOMMU with groups",
             IommuRepair(MakerOf(input.inventory)));
  AddFinding(report, Scope::kDevices, "vfio_pci", !facts.vfio.pci_driver, missing,
             facts.vfio.pci_driver ? "vfio-pci is loaded" : "vfio-pci is not loaded", "the driver vfio-pci",
             "modprobe vfio-pci; to keep it: echo vfio-pci > /etc/modules-load.d/vfio-pci.conf");
  bool interface = facts.vfio.container || facts.vfio.iommufd;
  AddFinding(report, Scope::kDevices, "vfio", !interface, missing,
             facts.vfio.iommufd     ? "/dev/iommu is there"
             : facts.vfio.container ? "/dev/vfio/vfio is there"
                                    : "neither /dev/vfio/vfio nor /dev/iommu",
             "/dev/vfio/vfio or /dev/iommu", "modprobe vfio; or a kernel with CONFIG_IOMMUFD");
  if (input.devices_configured || report.kind != ConfidentialKind::kNone) {
    CheckMemlock(input, report);
    CheckDmaEntries(input, report);
  }
  CheckDeviceNodes(input, report);
}

}  // namespace berth::agent
