#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/node_worker.h"

namespace berth::vmm {

// The private side of a confidential guest's memory: a file of the guest's own pages (guest_memfd) for each
// region. Nobody can map them; they lie on the region's host node because a thread that is bound there asks
// for them (the kernel takes the allocating thread's policy). Thread-safe.
class PrivateMemory {
 public:
  using MakeFile = std::function<Result<UniqueFd>(uint64_t size)>;

  // `regions` outlive it. No pages are allocated yet.
  static Result<std::unique_ptr<PrivateMemory>> Create(std::vector<MemoryRegion> regions,
                                                       const MakeFile& make);

  struct Place {
    int file = -1;
    uint64_t offset = 0;
  };
  // Where the private page at `gpa` is; no file outside of the regions.
  Place Find(Gpa gpa) const;
  const std::vector<MemoryRegion>& regions() const { return regions_; }

  // Of a range in one region, whole pages. Both may be repeated. kResourceExhausted: the host node is full.
  Status Populate(Gpa gpa, uint64_t size);
  Status Discard(Gpa gpa, uint64_t size);

  // Bytes that are allocated now, by host node (-1: no node is given).
  std::map<int64_t, uint64_t> AllocatedBytes() const;

 private:
  PrivateMemory() = default;
  const MemoryRegion* RegionOf(Gpa gpa, uint64_t size) const;

  std::vector<MemoryRegion> regions_;  // by address
  std::vector<UniqueFd> files_;        // of the same place in regions_
  std::map<uint32_t, std::unique_ptr<NodeWorker>> workers_;
};

}  // namespace berth::vmm
