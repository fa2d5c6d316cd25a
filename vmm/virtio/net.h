#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/mac_address.h"
#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/rate_limiter.h"
#include "vmm/virtio/tap.h"

namespace berth::vmm {

// Network device with one pair of queues (virtio 1.2, 5.1), served on the event loop. Packets and their
// virtio headers go from and to a descriptor that carries one of them a read or write: a TAP interface, or a
// packet socket in tests.
class VirtioNet : public VirtioDevice {
 public:
  static constexpr uint16_t kQueueSize = 256;
  static constexpr uint16_t kReceiveQueue = 0;
  static constexpr uint16_t kTransmitQueue = 1;
  // Header, the largest segmented packet, and an Ethernet header with a VLAN tag.
  static constexpr size_t kPacketMax = kVirtioNetHeaderBytes + 65535 + 18;

  // `loop` must outlive the device.
  struct Options {
    std::optional<uint16_t> mtu = std::nullopt;  // that the guest is told
    uint16_t queue_size = kQueueSize;
    RateLimitSettings limits = {};  // in each direction; operations are packets
  };
  static std::shared_ptr<VirtioNet> Create(Tap tap, const MacAddress& mac, EventLoop& loop);
  static Result<std::shared_ptr<VirtioNet>> Create(Tap tap, const MacAddress& mac, EventLoop& loop,
                                                   const Options& options);
  ~VirtioNet() override { Reset(); }

  CounterList Counters() const override;

  uint16_t type() const override { return kVirtioNet; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;

 private:
  VirtioNet(Tap tap, const MacAddress& mac, EventLoop& loop);
  SplitQueue& ring(uint16_t queue) { return *active_->queues[queue].ring; }
  Status Watch();
  void Unwatch();
  void Fail(const Status& reason);

  void Transmit();
  uint32_t Send(const DescriptorChain& chain);
  void Receive();
  // Puts packet_ into buffers of the driver. False when there are not enough: then nothing has changed.
  Result<bool> Deliver();
  // Pops buffers for packet_ into used_ and copies it there. False when they run out: all were given back,
  // and used_ still tells how many there were.
  Result<bool> FillBuffers();
  // Stops or starts looking at the tap, while the driver has no buffers.
  void WatchTap(bool wanted);

  Tap tap_;
  EventLoop& loop_;
  std::array<uint8_t, 12> config_{};
  std::optional<uint16_t> mtu_;
  std::array<uint16_t, 2> queue_sizes_ = {kQueueSize, kQueueSize};
  std::unique_ptr<RateLimiter> receive_limit_, transmit_limit_;  // may be null
  bool packet_admitted_ = false;
  std::atomic<uint64_t> rx_bytes_{0}, rx_frames_{0}, tx_bytes_{0}, tx_frames_{0};
  std::atomic<bool> stopping_{false};
  std::optional<VirtioActivation> active_;
  // What follows belongs to the loop's thread while the device is active.
  bool tap_watched_ = false;
  DescriptorChain chain_;
  std::vector<iovec> buffers_;
  std::vector<uint8_t> packet_;
  size_t packet_bytes_ = 0;  // 0: none waits
  std::vector<SplitQueue::Used> used_;
};

}  // namespace berth::vmm
