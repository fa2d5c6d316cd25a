#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

// The pools of huge pages that this host has and the limits on memory, read under a root directory ("/" in
// production).
class HugePages {
 public:
  explicit HugePages(std::string root = "/") : root_(std::move(root)) {}

  // Size of a huge page where a zone gives none (/proc/meminfo). kFailedPrecondition when the host has none.
  Result<uint64_t> DefaultSize() const;

  // Pages of `size` bytes that may be taken: free and not promised to others, on one node or in all.
  // kFailedPrecondition when the host has no pages of that size, kNotFound when it has no such node.
  Result<uint64_t> FreePages(uint64_t size, std::optional<uint32_t> node) const;

  // Pages of `size` bytes that the limits of this process's cgroup still allow; empty without a limit.
  std::optional<uint64_t> CgroupPages(uint64_t size) const;

  // Bytes of ordinary memory that the limits (memory.max) of this process's cgroup still allow.
  std::optional<uint64_t> CgroupMemory() const;

  // Fails before any memory is mapped when the zones together need more huge pages of a size, on a node or in
  // all, than there are, or prefault more ordinary memory than the cgroup may have: kResourceExhausted naming
  // zones, node, page size, need and have. What is plugged at boot counts as needed.
  Status Preflight(const std::vector<MemoryZoneConfig>& zones) const;

 private:
  // The least of limit - use over the cgroup and its ancestors, in bytes; `stem`: "memory", "hugetlb.2MB".
  std::optional<uint64_t> CgroupRoom(const std::string& stem) const;
  Status PreflightOrdinary(const std::vector<MemoryZoneConfig>& zones) const;

  std::string root_;
};

}  // namespace berth::vmm
