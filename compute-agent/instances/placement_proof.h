#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"
#include "compute-agent/instances/vmm_client.h"
#include "placement/model/claim.h"

namespace berth::agent {

struct VcpuThread {
  uint32_t vcpu = 0;
  pid_t tid = 0;
  CpuSet cpus_allowed;

  friend bool operator==(const VcpuThread&, const VcpuThread&) = default;
};

// What the kernel says about a running VMM.
struct ProcessPlacement {
  std::vector<VcpuThread> vcpus;                         // threads named "vcpuN", ascending
  std::map<placement::NumaNode, uint64_t> guest_memory;  // resident bytes of guest memory by node

  friend bool operator==(const ProcessPlacement&, const ProcessPlacement&) = default;
};

// Resident bytes by node of the mappings that are bound to nodes (policy "bind:..."), as the VMM binds guest
// memory and nothing else. Lines that make no sense are skipped.
std::map<placement::NumaNode, uint64_t> BoundMemory(std::string_view numa_maps);

// The vCPU threads of a process. kNotFound when there is no such process.
Result<std::vector<VcpuThread>> ReadVcpuThreads(pid_t pid, const std::string& proc = "/proc");

// ReadVcpuThreads, and /proc/PID/numa_maps. kNotFound when there is no such process. Walks the page tables of
// the process: seconds for hundreds of GiB of base pages.
Result<ProcessPlacement> ReadProcessPlacement(pid_t pid, const std::string& proc = "/proc");

// The device nodes of VFIO ("/dev/vfio/7", "/dev/vfio/devices/vfio0") that a process has open. kNotFound when
// there is no such process; kPermissionDenied when it may not be looked at.
Result<std::set<std::string>> OpenVfioNodes(pid_t pid, const std::string& proc = "/proc");

// The differences between the claim's devices and the truth: where `root`/sys says that each is, and whether
// the VMM has its node (`open`). Devices on their way out are not looked at.
std::vector<std::string> CompareDevices(const placement::Claim& claim, const std::string& root,
                                        const std::set<std::string>& open);

// The differences between the claim's cells and the nodes that the guest is told of (SRAT). A claim without
// cells has none.
std::vector<std::string> CompareGuestNodes(const placement::Claim& claim,
                                           const std::vector<GuestNode>& nodes);

// The differences between claim and truth, one sentence each; empty: the placement is proven. `affinity` is
// VcpuAffinity of the claim. Memory of a claim without cells has no place to compare with.
std::vector<std::string> ComparePlacement(const placement::Claim& claim,
                                          const std::map<uint32_t, CpuSet>& affinity,
                                          const ProcessPlacement& actual);

}  // namespace berth::agent
