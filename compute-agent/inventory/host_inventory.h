#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/cpu_set.h"
#include "common/pci_address.h"
#include "placement/model/host.h"

// What a machine has, as its kernel describes it: the result of Discover(). Plain values, no policy: nothing
// is reserved, filtered by device_spec or renamed here; that is the step from inventory to report.
namespace berth::agent {

// Pages of one size on one node, in pages.
struct PageCount {
  uint64_t size_bytes = 0;
  uint64_t total = 0;
  uint64_t free = 0;

  friend bool operator==(const PageCount&, const PageCount&) = default;
};

// One NUMA node. Memory-only nodes have no CPUs; nodes may lack memory.
struct NumaNodeInfo {
  placement::NumaNode id = 0;
  // Physical package of its CPUs (the lowest, with a warning, if they lie in several); empty if the firmware
  // does not tell and for nodes without CPUs.
  std::optional<uint32_t> socket;
  CpuSet cpus;                   // online CPUs; a CPU is in at most one node
  std::vector<CpuSet> siblings;  // threads of each core: a partition of `cpus`, ascending by first CPU
  uint64_t memory_bytes = 0;     // MemTotal: all memory that the kernel manages there, huge pages included
  uint64_t memory_free_bytes = 0;
  uint64_t memory_available_bytes = 0;  // free, or held for files only: what programs can still have
  // Ascending by size. The first is the base page size (total = memory that is not in huge pages), the others
  // the huge page pools.
  std::vector<PageCount> pages;
  // To every node of HostInventory::numa_nodes in its order (10 = itself); empty if the kernel does not tell.
  std::vector<uint32_t> distances;

  friend bool operator==(const NumaNodeInfo&, const NumaNodeInfo&) = default;
};

// One PCI function within the limits of seed 002.
struct PciDeviceInfo {
  PciAddress address;
  std::string vendor_id;    // four lower-case hexadecimal digits
  std::string product_id;   // likewise
  uint32_t class_code = 0;  // 24 bits: base class, subclass, interface
  // type-VF: has a `physfn` link; type-PF: can have VFs (sriov_totalvfs > 0, or `virtfn*` links); else
  // type-PCI.
  placement::DeviceType type = placement::DeviceType::kPci;
  std::optional<PciAddress> parent;   // the PF of a VF
  std::optional<uint32_t> numa_node;  // empty: the kernel says -1 (unknown)
  std::string driver;                 // bound now; empty: none
  std::optional<uint32_t> iommu_group;
  uint32_t sriov_total_vfs = 0;               // how many VFs a PF can have
  uint32_t sriov_num_vfs = 0;                 // how many are enabled
  std::vector<PciAddress> virtual_functions;  // of a PF, by VF index as far as the links are readable
  std::vector<std::string> netdevs;           // network interfaces on top of it, sorted
  // The bridges between the root complex and the device, as its path in sysfs has them: the root port first.
  // Empty for devices of the root complex, and where the path is not told.
  std::vector<PciAddress> bridges;
  // It does not answer any more: its configuration space reads as ones only (PCI Express Base 6.0, 2.3.2:
  // what a Root Complex returns for a request that nobody completed). False where it may not be read.
  bool off_bus = false;
  // Fatal errors that the kernel has counted of it since it found it (aer_dev_fatal, TOTAL_ERR_FATAL).
  uint64_t fatal_errors = 0;

  friend bool operator==(const PciDeviceInfo&, const PciDeviceInfo&) = default;
};

// Whether hardware threads share cores (/sys/devices/system/cpu/smt).
struct SmtState {
  std::optional<bool> active;  // empty: not told (and no sibling set proves it)
  std::string control;         // "on", "off", "forceoff", "notsupported", "notimplemented"; "" if not told

  friend bool operator==(const SmtState&, const SmtState&) = default;
};

struct KvmState {
  bool present = false;  // /dev/kvm exists
  bool usable = false;   // and may be opened read-write by this process (only tried on the live machine)
  std::string module;    // "kvm_intel", "kvm_amd"; empty: built in, another architecture, or not loaded
  std::optional<bool> nested;

  friend bool operator==(const KvmState&, const KvmState&) = default;
};

struct VfioState {
  bool container = false;   // /dev/vfio/vfio exists
  bool iommufd = false;     // /dev/iommu exists
  bool pci_driver = false;  // the vfio-pci driver is registered

  friend bool operator==(const VfioState&, const VfioState&) = default;
};

struct IommuState {
  std::vector<std::string> units;  // /sys/class/iommu: "dmar0", "ivhd0", "smmu3.0x..."
  uint32_t groups = 0;             // /sys/kernel/iommu_groups

  bool available() const { return groups > 0 || !units.empty(); }
  friend bool operator==(const IommuState&, const IommuState&) = default;
};

// Facts of the machine as a whole. Texts are empty where the machine does not tell.
struct HostFacts {
  std::string hostname;
  std::string machine_id;      // /etc/machine-id: 32 hexadecimal digits
  std::string os_name;         // PRETTY_NAME
  std::string os_id;           // ID
  std::string os_version;      // VERSION_ID
  std::string kernel_release;  // "6.1.0-18-amd64"
  std::string kernel_command_line;
  CpuSet online_cpus;
  CpuSet offline_cpus;        // present but switched off
  CpuSet cpus_without_node;   // online, but no node names them: in no NumaNodeInfo
  uint64_t memory_bytes = 0;  // MemTotal of /proc/meminfo; 0 if not told
  SmtState smt;
  KvmState kvm;
  VfioState vfio;
  IommuState iommu;
  std::optional<uint32_t> overcommit_memory;  // /proc/sys/vm/overcommit_memory: 0, 1 or 2

  friend bool operator==(const HostFacts&, const HostFacts&) = default;
};

// Secure memory of one node as the firmware of a Kunpeng virtCCA host accounts for it.
struct SecureNode {
  placement::NumaNode id = 0;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
  uint64_t guests_bytes = 0;    // of confidential VMs
  uint64_t metadata_bytes = 0;  // of the trusted monitor itself; grows with the number of VMs

  friend bool operator==(const SecureNode&, const SecureNode&) = default;
};

// What the machine shows of confidential computing.
struct ConfidentialState {
  std::optional<bool> virtcca;           // /sys/kernel/tmm/virtcca_enabled; empty: no such driver
  std::vector<SecureNode> secure_nodes;  // /sys/kernel/tmm/memory_info, ascending
  std::optional<bool> tdx;               // kvm_intel's parameter; empty: not told
  std::optional<bool> sev_snp;           // kvm_amd's parameter; empty: not told
  bool sev_device = false;               // /dev/sev exists
  std::map<std::string, uint64_t>
      guests;  // of each kind at most: "tdx", "sev", "sev_es" (cgroup misc.capacity)

  friend bool operator==(const ConfidentialState&, const ConfidentialState&) = default;
};

// Nodes ascend by id and devices by address; both unique. `warnings` names each path that could not be read
// or made no sense, and each device that was left out; at most kMaxWarnings lines, the last of which counts
// the rest.
struct HostInventory {
  static constexpr size_t kMaxWarnings = 1000;

  HostFacts facts;
  std::vector<NumaNodeInfo> numa_nodes;
  std::vector<PciDeviceInfo> pci_devices;
  ConfidentialState confidential;
  std::vector<std::string> warnings;

  friend bool operator==(const HostInventory&, const HostInventory&) = default;
};

}  // namespace berth::agent
