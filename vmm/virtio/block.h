#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/virtio/block_requests.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/disk_file.h"
#include "vmm/virtio/rate_limiter.h"
#include "vmm/virtio/worker_loop.h"

namespace berth::vmm {

// Block device (virtio 1.2, 5.2). Each of its queues is served by a thread of its own, because file I/O
// blocks, or all by the caller's. Every request ends with a status byte: I/O errors and requests outside the
// disk are VIRTIO_BLK_S_IOERR, unknown ones VIRTIO_BLK_S_UNSUPP.
class VirtioBlock : public VirtioDevice {
 public:
  static constexpr uint16_t kQueueSize = 256;

  struct Options {
    std::string id;
    std::string serial = {};  // what the guest reads as the serial number; the id when empty
    uint16_t queues = 1;
    uint16_t queue_size = kQueueSize;
    RateLimitSettings limits = {};  // of the whole disk: each queue has an equal share
    CpuSet cpus = {};               // of the threads, as a hint
  };
  // Fails when no thread or no descriptor can be had.
  static Result<std::shared_ptr<VirtioBlock>> Create(DiskFile disk, const Options& options);
  static Result<std::shared_ptr<VirtioBlock>> Create(DiskFile disk, const std::string& id) {
    return Create(std::move(disk), Options{.id = id});
  }
  // One queue on a loop that several disks may share; it must outlive the device.
  static std::shared_ptr<VirtioBlock> CreateOn(EventLoop& loop, DiskFile disk, const std::string& id);
  ~VirtioBlock() override { Reset(); }

  // Makes file and disk larger, and tells the driver. Thread-safe. kInvalidArgument for a smaller size, or
  // one that is not whole sectors.
  Status Grow(uint64_t bytes);
  CounterList Counters() const override;

  uint16_t type() const override { return kVirtioBlock; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;

 private:
  // What serves one queue.
  struct Lane {
    BlockRequests requests;
    EventLoop* loop = nullptr;
    DescriptorChain chain = {};
    bool serving = false;                       // of the loop's thread while the device is active
    std::unique_ptr<WorkerLoop> worker = {};    // null on a shared loop
    std::unique_ptr<RateLimiter> limiter = {};  // null without a limit; goes before its loop
  };

  explicit VirtioBlock(const Options& options);
  Status AddLane(DiskFile disk, std::unique_ptr<WorkerLoop> worker, EventLoop& loop);
  void FillConfig();
  void Serve(size_t index);

  BlockState state_;
  const RateLimitSettings limits_;
  std::vector<uint16_t> queue_sizes_;
  mutable std::mutex config_mutex_;  // guards config_ and interrupt_
  std::vector<uint8_t> config_;
  VirtioInterrupt* interrupt_ = nullptr;  // while active
  std::optional<VirtioActivation> active_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // last: their threads stop first
};

}  // namespace berth::vmm
