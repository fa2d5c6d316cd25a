#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "common/status.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// Hands out KVM's memory slots: RAM, plugged memory, memory of passed-through devices. Thread-safe. `vm`
// outlives it; slots that are still there go with the VM.
class MemorySlots {
 public:
  MemorySlots(KvmVm& vm, uint32_t count) : vm_(vm), count_(count) {}
  MemorySlots(const MemorySlots&) = delete;
  MemorySlots& operator=(const MemorySlots&) = delete;

  // Makes [gpa, gpa + size) the memory at `host`. Returns the slot. kResourceExhausted when none is free,
  // else KVM's error. `guest_memfd`: where its private pages come from, from `offset` on; -1: it has none.
  Result<uint32_t> Add(Gpa gpa, uint64_t size, uint8_t* host, bool readonly = false, int guest_memfd = -1,
                       uint64_t offset = 0);
  // kNotFound for a slot that Add has not returned.
  Status Remove(uint32_t slot);
  uint32_t used() const;

 private:
  KvmVm& vm_;
  const uint32_t count_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<uint32_t, MemorySlot> slots_;
};

}  // namespace berth::vmm
