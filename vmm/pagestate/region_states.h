#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/pagestate/chunk_pool.h"
#include "vmm/pagestate/chunk_runs.h"
#include "vmm/pagestate/page_state.h"

namespace berth::vmm {

// What becomes of a page in each state.
using StateChange = std::array<PageState, kPageStates>;
// Whatever it was.
StateChange AllTo(PageState state);
// Only pages in `from`; the others stay.
StateChange OnlyFrom(PageState from, PageState to);

using PageCounts = std::array<uint64_t, kPageStates>;

// The states of one region's pages, numbered from 0: a tree of fixed depth like a page table's, in which
// whatever is all alike takes one word: a GiB, or a chunk of 2 MiB in a GiB that is not. A chunk that is not
// alike has a slot of `pool`. Thread-compatible. `pool` outlives it.
class RegionStates {
 public:
  RegionStates(ChunkPool& pool, uint64_t pages, PageState initial);
  RegionStates(RegionStates&&) = default;

  uint64_t pages() const { return pages_; }
  const PageCounts& counts() const { return counts_; }
  PageState At(uint64_t page) const;
  // How many pages from `first` on, at most up to `last`, are in `state`.
  uint64_t Leading(uint64_t first, uint64_t last, PageState state) const;

  // Calls visit(first, last, state) for the runs in [first, last), each as long as it can be.
  template <class Visit>
  void ForEach(uint64_t first, uint64_t last, Visit visit) const {
    Joined joined{visit};
    Walk(first, last, [&](uint64_t from, uint64_t to, PageState state) { joined.Add(from, to, state); });
    joined.Flush();
  }
  // Calls changed(first, last, old state) for each run whose state has changed, as long as it can be.
  template <class Changed>
  void Transform(uint64_t first, uint64_t last, const StateChange& to, Changed changed) {
    Joined joined{changed};
    Change(first, last, to,
           [&](uint64_t from, uint64_t till, PageState old) { joined.Add(from, till, old); });
    joined.Flush();
  }

  // Bytes of heap without the pool's.
  uint64_t memory_bytes() const;

 private:
  static constexpr uint32_t kChunksPerBlock = kStateBlock / kStateChunk;
  static constexpr uint64_t kPagesPerBlock = kStateBlock / kStatePage;

  // A chunk: a state, or kSlotFlag | a slot of the pool.
  using Entry = uint32_t;
  static constexpr Entry kSlotFlag = 1U << 31;
  struct Block {
    std::array<Entry, kChunksPerBlock> chunks;
    std::array<uint32_t, kPageStates> counts{};  // pages in each state
  };
  struct BlockEntry {
    std::unique_ptr<Block> block;  // none: all of it is in `state`
    PageState state = PageState::kPrivate;
  };

  template <class Visit>
  struct Joined {
    Visit& visit;
    uint64_t first = 0;
    uint64_t last = 0;
    PageState state = PageState::kPrivate;

    void Add(uint64_t from, uint64_t to, PageState next) {
      if (first < last && last == from && state == next) {
        last = to;
        return;
      }
      Flush();
      first = from;
      last = to;
      state = next;
    }
    void Flush() {
      if (first < last) visit(first, last, state);
      first = last = 0;
    }
  };
  template <class Visit>
  Joined(Visit&) -> Joined<Visit>;

  uint64_t BlockEnd(uint64_t page) const {
    return std::min(pages_, (page / kPagesPerBlock + 1) * kPagesPerBlock);
  }
  uint64_t ChunkEnd(uint64_t page) const {
    return std::min(pages_, (page / kPagesPerChunk + 1) * kPagesPerChunk);
  }
  uint32_t ChunkPages(uint64_t page) const {
    return static_cast<uint32_t>(ChunkEnd(page) - page / kPagesPerChunk * kPagesPerChunk);
  }
  ChunkRuns Runs(Entry entry, uint32_t pages) const;
  // Gives the block a table of its own.
  Block& Open(BlockEntry& entry, uint64_t block_pages);
  // Replaces a chunk's content; frees or takes a slot as needed.
  void StoreChunk(Entry& entry, const ChunkRuns& runs);
  void Account(uint64_t count, PageState before, PageState after, Block* block);

  template <class Visit>
  void Walk(uint64_t first, uint64_t last, Visit visit) const;
  template <class Changed>
  void Change(uint64_t first, uint64_t last, const StateChange& to, Changed changed);

  ChunkPool* pool_;
  uint64_t pages_;
  std::vector<BlockEntry> blocks_;
  PageCounts counts_{};
};

template <class Visit>
void RegionStates::Walk(uint64_t first, uint64_t last, Visit visit) const {
  for (uint64_t page = first; page < last;) {
    const BlockEntry& entry = blocks_[page / kPagesPerBlock];
    const uint64_t block_end = std::min(last, BlockEnd(page));
    if (entry.block == nullptr) {
      visit(page, block_end, entry.state);
      page = block_end;
      continue;
    }
    while (page < block_end) {
      const Entry chunk = entry.block->chunks[page / kPagesPerChunk % kChunksPerBlock];
      const uint64_t chunk_end = std::min(last, ChunkEnd(page));
      if ((chunk & kSlotFlag) == 0) {
        visit(page, chunk_end, static_cast<PageState>(chunk));
      } else {
        const ChunkRuns runs = Runs(chunk, ChunkPages(page));
        const uint64_t base = page / kPagesPerChunk * kPagesPerChunk;
        for (uint32_t i = 0; i < runs.count(); ++i) {
          const uint64_t from = std::max(page, base + runs.begin(i));
          const uint64_t to = std::min(chunk_end, base + runs.end(i));
          if (from < to) visit(from, to, runs.state(i));
        }
      }
      page = chunk_end;
    }
  }
}

template <class Changed>
void RegionStates::Change(uint64_t first, uint64_t last, const StateChange& to, Changed changed) {
  for (uint64_t page = first; page < last;) {
    BlockEntry& entry = blocks_[page / kPagesPerBlock];
    const uint64_t block_begin = page / kPagesPerBlock * kPagesPerBlock;
    const uint64_t block_end = BlockEnd(page);
    const uint64_t stop = std::min(last, block_end);
    if (entry.block == nullptr) {
      const PageState after = to[static_cast<size_t>(entry.state)];
      if (after == entry.state || (page == block_begin && stop == block_end)) {
        if (after != entry.state) {
          changed(page, stop, entry.state);
          Account(stop - page, entry.state, after, nullptr);
          entry.state = after;
        }
        page = stop;
        continue;
      }
    }
    Block& block = Open(entry, block_end - block_begin);
    while (page < stop) {
      Entry& chunk = block.chunks[page / kPagesPerChunk % kChunksPerBlock];
      const uint64_t chunk_begin = page / kPagesPerChunk * kPagesPerChunk;
      const uint64_t chunk_stop = std::min(stop, ChunkEnd(page));
      const uint32_t chunk_pages = ChunkPages(page);
      auto account = [&](uint64_t from, uint64_t till, PageState before) {
        changed(from, till, before);
        Account(till - from, before, to[static_cast<size_t>(before)], &block);
      };
      if ((chunk & kSlotFlag) == 0 && chunk_stop - page == chunk_pages) {
        const auto before = static_cast<PageState>(chunk);
        const PageState after = to[static_cast<size_t>(before)];
        if (before != after) account(page, chunk_stop, before);
        chunk = static_cast<Entry>(after);
      } else if ((chunk & kSlotFlag) != 0 && IsDense(pool_->Bytes(chunk & ~kSlotFlag))) {
        const std::span<uint8_t> slot = pool_->Bytes(chunk & ~kSlotFlag);
        for (uint64_t p = page; p < chunk_stop; ++p) {
          const auto i = static_cast<uint32_t>(p - chunk_begin);
          const PageState before = StateInSlot(slot, i);
          const PageState after = to[static_cast<size_t>(before)];
          if (before == after) continue;
          SetInDense(slot, i, after);
          account(p, p + 1, before);
        }
        if (RunsInDense(slot, chunk_pages) <= kMaxListedRuns) StoreChunk(chunk, ChunkRuns(chunk_pages, slot));
      } else {
        ChunkRuns runs = Runs(chunk, chunk_pages);
        bool any = false;
        runs.Transform(static_cast<uint32_t>(page - chunk_begin),
                       static_cast<uint32_t>(chunk_stop - chunk_begin), to,
                       [&](uint32_t from, uint32_t till, PageState before) {
                         any = true;
                         account(chunk_begin + from, chunk_begin + till, before);
                       });
        if (any) StoreChunk(chunk, runs);
      }
      page = chunk_stop;
    }
    for (int s = 0; s < kPageStates; ++s) {
      if (block.counts[static_cast<size_t>(s)] != block_end - block_begin) continue;
      entry.state = static_cast<PageState>(s);
      entry.block.reset();
      break;
    }
  }
}

}  // namespace berth::vmm
