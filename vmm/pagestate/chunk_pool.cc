#include "vmm/pagestate/chunk_pool.h"

#include <bit>

#include "common/status.h"

namespace berth::vmm {
namespace {

constexpr uint32_t SlotsOf(int slot_class) {
  return 8U >> slot_class;
}
constexpr uint8_t FullMask(int slot_class) {
  return static_cast<uint8_t>((1U << SlotsOf(slot_class)) - 1);
}

}  // namespace

void ChunkPool::Grow() {
  const auto first = static_cast<uint32_t>(slabs_.size()) * kBlocksPerSlab;
  CHECK(first + kBlocksPerSlab <= kMaxSlot / kSlotsPerBlock);
  slabs_.push_back(std::make_unique<Slab>());
  for (uint32_t i = kBlocksPerSlab; i-- > 0;) {
    slabs_.back()->used[i] = 0;
    slabs_.back()->next[i] = free_;
    free_ = first + i;
  }
}

void ChunkPool::Link(uint32_t block, int slot_class) {
  Slab& slab = SlabOf(block);
  const uint32_t i = block % kBlocksPerSlab;
  uint32_t& head = partial_[static_cast<size_t>(slot_class)];
  slab.previous[i] = kNone;
  slab.next[i] = head;
  if (head != kNone) SlabOf(head).previous[head % kBlocksPerSlab] = block;
  head = block;
}

void ChunkPool::Unlink(uint32_t block, int slot_class) {
  const Slab& slab = SlabOf(block);
  const uint32_t next = slab.next[block % kBlocksPerSlab];
  const uint32_t previous = slab.previous[block % kBlocksPerSlab];
  if (next != kNone) SlabOf(next).previous[next % kBlocksPerSlab] = previous;
  if (previous != kNone) {
    SlabOf(previous).next[previous % kBlocksPerSlab] = next;
  } else {
    partial_[static_cast<size_t>(slot_class)] = next;
  }
}

uint32_t ChunkPool::Take(int slot_class) {
  CHECK(slot_class >= 0 && slot_class < kClasses);
  uint32_t block = partial_[static_cast<size_t>(slot_class)];
  if (block == kNone) {
    if (free_ == kNone) Grow();
    block = free_;
    free_ = SlabOf(block).next[block % kBlocksPerSlab];
    ++in_use_;
    SlabOf(block).slot_class[block % kBlocksPerSlab] = static_cast<uint8_t>(slot_class);
    if (SlotsOf(slot_class) > 1) Link(block, slot_class);
  }
  uint8_t& used = SlabOf(block).used[block % kBlocksPerSlab];
  const auto slot = static_cast<uint32_t>(std::countr_one(used));
  used = static_cast<uint8_t>(used | 1U << slot);
  if (used == FullMask(slot_class) && SlotsOf(slot_class) > 1) Unlink(block, slot_class);
  return block * kSlotsPerBlock + slot;
}

void ChunkPool::Free(uint32_t slot) {
  const uint32_t block = slot / kSlotsPerBlock;
  Slab& slab = SlabOf(block);
  const uint32_t i = block % kBlocksPerSlab;
  const int slot_class = slab.slot_class[i];
  const uint8_t bit = static_cast<uint8_t>(1U << slot % kSlotsPerBlock);
  CHECK((slab.used[i] & bit) != 0);
  const bool was_full = slab.used[i] == FullMask(slot_class);
  slab.used[i] = static_cast<uint8_t>(slab.used[i] & ~bit);
  if (slab.used[i] == 0) {
    if (!was_full) Unlink(block, slot_class);
    slab.next[i] = free_;
    free_ = block;
    --in_use_;
  } else if (was_full) {
    Link(block, slot_class);
  }
}

std::span<uint8_t> ChunkPool::Bytes(uint32_t slot) {
  Slab& slab = SlabOf(slot / kSlotsPerBlock);
  const uint32_t i = slot / kSlotsPerBlock % kBlocksPerSlab;
  const uint32_t size = SlotBytes(slab.slot_class[i]);
  return std::span(slab.bytes[i]).subspan(size_t{slot % kSlotsPerBlock} * size, size);
}

std::span<const uint8_t> ChunkPool::Bytes(uint32_t slot) const {
  const Slab& slab = SlabOf(slot / kSlotsPerBlock);
  const uint32_t i = slot / kSlotsPerBlock % kBlocksPerSlab;
  const uint32_t size = SlotBytes(slab.slot_class[i]);
  return std::span(slab.bytes[i]).subspan(size_t{slot % kSlotsPerBlock} * size, size);
}

uint64_t ChunkPool::memory_bytes() const {
  return slabs_.size() * sizeof(Slab) + slabs_.capacity() * sizeof(slabs_[0]);
}

}  // namespace berth::vmm
