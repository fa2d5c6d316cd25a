#include "vmm/kvm/memory_slots.h"

#include <string>

namespace berth::vmm {

Result<uint32_t> MemorySlots::Add(Gpa gpa, uint64_t size, uint8_t* host, bool readonly, int guest_memfd,
                                  uint64_t offset) {
  std::lock_guard lock(mutex_);
  uint32_t number = 0;  // the lowest that is free
  for (const auto& [taken, slot] : slots_) {
    if (taken != number) break;
    ++number;
  }
  if (number >= count_) {
    return ResourceExhausted("all of KVM's " + std::to_string(count_) + " memory slots are taken");
  }
  const MemorySlot slot{number, gpa, size, host, readonly, guest_memfd, offset};
  TRY(vm_.SetMemorySlot(slot));
  slots_.emplace(number, slot);
  return number;
}

Status MemorySlots::Remove(uint32_t slot) {
  std::lock_guard lock(mutex_);
  auto found = slots_.find(slot);
  if (found == slots_.end()) return NotFound("no memory slot " + std::to_string(slot));
  MemorySlot none = found->second;
  none.size = 0;
  TRY(vm_.SetMemorySlot(none));
  slots_.erase(found);
  return OkStatus();
}

uint32_t MemorySlots::used() const {
  std::lock_guard lock(mutex_);
  return static_cast<uint32_t>(slots_.size());
}

}  // namespace berth::vmm
