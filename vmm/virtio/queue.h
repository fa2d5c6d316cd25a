#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// A list of pieces of guest RAM that form one stream of bytes. The guest may change them at any time: copy
// out what is decided upon. Thread-compatible.
class ByteList {
 public:
  void Clear();
  // Ignores an empty piece.
  void Append(std::span<uint8_t> piece);

  uint64_t size() const { return size_; }
  // Copies from or to the stream at `offset`, as much as there is. Returns how many bytes were copied.
  size_t CopyOut(uint64_t offset, std::span<uint8_t> out) const;
  size_t CopyIn(uint64_t offset, std::span<const uint8_t> in) const;
  // Appends the bytes [offset, offset + length) as far as they exist, for readv(2) and its family.
  void AppendIovecs(uint64_t offset, uint64_t length, std::vector<iovec>& out) const;

 private:
  // Calls use(piece) for the pieces of [offset, offset + length).
  template <class Use>
  uint64_t ForEach(uint64_t offset, uint64_t length, Use use) const;

  std::vector<std::span<uint8_t>> pieces_;
  uint64_t size_ = 0;
};

// One request of the driver: all of it was checked to be guest RAM.
struct DescriptorChain {
  uint16_t head = 0;
  ByteList readable;  // by the device
  ByteList writable;
};

struct QueueConfig {
  uint16_t size = 0;  // a power of two, at most 32768
  Gpa descriptors{};
  Gpa driver{};            // available ring
  Gpa device{};            // used ring
  bool indirect = false;   // VIRTIO_F_INDIRECT_DESC was negotiated
  bool event_idx = false;  // VIRTIO_F_EVENT_IDX was negotiated
};

// The device's side of a split virtqueue (virtio 1.2, 2.7). The rings are written by a guest that is not to
// be trusted: each field is read once, all indices, addresses, lengths and chain lengths are checked, and an
// offence is an error, after which the device must stop using the queue (VIRTIO_CONFIG_S_NEEDS_RESET).
// Thread-compatible: one thread at a time uses a queue. The memory must outlive it.
class SplitQueue {
 public:
  // kInvalidArgument: size or alignment; kOutOfRange: a ring is not in RAM (each must lie in one region).
  static Result<SplitQueue> Create(const GuestMemory& memory, const QueueConfig& config);

  // Takes the next available chain into `chain` (its old content is dropped, its buffers reused). False when
  // there is none. kInvalidArgument when the guest breaks the rules: a loop or a chain longer than the queue,
  // an index out of range, a readable after a writable descriptor, an empty descriptor, a nested or ragged
  // indirect table, more than 4 GiB; kOutOfRange when a descriptor is not RAM.
  Result<bool> Pop(DescriptorChain& chain);
  // Undoes the last Pop, whose chain was not used.
  void Unpop() { --next_available_; }
  // Returns a chain, of which the device wrote the first `written` bytes.
  void Push(uint16_t head, uint32_t written);
  // As Push for several chains that become visible at once (VIRTIO_NET_F_MRG_RXBUF).
  struct Used {
    uint16_t head;
    uint32_t written;
  };
  void PushAll(std::span<const Used> chains);

  // Whether the driver wants an interrupt for what was pushed since the last call.
  bool NeedsInterrupt();
  // Asks the driver not to notify while the device is busy with the queue; a hint.
  void DisableNotifications();
  // Asks for notifications again, of what comes after the `seen` chains that were looked at and not taken (by
  // Unpop). True when more have come in the meantime: they must be looked at, because the driver will not
  // notify for them.
  bool EnableNotifications(uint16_t seen = 0);

  uint16_t size() const { return config_.size; }
  // Index of the next chain to pop and the next used slot, for snapshots and tests.
  uint16_t next_available() const { return next_available_; }
  uint16_t next_used() const { return next_used_; }

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  };
  static_assert(sizeof(Descriptor) == 16);

  SplitQueue(const GuestMemory& memory, const QueueConfig& config) : memory_(&memory), config_(config) {}
  uint16_t Load(std::span<uint8_t> ring, uint64_t offset) const;
  void Store(std::span<uint8_t> ring, uint64_t offset, uint16_t value) const;
  Descriptor LoadDescriptor(uint16_t index) const;
  Status Walk(uint16_t head, DescriptorChain& chain);
  Status WalkIndirect(const Descriptor& table, uint32_t used_up, DescriptorChain& chain);
  Status AddBuffer(const Descriptor& descriptor, DescriptorChain& chain) const;

  const GuestMemory* memory_;
  QueueConfig config_;
  std::span<uint8_t> descriptors_;
  std::span<uint8_t> available_;
  std::span<uint8_t> used_;
  std::vector<Descriptor> table_;  // copy of an indirect table, kept for its memory
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;
  uint16_t signalled_used_ = 0;  // next_used_ when NeedsInterrupt was last asked
};

}  // namespace berth::vmm
