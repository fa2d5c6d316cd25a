#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "common/status.h"
#include "vmm/kvm/memory_slots.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/memory_listener.h"
#include "vmm/memory/memory_plugger.h"
#include "vmm/memory/private_memory.h"

namespace berth::vmm {

// Keeps KVM's memory slots, and those who map RAM elsewhere, in step with what is plugged. A hot-plug area is
// cut into chunks; a chunk has a slot while any block in it is plugged, so that the guest cannot reach, and
// make us allocate, more than a chunk beyond what it was given. Thread-safe. `memory` and `slots` outlive it.
class RamMap final : public MemoryPlugger {
 public:
  // Both sides of a confidential guest's memory. Who maps its RAM elsewhere hears of it from there.
  class Sides {
   public:
    virtual ~Sides() = default;
    // Where the private side of the page at `gpa` is.
    virtual PrivateMemory::Place Find(Gpa gpa) const = 0;
    // Part of an area that was unplugged, or that was not: as a whole, or all is as before.
    virtual Status Plug(Gpa base, uint64_t size) = 0;
    virtual Status Unplug(Gpa base, uint64_t size) = 0;
  };

  // `sides`: none for an ordinary guest. Outlives it.
  RamMap(const GuestMemory& memory, MemorySlots& slots, Sides* sides = nullptr)
      : memory_(memory), slots_(slots), sides_(sides) {}

  // Maps all RAM that there is. Once, before the guest runs.
  Status MapAll();

  // Announces all RAM to a listener, and from then on every change. It stays until it is removed.
  Status AddListener(MemoryListener& listener);
  void RemoveListener(MemoryListener& listener);

  // Runs `work` while nothing is plugged or unplugged; it must not call this map.
  Status Still(const std::function<Status()>& work);

  Status Plug(const MemoryRegion& area, uint64_t offset, uint64_t length) override;
  Status Unplug(const MemoryRegion& area, uint64_t offset, uint64_t length) override;

 private:
  using Chunk = std::pair<const PlugMap*, uint64_t>;  // area and number

  // With mutex_ held:
  Status PlugSides(const MemoryRegion& area, const MemoryRegion& part, uint64_t offset);
  Status Withdraw(const MemoryRegion& part);
  // Slots for the chunks of the range that have none; `added` are those.
  Status MapChunks(const MemoryRegion& area, uint64_t offset, uint64_t length, std::vector<Chunk>& added);
  void UnmapChunks(const std::vector<Chunk>& chunks);
  Status Announce(const MemoryRegion& part);

  const GuestMemory& memory_;
  MemorySlots& slots_;
  Sides* const sides_;
  std::mutex mutex_;  // guards what follows
  std::map<Chunk, uint32_t> chunks_;
  std::vector<MemoryListener*> listeners_;
};

}  // namespace berth::vmm
