#pragma once

#include "common/status.h"
#include "vmm/bus/interrupts.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// IoEventRegistry over KVM's ioeventfds: a write of any width. The KvmVm outlives it.
class KvmIoEvents final : public IoEventRegistry {
 public:
  explicit KvmIoEvents(KvmVm& vm) : vm_(vm) {}
  Status Add(uint64_t address, int event_fd) override { return vm_.AssignIoEvent(address, 0, event_fd); }
  Status Remove(uint64_t address, int event_fd) override { return vm_.DeassignIoEvent(address, 0, event_fd); }

 private:
  KvmVm& vm_;
};

}  // namespace berth::vmm
