#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
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

// A request that moves data, or flushes, and was found to be within the rules: what is left to do.
struct BlockMove {
  enum class Kind { kRead, kWrite, kFlush };
  Kind kind = Kind::kFlush;
  uint64_t position = 0;  // in the file
  uint64_t offset = 0;    // of the data in the chain's readable or writable bytes
  uint64_t length = 0;
  bool durable = false;  // a write that must be on stable storage when it ends
};

// Carries out the requests of one queue of a disk (virtio 1.2, 5.2.6). Used by one thread at a time.
class BlockRequests {
 public:
  static constexpr size_t kIdBytes = 20;
  static constexpr uint64_t kChunk = 1 << 20;  // moved between two looks at `stopping`

  BlockRequests(DiskFile disk, BlockState& state) : disk_(std::move(disk)), state_(state) {}

  DiskFile& disk() { return disk_; }
  uint64_t features() const;
  // `negotiated`: features. Every request ends with a status byte; one without header or status byte breaks
  // the rules of the queue. Returns the bytes written.
  Result<uint32_t> Handle(const DescriptorChain& chain, uint64_t negotiated);
  // The same in two parts, for data that somebody else moves: what a request wants, or nothing when it is one
  // for Handle. The chain is looked at once; what it says later does not count.
  std::optional<BlockMove> Plan(const DescriptorChain& chain, uint64_t negotiated);
  // The status of a request that ended so. `error`: an errno, 0 when the file ended early.
  uint8_t Succeeded(const BlockMove& move);
  uint8_t Failed(const BlockMove& move, int error);
  // Writes the status byte. Returns the bytes written.
  static uint32_t End(const DescriptorChain& chain, uint8_t status);
  bool stopping() const { return state_.stopping; }
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
