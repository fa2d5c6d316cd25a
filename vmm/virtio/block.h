#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/disk_file.h"
#include "vmm/virtio/worker_loop.h"

namespace berth::vmm {

// Block device with one queue (virtio 1.2, 5.2), served by a thread of its own or of the caller, because file
// I/O blocks.
// Every request ends with a status byte: I/O errors and requests outside the disk are VIRTIO_BLK_S_IOERR,
// unknown ones VIRTIO_BLK_S_UNSUPP; a request without header or status byte breaks the rules of the queue.
class VirtioBlock : public VirtioDevice {
 public:
  static constexpr uint16_t kQueueSize = 256;
  static constexpr size_t kIdBytes = 20;

  // `id`: the serial number that the guest reads, cut to 20 bytes. Fails when no thread can be had.
  static Result<std::shared_ptr<VirtioBlock>> Create(DiskFile disk, const std::string& id);
  // The same on a loop that several disks may share; it must outlive the device.
  static std::shared_ptr<VirtioBlock> CreateOn(EventLoop& loop, DiskFile disk, const std::string& id);
  ~VirtioBlock() override { Reset(); }

  // Makes file and disk larger, and tells the driver. Thread-safe. kInvalidArgument for a smaller size, or
  // one that is not whole sectors.
  Status Grow(uint64_t bytes);
  CounterList Counters() const override;

  uint16_t type() const override { return kVirtioBlock; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;

 private:
  VirtioBlock(DiskFile disk, std::string id, EventLoop& loop, std::unique_ptr<WorkerLoop> worker);
  void Serve();
  Result<uint32_t> Handle(const DescriptorChain& chain);
  // The status byte for a request whose header has been read.
  uint8_t Execute(uint32_t type, uint64_t sector, const DescriptorChain& chain);
  uint8_t Transfer(bool write, uint64_t sector, const ByteList& data, uint64_t offset, uint64_t length);
  uint8_t ChangeRanges(uint32_t type, const ByteList& request);
  uint8_t ChangeRange(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags);
  uint8_t Finish(const Status& done);
  bool Inside(uint64_t sector, uint64_t bytes) const;

  DiskFile disk_;
  const std::string id_;
  EventLoop& loop_;
  std::atomic<uint64_t> capacity_;   // sectors
  mutable std::mutex config_mutex_;  // guards config_ and interrupt_
  std::vector<uint8_t> config_;
  VirtioInterrupt* interrupt_ = nullptr;  // while active
  std::atomic<uint64_t> read_bytes_{0}, read_ops_{0}, write_bytes_{0}, write_ops_{0};
  std::optional<VirtioActivation> active_;
  DescriptorChain chain_;
  std::vector<iovec> buffers_;
  std::atomic<bool> stopping_{false};  // cuts a long request short when the driver resets
  std::atomic<uint32_t> errors_logged_{0};
  std::unique_ptr<WorkerLoop> worker_;  // null on a shared loop; last: its thread stops first
};

}  // namespace berth::vmm
