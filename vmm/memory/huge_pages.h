#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/config/vm_config.h"
#include "vmm/memory/zone_file.h"

namespace berth::vmm {

// A zone that cannot have its memory, and why.
struct MemoryLack {
  size_t zone = 0;  // index into the zones
  Status status;
};

// The pools of huge pages that this host has and the limits on memory, read under a root directory ("/" in
// production).
class HugePages {
 public:
  // `of_file`: the page size where a path lies on a hugetlbfs.
  explicit HugePages(std::string root = "/",
                     std::function<std::optional<uint64_t>(const std::string&)> of_file = HugePageSizeAt)
      : root_(std::move(root)), of_file_(std::move(of_file)) {}

  // The page size of a zone's backing: of its huge pages, or of the file system that its file lies on.
  Result<uint64_t> PageSize(const MemoryZoneConfig& zone) const;

  // Size of a huge page where a zone gives none (/proc/meminfo). kFailedPrecondition when the host has none.
  Result<uint64_t> DefaultSize() const;

  // Pages of `size` bytes that may be taken: free and not promised to others, on one node or in all.
  // kFailedPrecondition when the host has no pages of that size, kNotFound when it has no such node.
  Result<uint64_t> FreePages(uint64_t size, std::optional<uint32_t> node) const;

  // Pages of `size` bytes that the limits of this process's cgroup still allow; empty without a limit.
  std::optional<uint64_t> CgroupPages(uint64_t size) const;

  // Bytes of ordinary memory that the limits (memory.max) of this process's cgroup still allow.
  std::optional<uint64_t> CgroupMemory() const;

  // Bytes of ordinary memory that a node could give, as the kernel guesses MemAvailable: free, file pages and
  // slabs that can be reclaimed, and what can be swapped out. Bound memory beyond it would end in the OOM
  // killer. Empty where the host does not tell.
  std::optional<uint64_t> NodeMemory(uint32_t node) const;

  // Every zone that needs more, alone or together with others, than there is: huge pages of a size, on a node
  // or in all, or ordinary memory to prefault that the cgroup may have, or the node that it is bound to.
  // kResourceExhausted naming zones, node, page size, need and have. What is plugged at boot counts as
  // needed. Each zone stands there once.
  std::vector<MemoryLack> Missing(const std::vector<MemoryZoneConfig>& zones) const;
  // The first of them.
  Status Preflight(const std::vector<MemoryZoneConfig>& zones) const;

 private:
  // The least of limit - use over the cgroup and its ancestors, in bytes; `stem`: "memory", "hugetlb.2MB".
  std::optional<uint64_t> CgroupRoom(const std::string& stem) const;

  std::string root_;
  std::function<std::optional<uint64_t>(const std::string&)> of_file_;
};

}  // namespace berth::vmm
