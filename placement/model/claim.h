#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/cpu_set.h"
#include "common/pci_address.h"
#include "common/uuid.h"
#include "placement/model/host.h"
#include "placement/model/port_settings.h"
#include "placement/model/server_group.h"

namespace berth::placement {

// One guest NUMA cell on one host cell. Several guest cells of one claim sit on distinct host cells (R2).
struct CellBinding {
  uint32_t guest_cell = 0;
  NumaNode host_cell = 0;
  CpuSet vcpus;  // guest CPU numbers of this guest cell
  std::vector<std::pair<uint32_t, uint32_t>>
      pinning;      // guest CPU -> host CPU, ascending; vCPUs not named float
  CpuSet reserved;  // host CPUs taken for the emulator or blocked as siblings
  uint64_t memory_bytes = 0;
  uint64_t page_size_bytes = 0;  // 0: base pages, not asked for explicitly
  bool secure = false;           // memory comes from the cell's secure memory
  // Of a secure cell: what the guest's bounce buffer (SWIOTLB) takes of the host cell's ordinary memory
  // (seed 000, "SWIOTLB Buffer"); 0 elsewhere.
  uint64_t swiotlb_bytes = 0;

  friend bool operator==(const CellBinding&, const CellBinding&) = default;
};

// One device for one PCI request of the instance (requests are numbered as in design/whatif: alias items from
// left to right, then SR-IOV ports).
struct DeviceBinding {
  uint32_t request = 0;
  PciAddress address;
  std::string alias;  // or the port's id
  std::optional<NumaNode> numa_node;
  PortSettings port = {};  // of a network port's VF; nothing is set of other devices
  // It was asked back from the running instance: held until the agent says that the guest let go of it.
  bool leaving = false;

  friend bool operator==(const DeviceBinding&, const DeviceBinding&) = default;
};

// What the agent needs, beside the bindings, to run the instance. Paths are on the host.
struct InstanceSpec {
  std::string flavor;
  uint32_t vcpus = 0;
  uint64_t memory_bytes = 0;
  std::string kernel;
  std::string initramfs;
  std::string cmdline;
  std::vector<std::string>
      disks;                      // option strings of the VMM without the leading flag: "path=/x,readonly=on"
  std::vector<std::string> nets;  // likewise: "tap=tap0"
  uint64_t disk_bytes = 0;        // that it may use on the host's disk
  std::string viommu;  // model of the guest's virtual IOMMU: "virtio", "intel", "smmuv3", "auto"; empty: none

  friend bool operator==(const InstanceSpec&, const InstanceSpec&) = default;
};

enum class ClaimPhase {
  kActive,     // resources are held; the agent should run the instance
  kReleasing,  // deletion was asked for: still held until the agent confirms that nothing runs
};

// What the agent last said about the instance. Free text stays short (<= 4096 bytes).
enum class InstanceState { kPending, kBuilding, kRunning, kStopped, kFailed, kDeleting, kPaused };
const char* InstanceStateName(InstanceState state);  // "PENDING", ...
std::optional<InstanceState> ParseInstanceState(std::string_view name);

struct InstanceStatus {
  InstanceState state = InstanceState::kPending;
  std::string detail;           // why, for kFailed; free of secrets
  uint64_t observed_at_ms = 0;  // agent's clock, Unix time

  friend bool operator==(const InstanceStatus&, const InstanceStatus&) = default;
};

// An instance's hold on one host: exact CPUs, memory, pages and devices. `consumer` is the instance's UUID.
struct Claim {
  Uuid consumer;
  std::string name;  // the instance's name, unique among live claims
  Uuid host;
  ClaimPhase phase = ClaimPhase::kActive;
  std::vector<CellBinding>
      cells;  // empty: no guest NUMA topology; vCPUs and memory count against host totals
  std::vector<DeviceBinding> devices;
  InstanceSpec spec;
  InstanceStatus status;
  uint64_t created_at_ms = 0;  // Unix time, given with the command
  // Made for a client of the Placement API, whose own hypervisor runs the instance: the agent runs nothing,
  // and there may be no vCPUs.
  bool external = false;
  std::optional<ServerGroup> group;  // that the instance is a member of
  // A claim that only holds resources while an instance moves (resize, cold migration): those of the host to
  // come before SwapClaims, those of the host before after it. The instance's UUID; nil: an ordinary claim.
  Uuid reserved_for = {};
  bool swapped = false;  // of such a claim: it holds what the instance had before
  // The instance was stopped when its last move began, so that its new host does not start it by itself: what
  // the claim for the move says of it is the instance's from SwapClaims on.
  bool stays_stopped = false;

  friend bool operator==(const Claim&, const Claim&) = default;
};

}  // namespace berth::placement
