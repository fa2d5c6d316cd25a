#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/virtio/disk_file.h"
#include "vmm/virtio/queue.h"

namespace berth::vmm {

// virtio 1.2, 5.2.3: features.
inline constexpr uint64_t kBlockSegMax = 1 << 2;
inline constexpr uint64_t kBlockReadOnly = 1 << 5;
inline constexpr uint64_t kBlockBlockSize = 1 << 6;
inline constexpr uint64_t kBlockFlush = 1 << 9;
inline constexpr uint64_t kBlockTopology = 1 << 10;
inline constexpr uint64_t kBlockMultiQueue = 1 << 12;
inline constexpr uint64_t kBlockDiscard = 1 << 13;
inline constexpr uint64_t kBlockWriteZeroes = 1 << 14;
inline constexpr uint64_t kBlockSector = 512;
inline constexpr uint32_t kBlockRangesMax = 16;
inline constexpr uint32_t kBlockDiscardSectorsMax = 1 << 21;  // 1 GiB
inline constexpr uint32_t kBlockZeroSectorsMax = 1 << 15;     // 16 MiB, which may have to be written

// What the queues of one disk share. Thread-safe.
struct BlockState {
  std::string id;                     // for the log
  std::string serial;                 // what the guest reads, cut to 20 bytes
  std::atomic<uint64_t> capacity{0};  // sectors
  std::atomic<uint64_t> read_bytes{0}, read_ops{0}, write_bytes{0}, write_ops{0};
  std::atomic<bool> stopping{false};  // cuts a long request short when the driver resets
  std::atomic<uint32_t> errors_logged{0};
};

// Carries out the requests of one queue of a disk (virtio 1.2, 5.2.6). Used by one thread at a time.
class BlockRequests {
 public:
  static constexpr size_t kIdBytes = 20;

  BlockRequests(DiskFile disk, BlockState& state) : disk_(std::move(disk)), state_(state) {}

  DiskFile& disk() { return disk_; }
  uint64_t features() const;
  // `negotiated`: features. Every request ends with a status byte; one without header or status byte breaks
  // the rules of the queue. Returns the bytes written.
  Result<uint32_t> Handle(const DescriptorChain& chain, uint64_t negotiated);
  // Bytes of data that a request moves, for rate limits.
  static uint64_t DataBytes(const DescriptorChain& chain);

 private:
  uint8_t Execute(uint32_t type, uint64_t sector, const DescriptorChain& chain);
  uint8_t Transfer(bool write, uint64_t sector, const ByteList& data, uint64_t offset, uint64_t length);
  uint8_t ChangeRanges(uint32_t type, const ByteList& request);
  uint8_t ChangeRange(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags);
  uint8_t Finish(const Status& done);
  bool Inside(uint64_t sector, uint64_t bytes) const;

  DiskFile disk_;
  BlockState& state_;
  uint64_t negotiated_ = 0;
  std::vector<iovec> buffers_;
};

}  // namespace berth::vmm
