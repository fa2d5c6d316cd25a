#pragma once

#include <cstdint>
#include <span>

#include "common/status.h"
#include "vmm/pagestate/page_state.h"

// What a conversion asks of the kernel and of those who use shared memory. Ranges are guest-physical, whole
// pages, and lie in one region of the page-state map. Implementations are thread-safe: conversions of
// different ranges run at the same time.
namespace berth::vmm {

// On which side KVM serves the guest's accesses.
class PageAttributes {
 public:
  virtual ~PageAttributes() = default;
  // For all of the range or, on an error, for nothing of it. kUnavailable: somebody holds a page (in-place
  // model only); to be tried again.
  virtual Status SetPrivate(uint64_t base, uint64_t size, bool is_private) = 0;
};

// The memory behind the two sides. Each call may be repeated: populating what is there and discarding what is
// not changes nothing.
class MemoryPlanes {
 public:
  virtual ~MemoryPlanes() = default;
  // Memory on the region's host node. On an error there may be more of it than before.
  virtual Status PopulateShared(uint64_t base, uint64_t size) = 0;
  virtual Status PopulatePrivate(uint64_t base, uint64_t size) = 0;
  // Gives memory back; the content is gone.
  virtual Status DiscardShared(uint64_t base, uint64_t size) = 0;
  virtual Status DiscardPrivate(uint64_t base, uint64_t size) = 0;
};

// Somebody who lets others than the guest reach all of its shared memory: VFIO's containers, back ends of
// vhost-user. It sees two events, whatever more states there are.
class SharedMemoryListener {
 public:
  virtual ~SharedMemoryListener() = default;
  // The runs may be reached from now on: all of them, or none on an error.
  virtual Status OnShared(std::span<const StateRun> runs) = 0;
  // The runs may not be reached once this returns OK; on an error all of them still are. kDataLoss: some
  // cannot be reached any more, though they are shared.
  virtual Status OnPrivate(std::span<const StateRun> runs) = 0;
};

}  // namespace berth::vmm
