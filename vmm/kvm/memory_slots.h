#pragma once

#include <cstdint>
#include <mutex>
#include <set>

#include "common/status.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// Hands out the numbers of KVM's memory slots: guest RAM and mapped BARs share one number space. Thread-safe;
// the KvmVm outlives it. What is still there when it is destroyed goes with the VM.
class MemorySlots {
 public:
  MemorySlots(KvmVm& vm, uint32_t slots_max) : vm_(vm), slots_max_(slots_max) {}
  MemorySlots(const MemorySlots&) = delete;
  MemorySlots& operator=(const MemorySlots&) = delete;

  // Returns the slot's number. kResourceExhausted when none is left; the kernel's errors otherwise.
  Result<uint32_t> Add(Gpa gpa, uint64_t size, uint8_t* host, bool readonly);
  // kNotFound when the number is not in use.
  Status Remove(uint32_t slot);

 private:
  KvmVm& vm_;
  const uint32_t slots_max_;
  std::mutex mutex_;  // guards used_
  std::set<uint32_t> used_;
};

}  // namespace berth::vmm
