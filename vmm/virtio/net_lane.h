#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/rate_limiter.h"
#include "vmm/virtio/tap.h"

namespace berth::vmm {

// What the pairs of queues of one network device share. Thread-safe.
struct NetCounters {
  std::atomic<uint64_t> rx_bytes{0}, rx_frames{0}, tx_bytes{0}, tx_frames{0};
};

// One receive and one transmit queue of a network device, and the pair of queues of the TAP interface that
// they are connected to, served on one event loop. Packets and their virtio headers go from and to a
// descriptor that carries one of them a read or write: a TAP interface, or a packet socket in tests.
class NetLane {
 public:
  // Header, the largest segmented packet, and an Ethernet header with a VLAN tag.
  static constexpr size_t kPacketMax = kVirtioNetHeaderBytes + 65535 + 18;

  // `loop` and `counters` must outlive the lane.
  static Result<std::unique_ptr<NetLane>> Create(Tap tap, EventLoop& loop, NetCounters& counters,
                                                 const RateLimitSettings& limits);
  ~NetLane() { Stop(); }

  const Tap& tap() const { return tap_; }

  // Starts work on two queues, of which `receive` is number `index` of the device and `transmit` the next
  // one; all of it stays valid until Stop. `features`: negotiated.
  struct Queues {
    VirtioActivation::Queue* receive = nullptr;
    VirtioActivation::Queue* transmit = nullptr;
    uint16_t index = 0;
    uint64_t features = 0;
    VirtioInterrupt* interrupt = nullptr;
  };
  Status Start(const Queues& queues);
  // When it returns, the queues are not touched any more. Not from the loop's own callbacks.
  void Stop();
  // The tap has packets again: its queue was attached. From any thread, while the lane works.
  void Wake();

 private:
  NetLane(Tap tap, EventLoop& loop, NetCounters& counters);
  void Unwatch();
  void Fail(const Status& reason);

  void Transmit();
  uint32_t Send(const DescriptorChain& chain);
  void Receive();
  // Takes packets from the tap while there are buffers for them. True when it is to be watched for more.
  Result<bool> ReceiveSome();
  // Puts packet_ into buffers of the driver. False when there are not enough: then nothing has changed.
  Result<bool> Deliver();
  // Pops buffers for packet_ into used_ and copies it there. False when they run out: all were given back,
  // and used_ still tells how many there were.
  Result<bool> FillBuffers();
  // Stops or starts looking at the tap, while the driver has no buffers.
  void WatchTap(bool wanted);

  Tap tap_;
  EventLoop& loop_;
  NetCounters& counters_;
  std::unique_ptr<RateLimiter> receive_limit_, transmit_limit_;  // may be null
  std::atomic<bool> stopping_{true};
  // What follows belongs to the loop's thread while the lane works.
  Queues queues_;
  bool watched_ = false;
  bool tap_watched_ = false;
  bool packet_admitted_ = false;
  DescriptorChain chain_;
  DescriptorChain first_;  // of a received packet's buffers
  std::vector<iovec> buffers_;
  std::vector<uint8_t> packet_;
  size_t packet_bytes_ = 0;  // 0: none waits
  std::vector<SplitQueue::Used> used_;
};

}  // namespace berth::vmm
