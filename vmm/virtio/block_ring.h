#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/status.h"
#include "vmm/virtio/block_requests.h"
#include "vmm/virtio/io_ring.h"
#include "vmm/virtio/queue.h"

namespace berth::vmm {

// The requests of one queue of a disk that are under way at the same time, by io_uring. Requests end in any
// order, as a driver has to expect (virtio 1.2, 2.7.13). Used by one thread at a time.
class BlockRing {
 public:
  // `depth`: requests under way at most, a power of two. kUnimplemented as IoRing says.
  static Result<std::unique_ptr<BlockRing>> Create(BlockRequests& requests, uint16_t depth);

  // Readable while something has ended.
  int fd() const { return ring_->fd(); }
  bool full() const { return free_.empty(); }
  // Whether nothing is under way. Thread-safe.
  bool idle() const { return under_way_.load(std::memory_order_relaxed) == 0; }

  // Where the next chain is to be popped into; not when full().
  DescriptorChain& NextChain() { return slots_[free_.back()].chain; }
  // Begins the request that NextChain() holds, as BlockRequests::Plan has planned it.
  void Begin(const BlockMove& move);
  // Gives what was begun to the kernel.
  Status Submit() { return ring_->Submit(); }
  // Goes on with what the kernel has done: calls `done(head, written)` for each request that has ended.
  using Done = std::function<void(uint16_t head, uint32_t written)>;
  Status Reap(const Done& done);
  // The same until nothing is under way, which is waited for.
  void Drain(const Done& done);

 private:
  struct Slot {
    DescriptorChain chain;
    BlockMove move;
    uint64_t moved = 0;    // bytes
    uint32_t refused = 0;  // how often the kernel has said: not now (EAGAIN)
    std::vector<iovec> buffers;
  };

  explicit BlockRing(BlockRequests& requests) : requests_(requests) {}
  void Queue(size_t index);
  // The status byte of a request that has ended, nothing when it goes on.
  std::optional<uint8_t> Advance(Slot& slot, int32_t result);

  BlockRequests& requests_;
  std::unique_ptr<IoRing> ring_;
  std::vector<Slot> slots_;
  std::vector<uint16_t> free_;
  std::atomic<size_t> under_way_{0};
};

}  // namespace berth::vmm
