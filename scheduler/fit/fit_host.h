#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/core_list.h"
#include "common/cpu_set.h"
#include "common/pci_address.h"
#include "placement/model/host.h"
#include "placement/model/usage.h"
#include "scheduler/fit/device_types.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

using placement::NumaNode;

// Pages of one size in one cell.
struct FitPages {
  uint64_t size_bytes = 0;
  uint64_t total = 0;
  uint64_t free = 0;  // total - reserved - used
};

// What the CPUs of a cell offer to pinned vCPUs, counted once per host (see Prepare).
struct CpuCounts {
  uint32_t shared = 0;           // |shared_cpus|
  uint32_t free = 0;             // |free_dedicated|
  uint32_t on_paired_cores = 0;  // free ones on cores with at least two free threads
  uint32_t whole_cores = 0;      // cores all of whose threads are free
  uint32_t touched_cores = 0;    // cores with at least one free thread
  bool smt = false;              // some core has more than one thread
  bool overlap = false;          // pinning can take CPUs from the shared ones
};

// One NUMA cell as it is now.
struct FitCell {
  NumaNode id = 0;
  std::optional<uint32_t> socket;
  CpuSet shared_cpus;         // floating vCPUs run here
  CpuSet free_dedicated;      // may be pinned
  bool single_pool = false;   // the cell's shared CPUs are its dedicated ones
  CoreList siblings;          // threads of each core; a CPU in none is a core of its own
  uint32_t shared_vcpus = 0;  // floating vCPUs bound to this cell already
  // CPUs, free or not, for each byte of its memory; 0: not told, and evenness does not count.
  double cpus_per_byte = 0;
  uint64_t memory_bytes = 0;       // kScenario only: of all page sizes
  uint64_t memory_used_bytes = 0;  // likewise
  // kClaims only: base-page memory as placement/model/capacity.h counts it.
  uint64_t base_room_bytes = 0;            // for guest cells in base pages, together
  uint64_t largest_base_bytes = 0;         // for one guest cell that names no page size
  uint64_t largest_pinned_base_bytes = 0;  // likewise, with a pinned vCPU
  std::vector<FitPages> pages;             // ascending by size; the first is the base page size
  bool pages_known = true;                 // false: nobody counted them, so no size can be asked for
  // R11. Secure memory that is left, and ordinary memory for the bounce buffers of encrypted guests.
  uint64_t secure_room_bytes = 0;
  uint64_t nonsecure_room_bytes = 0;
  // Networks whose switch runs on this node; a guest that uses one of them sits here or on another such node.
  std::vector<std::string> physical_networks;  // sorted
  bool tunneled = false;
  CpuCounts counts;  // filled by Prepare
};

// kClaims only: free bytes in pages of all sizes.
uint64_t MemoryRoom(const FitCell& cell);

// A device that may be handed out and is free now.
struct FitDevice {
  PciAddress address;
  DeviceKind kind = DeviceKind::kPci;
  std::string vendor_id;   // lower case
  std::string product_id;  // lower case
  std::optional<NumaNode> numa_node;
  std::optional<PciAddress> parent;  // of a VF or vDPA device
  std::optional<std::string> network;
  std::optional<bool> trusted;
  std::optional<bool> remote_managed;
  std::string resource_class;
  std::vector<std::string> traits;   // sorted
  std::vector<std::string> domains;  // sorted; "switch:3"
  uint32_t type = 0;                 // of FitHost::types; filled by Prepare
};

// Devices of one host that are of one type, on one node, and in one family (a PF that is listed, and its VFs;
// or the VFs of a PF that is not). Devices without family are together whatever their address.
struct DeviceGroup {
  static constexpr int32_t kUnknownNode = -1;
  static constexpr int32_t kOtherNode = -2;  // a node that is none of the host's cells
  static constexpr int32_t kNoFamily = -1;

  uint32_t type = 0;            // of FitHost::types
  int32_t cell = kUnknownNode;  // index of the host cell
  int32_t family = kNoFamily;
  uint32_t count = 0;
  bool is_parent = false;  // the family's PF
};

// kScenario: the rules R1 to R10 as written, for what-if scenarios. kClaims: beside them what placement
// checks for a claim on a live host: pinned CPUs leave the shared pool where the two overlap, cells with any
// pinned vCPU need free base pages, the memory ratio is of base pages alone, and instances without topology
// must fit into what the cells leave.
enum class FitRules { kScenario, kClaims };

// A host as the solver sees it. A plain value: immutable once prepared, so shared between threads.
struct FitHost {
  FitRules rules = FitRules::kScenario;
  bool can_run_guests = true;
  double cpu_ratio = 1.0;
  double ram_ratio = 1.0;
  std::vector<FitCell> cells;      // ascending by id
  std::vector<FitDevice> devices;  // ascending by address
  // Filled by Prepare.
  std::vector<DeviceGroup> groups;
  const DeviceTypes* types = nullptr;
  bool smt = false;            // of some cell
  bool sockets_known = false;  // of every cell
  bool pools_overlap = false;  // of some cell
  // kClaims only.
  uint32_t floating_vcpus = 0;   // of instances without topology
  uint64_t base_room_bytes = 0;  // base-page memory for further instances, with topology or without
  uint64_t disk_room_bytes = kDiskNotTold;

  static constexpr uint64_t kDiskNotTold = UINT64_MAX;  // and so not counted
};

// Sorts cells and devices and fills counts and groups. Call once after building a FitHost; `types` must
// outlive it.
void Prepare(FitHost& host, DeviceTypes& types = DeviceTypes::OfProcess());

// A live host for claims, prepared.
FitHost FromHost(const placement::HostReport& report, const placement::HostUsage& usage,
                 DeviceTypes& types = DeviceTypes::OfProcess());

}  // namespace berth::scheduler
