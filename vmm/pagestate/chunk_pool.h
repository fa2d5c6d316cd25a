#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace berth::vmm {

// Memory for the states of chunks that are not all alike: slots of 16, 32, 64 or 128 bytes, cut from blocks
// of 128. A block exists only while a slot of it is in use, so there are never more blocks than slots in use:
// whatever order a guest takes and frees them in, a slot costs at most one block. Thread-compatible.
class ChunkPool {
 public:
  static constexpr int kClasses = 4;
  static constexpr uint32_t SlotBytes(int slot_class) { return 16U << slot_class; }

  ChunkPool() = default;
  ChunkPool(ChunkPool&&) = default;
  ChunkPool& operator=(ChunkPool&&) = default;

  // A slot of the class, with undefined content. Below kMaxSlot.
  uint32_t Take(int slot_class);
  void Free(uint32_t slot);
  // The slot's bytes; valid until it is freed.
  std::span<uint8_t> Bytes(uint32_t slot);
  std::span<const uint8_t> Bytes(uint32_t slot) const;

  uint32_t blocks_in_use() const { return in_use_; }
  uint64_t memory_bytes() const;

  static constexpr uint32_t kMaxSlot = 1U << 29;

 private:
  static constexpr uint32_t kBlockBytes = 128;
  static constexpr uint32_t kBlocksPerSlab = 32;
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kSlotsPerBlock = 8;

  struct Slab {
    alignas(8) std::array<std::array<uint8_t, kBlockBytes>, kBlocksPerSlab> bytes;
    std::array<uint32_t, kBlocksPerSlab> next;
    std::array<uint32_t, kBlocksPerSlab> previous;
    std::array<uint8_t, kBlocksPerSlab> used;
    std::array<uint8_t, kBlocksPerSlab> slot_class;
  };

  Slab& SlabOf(uint32_t block) { return *slabs_[block / kBlocksPerSlab]; }
  const Slab& SlabOf(uint32_t block) const { return *slabs_[block / kBlocksPerSlab]; }
  void Grow();
  // The lists hold the blocks of a class that have both a used and a free slot.
  void Link(uint32_t block, int slot_class);
  void Unlink(uint32_t block, int slot_class);

  std::vector<std::unique_ptr<Slab>> slabs_;
  uint32_t free_ = kNone;  // blocks without a used slot
  std::array<uint32_t, kClasses> partial_ = {kNone, kNone, kNone, kNone};
  uint32_t in_use_ = 0;
};

}  // namespace berth::vmm
