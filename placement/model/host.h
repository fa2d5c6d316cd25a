#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/core_list.h"
#include "common/cpu_set.h"
#include "common/pci_address.h"
#include "common/uuid.h"

// What a host is, as plain values. Built by compute-agent/inventory, kept by the placement engine, mirrored
// by the schedulers. No I/O, no threads, no protobuf here.
namespace berth::placement {

// A host NUMA node's number as the kernel gives it; need not be dense.
using NumaNode = uint32_t;

// Pages of one size in one cell. Bytes per page; counts in pages.
struct PagePool {
  uint64_t size_bytes = 0;
  uint64_t total = 0;
  uint64_t reserved = 0;  // never handed out (the host's own, or used by others when the agent started)

  friend bool operator==(const PagePool&, const PagePool&) = default;
};

// One NUMA cell with CPUs and memory that may be given to guests.
struct Cell {
  NumaNode id = 0;
  std::optional<uint32_t> socket;  // empty: the firmware does not tell
  CpuSet shared_cpus;              // for floating vCPUs (Nova's cpu_shared_set)
  CpuSet
      dedicated_cpus;  // for pinned vCPUs (Nova's cpu_dedicated_set); may overlap shared_cpus ("single pool")
  CoreList siblings;   // threads of each core, of all online CPUs of the cell
  uint64_t memory_bytes = 0;        // that guests may use in all (host reserve already taken off)
  std::vector<PagePool> pages;      // ascending by size_bytes; the first is the base page size
  std::vector<uint32_t> distances;  // to the host's cells in the order of HostReport::cells; empty: unknown
  // Secure (confidential) memory of this node; 0 on ordinary hosts (seed 000).
  uint64_t secure_memory_bytes = 0;

  friend bool operator==(const Cell&, const Cell&) = default;
};

// Seed 002, "Configure nova-compute": how the device can be handed out.
enum class DeviceType { kPci, kPf, kVf };
const char* DeviceTypeName(DeviceType type);  // "type-PCI", "type-PF", "type-VF"
std::optional<DeviceType> ParseDeviceType(std::string_view name);

// A PCI device that the agent's device_spec makes assignable, or the PF of such a VF (assignable = false
// then).
struct Device {
  PciAddress address;
  std::string vendor_id;    // four lower-case hexadecimal digits
  std::string product_id;   // likewise
  uint32_t class_code = 0;  // 24 bits: base class, subclass, interface
  DeviceType type = DeviceType::kPci;
  std::optional<PciAddress> parent;   // the PF of a VF
  std::optional<NumaNode> numa_node;  // empty: the kernel says -1 (unknown)
  std::optional<uint32_t> iommu_group;
  std::string driver;  // bound now; empty: none
  bool assignable = false;
  // Tags of the first matching device_spec entry (seed 002, "Special Tags").
  std::optional<std::string> physical_network;
  std::optional<bool> trusted;
  std::optional<bool> remote_managed;  // empty only for type-PCI without the tag
  std::string resource_class;          // CUSTOM_PCI_<VENDOR>_<PRODUCT> unless configured
  std::vector<std::string> traits;     // sorted, normalised
  std::vector<std::string> domains;    // named affinity domains such as "switch:3"

  friend bool operator==(const Device&, const Device&) = default;
};

// What readers of a report take; placement keeps to it when it adds what claims hold.
inline constexpr size_t kMaxReportWarnings = 1000;

// A host's whole inventory, reported as one value. Cells ascend by id, devices by address; both unique.
struct HostReport {
  Uuid uuid;                   // stable for the machine's life
  std::string name;            // unique in the fleet; the hypervisor hostname
  std::string agent_endpoint;  // host:port of the agent's gRPC, for consoles
  std::string kernel_release;
  std::string os_name;
  bool can_run_guests = false;        // KVM usable
  double cpu_allocation_ratio = 1.0;  // of shared CPUs only
  double ram_allocation_ratio = 1.0;
  std::vector<Cell> cells;
  std::vector<Device> devices;
  std::vector<std::string> warnings;
  // That guests may use for their disks in all; 0: not told, and then not counted.
  uint64_t disk_bytes = 0;

  friend bool operator==(const HostReport&, const HostReport&) = default;
};

}  // namespace berth::placement
