#include "vmm/dma/dma_gate.h"

namespace berth::vmm {

void DmaGate::Change(const void* device, const std::function<bool()>& change) {
  std::lock_guard lock(mutex_);
  if (change()) {
    masters_.insert(device);
  } else {
    masters_.erase(device);
  }
}

void DmaGate::Forget(const void* device) {
  Change(device, [] { return false; });
}

DmaGate::Stillness DmaGate::HoldStill() {
  auto lock = std::make_shared<std::unique_lock<std::mutex>>(mutex_);
  return masters_.empty() ? lock : nullptr;
}

}  // namespace berth::vmm
