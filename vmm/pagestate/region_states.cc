#include "vmm/pagestate/region_states.h"

#include "common/status.h"

namespace berth::vmm {

StateChange AllTo(PageState state) {
  return {state, state, state, state};
}

StateChange OnlyFrom(PageState from, PageState to) {
  StateChange change = {PageState::kPrivate, PageState::kShared, PageState::kUnplugged,
                        PageState::kConverting};
  change[static_cast<size_t>(from)] = to;
  return change;
}

RegionStates::RegionStates(ChunkPool& pool, uint64_t pages, PageState initial)
    : pool_(&pool), pages_(pages), blocks_((pages + kPagesPerBlock - 1) / kPagesPerBlock) {
  for (BlockEntry& entry : blocks_) entry.state = initial;
  counts_[static_cast<size_t>(initial)] = pages;
}

PageState RegionStates::At(uint64_t page) const {
  const BlockEntry& entry = blocks_[page / kPagesPerBlock];
  if (entry.block == nullptr) return entry.state;
  const Entry chunk = entry.block->chunks[page / kPagesPerChunk % kChunksPerBlock];
  if ((chunk & kSlotFlag) == 0) return static_cast<PageState>(chunk);
  return StateInSlot(pool_->Bytes(chunk & ~kSlotFlag), static_cast<uint32_t>(page % kPagesPerChunk));
}

uint64_t RegionStates::Leading(uint64_t first, uint64_t last, PageState state) const {
  uint64_t page = first;
  while (page < last) {
    const BlockEntry& entry = blocks_[page / kPagesPerBlock];
    if (entry.block == nullptr) {
      if (entry.state != state) break;
      page = BlockEnd(page);
      continue;
    }
    const Entry chunk = entry.block->chunks[page / kPagesPerChunk % kChunksPerBlock];
    if ((chunk & kSlotFlag) == 0) {
      if (static_cast<PageState>(chunk) != state) break;
      page = ChunkEnd(page);
      continue;
    }
    const ChunkPool& pool = *pool_;
    const std::span<const uint8_t> slot = pool.Bytes(chunk & ~kSlotFlag);
    const uint64_t end = std::min(last, ChunkEnd(page));
    while (page < end && StateInSlot(slot, static_cast<uint32_t>(page % kPagesPerChunk)) == state) ++page;
    if (page < end) break;
  }
  return std::min(page, last) - first;
}

ChunkRuns RegionStates::Runs(Entry entry, uint32_t pages) const {
  if ((entry & kSlotFlag) == 0) return {pages, static_cast<PageState>(entry)};
  const ChunkPool& pool = *pool_;
  return {pages, pool.Bytes(entry & ~kSlotFlag)};
}

RegionStates::Block& RegionStates::Open(BlockEntry& entry, uint64_t block_pages) {
  if (entry.block == nullptr) {
    entry.block = std::make_unique<Block>();
    entry.block->chunks.fill(static_cast<Entry>(entry.state));
    entry.block->counts[static_cast<size_t>(entry.state)] = static_cast<uint32_t>(block_pages);
  }
  return *entry.block;
}

void RegionStates::StoreChunk(Entry& entry, const ChunkRuns& runs) {
  if (runs.count() == 1) {
    if ((entry & kSlotFlag) != 0) pool_->Free(entry & ~kSlotFlag);
    entry = static_cast<Entry>(runs.state(0));
    return;
  }
  const int slot_class = runs.SlotClass();
  const bool fits =
      (entry & kSlotFlag) != 0 && pool_->Bytes(entry & ~kSlotFlag).size() == ChunkPool::SlotBytes(slot_class);
  if (!fits) {
    // Freed first: so there is never a block more than chunks that need one.
    if ((entry & kSlotFlag) != 0) pool_->Free(entry & ~kSlotFlag);
    entry = kSlotFlag | pool_->Take(slot_class);
  }
  runs.Store(pool_->Bytes(entry & ~kSlotFlag));
}

void RegionStates::Account(uint64_t count, PageState before, PageState after, Block* block) {
  counts_[static_cast<size_t>(before)] -= count;
  counts_[static_cast<size_t>(after)] += count;
  if (block == nullptr) return;
  block->counts[static_cast<size_t>(before)] -= static_cast<uint32_t>(count);
  block->counts[static_cast<size_t>(after)] += static_cast<uint32_t>(count);
}

uint64_t RegionStates::memory_bytes() const {
  uint64_t bytes = blocks_.capacity() * sizeof(BlockEntry);
  for (const BlockEntry& entry : blocks_) bytes += entry.block == nullptr ? 0 : sizeof(Block);
  return bytes;
}

}  // namespace berth::vmm
