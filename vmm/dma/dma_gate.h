#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>

namespace berth::vmm {

// Which devices of an I/O address space may do DMA now, by their bus master bits: while none may, mappings
// can be taken apart and put together again unseen. Thread-safe.
class DmaGate {
 public:
  // While this lives no device may do DMA, and none is let.
  using Stillness = std::shared_ptr<void>;

  // Carries out `change`, which gives whether the device may do DMA afterwards. Waits for stillness to end.
  void Change(const void* device, const std::function<bool()>& change);
  // The device cannot do DMA any more: it is reset, or closed.
  void Forget(const void* device);
  // None when a device may do DMA.
  Stillness HoldStill();

 private:
  std::mutex mutex_;  // guards what follows
  std::set<const void*> masters_;
};

}  // namespace berth::vmm
