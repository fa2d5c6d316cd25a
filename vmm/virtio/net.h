#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/cpu_set.h"
#include "common/mac_address.h"
#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/net_control.h"
#include "vmm/virtio/net_lane.h"
#include "vmm/virtio/rate_limiter.h"
#include "vmm/virtio/tap.h"
#include "vmm/virtio/worker_loop.h"

namespace berth::vmm {

// Network device (virtio 1.2, 5.1): pairs of a receive and a transmit queue, and a control queue behind them.
// One pair is served on the caller's loop, several by a thread each. How many of them the driver uses, and
// what the network may leave to it, is its own choice while it runs.
class VirtioNet : public VirtioDevice {
 public:
  static constexpr uint16_t kQueueSize = 256;
  static constexpr uint16_t kControlQueueSize = 64;
  static constexpr uint16_t kReceiveQueue = 0;
  static constexpr uint16_t kTransmitQueue = 1;
  static constexpr size_t kPacketMax = NetLane::kPacketMax;

  struct Options {
    std::string id = {};                         // names the threads
    std::optional<uint16_t> mtu = std::nullopt;  // that the guest is told
    uint16_t queue_size = kQueueSize;
    RateLimitSettings limits = {};  // in each direction; operations are packets. Pairs have equal shares
    CpuSet cpus = {};               // of the threads, as a hint
    EventLoop* starter = nullptr;   // of the threads, see WorkerLoop
  };
  // One pair of queues for each of `taps`, which belong to one interface. `loop` must outlive the device.
  static Result<std::shared_ptr<VirtioNet>> Create(std::vector<Tap> taps, const MacAddress& mac,
                                                   EventLoop& loop, const Options& options);
  static std::shared_ptr<VirtioNet> Create(Tap tap, const MacAddress& mac, EventLoop& loop);
  ~VirtioNet() override { Reset(); }

  CounterList Counters() const override;

  uint16_t type() const override { return kVirtioNet; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;
  // A packet that waits for buffers is lost.
  Result<VirtioActivation> Suspend() override;
  // What the driver has chosen by the control queue.
  void Save(StateWriter& out) override;
  void Load(StateReader& in) override;

 private:
  VirtioNet(const MacAddress& mac, EventLoop& loop, const Options& options);
  bool several() const { return lanes_.size() > 1; }
  Status StartLanes();
  bool SetPairs(uint16_t pairs);
  bool SetOffloads(uint64_t features);

  std::array<uint8_t, 12> config_{};
  const std::optional<uint16_t> mtu_;
  std::vector<uint16_t> queue_sizes_;
  NetCounters counters_;
  std::optional<VirtioActivation> active_;
  uint16_t pairs_ = 1;                // that the driver uses
  std::optional<uint64_t> offloads_;  // that it has chosen since it negotiated them
  NetControl control_;
  std::vector<std::unique_ptr<WorkerLoop>> workers_;  // none for a single pair
  std::vector<std::unique_ptr<NetLane>> lanes_;       // go before their loops
};

}  // namespace berth::vmm
