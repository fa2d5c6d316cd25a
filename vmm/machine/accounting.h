#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/api/vm_control.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

// Bytes of this process on one node of the host.
struct NodeBytes {
  uint64_t guest_ram = 0;
  uint64_t guest_huge = 0;  // of it, on huge pages
  uint64_t vmm = 0;         // everything else
};

// Of a confidential guest: private memory by host node, as the kernel counts it; or why that is not known.
struct PrivateAccount {
  std::map<uint32_t, uint64_t> nodes;
  std::string unknown;
  uint64_t slack = 0;  // bytes by which the kernel's figures may be late
};

struct MemoryAccount {
  std::map<uint32_t, NodeBytes> nodes;
  std::map<std::string, std::map<uint32_t, uint64_t>> zones;  // zone -> host node -> bytes
  std::optional<PrivateAccount> confidential{};               // none for an ordinary guest
};

// Adds up the text of /proc/PID/numa_maps: a mapping that lies in one of the regions is guest RAM.
MemoryAccount CountMemory(std::string_view numa_maps, const std::vector<MemoryRegionFacts>& regions);
std::string AccountJson(const MemoryAccount& account, const VmFacts& facts);

// Whether what runs is where it was to be: pages of each zone on its host node, and each vCPU's thread on
// CPUs near the memory of its guest node. {"placed": bool, "zones": [...], "vcpus": [...], "mismatches":
// [text]} `allowed(tid)`: CPUs that a thread may run on; `near(node)`: CPUs of a host node. For a
// confidential guest {"private": {"known": bool, "nodes": [...]}} besides: no node has more private memory
// than the zones that are bound to it.
std::string PlacementJson(const VmConfig& config, const VmFacts& facts, const MemoryAccount& account,
                          const std::function<CpuSet(pid_t)>& allowed,
                          const std::function<CpuSet(uint32_t)>& near);

}  // namespace berth::vmm
