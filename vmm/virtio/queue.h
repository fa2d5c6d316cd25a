#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/virtio/address_translator.h"

namespace berth::vmm {

// A list of pieces of guest RAM that form one stream of bytes. The guest may change them at any time: copy
// out what is decided upon. Thread-compatible.
class ByteList {
 public:
  void Clear();
  // Ignores an empty piece.
  void Append(std::span<uint8_t> piece);

  uint64_t size() const { return size_; }
  std::span<const std::span<uint8_t>> pieces() const { return pieces_; }
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
  // Guest-physical addresses, or what `translator` translates, as are the addresses in the rings.
  Gpa descriptors{};
  Gpa driver{};                             // available ring
  Gpa device{};                             // used ring
  bool indirect = false;                    // VIRTIO_F_INDIRECT_DESC was negotiated
  bool event_idx = false;                   // VIRTIO_F_EVENT_IDX was negotiated
  AddressTranslator* translator = nullptr;  // outlives the queue; null: not behind an IOMMU
};

// A ring in guest memory: one piece, or behind an IOMMU pages that may lie anywhere. Thread-compatible.
class RingMemory {
 public:
  // `pieces` together are at least `size` bytes, each piece but the first begins and each but the last ends
  // at a page of the ring's address.
  void Set(uint64_t address, std::span<const std::span<uint8_t>> pieces);
  // The bytes from `offset` on, as far as they lie in one page; `offset` is inside of the ring.
  uint8_t* At(uint64_t offset) const {
    if (flat_ != nullptr) return flat_ + offset;
    const uint64_t at = offset + skew_;
    return pages_[at / kPage] + at % kPage;
  }

 private:
  static constexpr uint64_t kPage = 4096;
  uint8_t* flat_ = nullptr;
  uint64_t skew_ = 0;            // of the first byte in its page
  std::vector<uint8_t*> pages_;  // host address of the byte at each page's beginning
};

// The device's side of a split virtqueue (virtio 1.2, 2.7). The rings are written by a guest that is not to
// be trusted: each field is read once, all indices, addresses, lengths and chain lengths are checked, and an
// offence is an error, after which the device must stop using the queue (VIRTIO_CONFIG_S_NEEDS_RESET).
// Thread-compatible: one thread at a time uses a queue. The memory must outlive it.
class SplitQueue {
 public:
  // kInvalidArgument: size or alignment; kOutOfRange: a ring is not in RAM (each must lie in one region); or
  // the translator's errors.
  static Result<SplitQueue> Create(const GuestMemory& memory, const QueueConfig& config);

  // How far a device has come with the rings: what a snapshot keeps of a queue.
  struct Position {
    uint16_t next_available = 0;
    uint16_t next_used = 0;
    uint16_t signalled_used = 0;
    friend bool operator==(const Position&, const Position&) = default;
  };
  Position position() const { return {next_available_, next_used_, signalled_used_}; }
  // Before anything was popped.
  void Seek(const Position& position);

  // Takes the next available chain into `chain` (its old content is dropped, its buffers reused). False when
  // there is none. kInvalidArgument when the guest breaks the rules: a loop or a chain longer than the queue,
  // an index out of range, a readable after a writable descriptor, an empty descriptor, a nested or ragged
  // indirect table, more than 4 GiB; kOutOfRange when a descriptor is not RAM; the translator's errors when
  // the guest has unmapped a ring or a buffer. A confidential guest cannot take the buffers back before Push.
  Result<bool> Pop(DescriptorChain& chain);
  // Undoes the last Pop, whose chain was not used.
  void Unpop();
  // The device has done with all chains that were popped and not pushed, and pushes none of them: their
  // buffers are no longer kept for it.
  void Abandon() { held_.clear(); }
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
  const QueueConfig& config() const { return config_; }
  // Index of the next chain to pop and the next used slot, for tests.
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
  // Finds the rings again when the IOMMU's mappings have changed. False when they are gone: lost_ says why.
  bool Current();
  Status Locate();
  Result<std::vector<std::span<uint8_t>>> Ring(const char* name, Gpa at, uint64_t size, uint64_t alignment,
                                               bool write) const;
  uint16_t Load(const RingMemory& ring, uint64_t offset) const;
  void Store(const RingMemory& ring, uint64_t offset, uint16_t value) const;
  Descriptor LoadDescriptor(uint16_t index) const;
  Status Walk(uint16_t head, DescriptorChain& chain);
  Status CopyTable(uint64_t address, uint32_t length);
  Status WalkIndirect(const Descriptor& table, uint32_t used_up, DescriptorChain& chain);
  Status AddBuffer(const Descriptor& descriptor, DescriptorChain& chain) const;
  void Hold(const DescriptorChain& chain);

  const GuestMemory* memory_;
  QueueConfig config_;
  RingMemory descriptors_;
  RingMemory available_;
  RingMemory used_;
  uint64_t generation_ = 0;  // the translator's when the rings were found
  Status lost_;
  struct Held {
    uint16_t head;
    std::vector<PageHold> buffers;
  };
  std::vector<Held> held_;         // of a confidential guest: chains that are out, in the order of Pop
  std::vector<Descriptor> table_;  // copy of an indirect table, kept for its memory
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;
  uint16_t signalled_used_ = 0;  // next_used_ when NeedsInterrupt was last asked
};

}  // namespace berth::vmm
