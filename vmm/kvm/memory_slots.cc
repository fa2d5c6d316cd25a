#include "vmm/kvm/memory_slots.h"

#include <string>

namespace berth::vmm {

Result<uint32_t> MemorySlots::Add(Gpa gpa, uint64_t size, uint8_t* host, bool readonly) {
  std::lock_guard lock(mutex_);
  uint32_t slot = 0;
  for (uint32_t used : used_) {
    if (used != slot) break;
    ++slot;
  }
  if (slot >= slots_max_) {
    return ResourceExhausted("all " + std::to_string(slots_max_) + " memory slots of KVM are in use");
  }
  TRY(vm_.SetMemorySlot({slot, gpa, size, host, readonly}));
  used_.insert(slot);
  return slot;
}

Status MemorySlots::Remove(uint32_t slot) {
  std::lock_guard lock(mutex_);
  if (!used_.contains(slot)) return NotFound("memory slot " + std::to_string(slot) + " is not in use");
  TRY(vm_.SetMemorySlot({.slot = slot}));
  used_.erase(slot);
  return OkStatus();
}

}  // namespace berth::vmm
