#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/virtio/block_requests.h"
#include "vmm/virtio/block_ring.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/disk_file.h"
#include "vmm/virtio/rate_limiter.h"
#include "vmm/virtio/worker_loop.h"

namespace berth::vmm {

// Block device (virtio 1.2, 5.2). Each of its queues is served by a thread of its own, because file I/O
// blocks, or all by the caller's. Reads, writes and flushes are carried out side by side by io_uring; one
// after the other where the kernel has none, as is what frees storage. Every request ends with a status byte:
// I/O errors and requests outside the disk are VIRTIO_BLK_S_IOERR, unknown ones VIRTIO_BLK_S_UNSUPP.
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
    bool io_uring = true;           // where the kernel has it
    EventLoop* starter = nullptr;   // of the threads, see WorkerLoop
  };
  // Fails when no thread or no descriptor can be had.
  static Result<std::shared_ptr<VirtioBlock>> Create(DiskFile disk, const Options& options);
  // One queue on a loop that several disks may share; it must outlive the device.
  static std::shared_ptr<VirtioBlock> CreateOn(EventLoop& loop, DiskFile disk, const std::string& id,
                                               bool io_uring = false);
  // Whether requests are carried out by io_uring.
  bool uses_io_uring() const { return lanes_[0]->ring != nullptr; }
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
  Result<VirtioActivation> Suspend() override;
  void Save(StateWriter& out) override;
  void Load(StateReader& in) override;

 private:
  // What serves one queue.
  using Clock = std::chrono::steady_clock;
  struct Lane {
    BlockRequests requests;
    EventLoop* loop = nullptr;
    DescriptorChain chain = {};
    std::unique_ptr<BlockRing> ring = {};       // null: requests are carried out one by one
    Clock::time_point by_ring_until = {};       // writes are not to be waited for
    bool serving = false;                       // of the loop's thread while the device is active
    bool starved = false;                       // requests wait until some of the ring have ended
    std::unique_ptr<WorkerLoop> worker = {};    // null on a shared loop
    std::unique_ptr<RateLimiter> limiter = {};  // null without a limit; goes before its loop
  };

  explicit VirtioBlock(const Options& options);
  // On `shared`, or with a thread of that name.
  Status AddLane(DiskFile disk, EventLoop* shared, const std::string& thread, const Options& options);
  void FillConfig();
  void Serve(size_t index);
  // True when the queue is to be looked at again soon; the error is the guest's.
  Result<bool> ServeInTurn(Lane& lane, size_t index);
  Result<bool> ServeByRing(Lane& lane, size_t index);
  static bool WritesAlone(Lane& lane, const BlockMove& move);
  Status ReapRing(Lane& lane, size_t index);
  void OnRing(size_t index);
  // Waits for what is under way, and returns it to the driver.
  void DrainRing(Lane& lane, size_t index);
  void FailLane(Lane& lane, size_t index, const Status& reason);

  BlockState state_;
  const RateLimitSettings limits_;
  const bool io_uring_;
  std::vector<uint16_t> queue_sizes_;
  mutable std::mutex config_mutex_;  // guards config_ and interrupt_
  std::vector<uint8_t> config_;
  VirtioInterrupt* interrupt_ = nullptr;  // while active
  std::optional<VirtioActivation> active_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // last: their threads stop first
};

}  // namespace berth::vmm
