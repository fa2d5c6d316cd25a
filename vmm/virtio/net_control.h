#pragma once

#include <cstdint>
#include <functional>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// virtio 1.2, 5.1.3: features of network devices that concern more than the packets' path.
inline constexpr uint64_t kNetControlGuestOffloads = 1 << 2;
inline constexpr uint64_t kNetMtu = 1 << 3;
inline constexpr uint64_t kNetMac = 1 << 5;
inline constexpr uint64_t kNetMergeBuffers = 1 << 15;
inline constexpr uint64_t kNetStatus = 1 << 16;
inline constexpr uint64_t kNetControlQueue = 1 << 17;
inline constexpr uint64_t kNetMultiQueue = 1 << 22;

// The control queue of a network device (virtio 1.2, 5.1.6.5): the driver chooses how many pairs of queues it
// uses, and what may be left to it. Other commands, and such without their feature, are answered by an error.
class NetControl {
 public:
  // Both say whether the device can. Called on the loop's thread.
  struct Handlers {
    std::function<bool(uint16_t pairs)> set_pairs;
    std::function<bool(uint64_t offloads)> set_offloads;
  };
  // `loop` must outlive it.
  NetControl(EventLoop& loop, Handlers handlers) : loop_(loop), handlers_(std::move(handlers)) {}
  ~NetControl() { Stop(); }

  // Which queue of a device with `pairs` pairs is the control queue: behind the pairs that there are when the
  // driver knows of several, else behind the first (5.1.2).
  static size_t QueueIndex(uint64_t features, size_t pairs) {
    return features & kNetMultiQueue ? 2 * pairs : 2;
  }
  // Serves the control queue of `activation`, if the driver has one; it outlives Stop. kInvalidArgument: the
  // driver's features contradict each other.
  Status Start(VirtioActivation& activation, size_t pairs);
  void Stop();

 private:
  void Serve();
  uint32_t Command(const DescriptorChain& chain);
  bool Execute(uint8_t kind, uint8_t command, const ByteList& request);

  EventLoop& loop_;
  const Handlers handlers_;
  VirtioActivation* active_ = nullptr;
  size_t queue_ = 0;
  DescriptorChain chain_;  // of the loop's thread while it works
};

}  // namespace berth::vmm
