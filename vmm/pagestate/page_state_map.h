#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"
#include "vmm/pagestate/page_state.h"
#include "vmm/pagestate/region_states.h"

namespace berth::vmm {

// A piece of guest RAM, or of room for it, whose pages have states. Whole pages.
struct StateRegion {
  uint64_t base = 0;  // guest-physical
  uint64_t size = 0;
  std::optional<uint32_t> host_node{};  // where its memory lies
  PageState initial = PageState::kPrivate;

  uint64_t end() const { return base + size; }
  friend bool operator==(const StateRegion&, const StateRegion&) = default;
};

// What a change has replaced: pieces with the states that they had.
using StateJournal = std::vector<StateRun>;

// On which side each page of the guest is. The truth about it: the kernel's attributes, what devices may
// reach and where memory is follow from it, and the kernel has no call that reads its attributes back.
//
// Memory: 16 bytes per GiB that is all alike, else 2 KiB and for each chunk of 2 MiB that is not alike 18 to
// 138 bytes by how often its pages alternate; at most 72 KiB per GiB whatever the guest does.
// Thread-compatible. Ranges are whole pages and do not wrap; parts of them outside of all regions are left
// out.
class PageStateMap {
 public:
  // kInvalidArgument: no whole pages, overlaps, ends above 2^52.
  static Result<PageStateMap> Create(std::vector<StateRegion> regions);
  // From what Serialize gave. Every other input is kInvalidArgument.
  static Result<PageStateMap> Parse(std::span<const uint8_t> bytes);
  // kFailedPrecondition while a page is being converted.
  Result<std::vector<uint8_t>> Serialize() const;

  const std::vector<StateRegion>& regions() const { return regions_; }  // by address
  // The region that holds the address.
  const StateRegion* RegionAt(uint64_t gpa) const;
  std::optional<PageState> At(uint64_t gpa) const;
  // How many bytes from `gpa` (any address) on, at most `size` and within one region, are in `state`.
  uint64_t BytesIn(PageState state, uint64_t gpa, uint64_t size) const;

  // Calls visit(StateRun) for each run, as long as it can be within a region, by address.
  template <class Visit>
  void ForEach(uint64_t base, uint64_t size, Visit visit) const;
  std::vector<StateRun> Runs(uint64_t base, uint64_t size) const;
  // Runs of one state.
  std::vector<StateRun> RunsIn(PageState state, uint64_t base, uint64_t size) const;

  // Each gives what it has changed.
  StateJournal Set(uint64_t base, uint64_t size, PageState state) {
    return Transform(base, size, AllTo(state));
  }
  // Only pages in `from`.
  StateJournal Replace(uint64_t base, uint64_t size, PageState from, PageState to) {
    return Transform(base, size, OnlyFrom(from, to));
  }
  // Takes a change back.
  void Restore(const StateJournal& journal);

  // Bytes in a state: of all, of a region (by its place in regions()), of the regions on a host node. Kept,
  // not counted.
  uint64_t Bytes(PageState state) const;
  uint64_t RegionBytes(size_t region, PageState state) const;
  uint64_t NodeBytes(uint32_t host_node, PageState state) const;

  uint64_t memory_bytes() const;

 private:
  PageStateMap() : pool_(std::make_unique<ChunkPool>()) {}
  // The first region that ends behind `gpa`.
  size_t FirstBehind(uint64_t gpa) const;
  StateJournal Transform(uint64_t base, uint64_t size, const StateChange& change);

  std::unique_ptr<ChunkPool> pool_;  // apart, so that the map can be moved
  std::vector<StateRegion> regions_;
  std::vector<RegionStates> states_;  // of the same place in regions_
};

template <class Visit>
void PageStateMap::ForEach(uint64_t base, uint64_t size, Visit visit) const {
  const uint64_t end = base + size;
  for (size_t i = FirstBehind(base); i < regions_.size() && regions_[i].base < end; ++i) {
    const StateRegion& region = regions_[i];
    const uint64_t first = (std::max(base, region.base) - region.base) / kStatePage;
    const uint64_t last = (std::min(end, region.end()) - region.base) / kStatePage;
    states_[i].ForEach(first, last, [&](uint64_t from, uint64_t to, PageState state) {
      visit(StateRun{region.base + from * kStatePage, (to - from) * kStatePage, state});
    });
  }
}

}  // namespace berth::vmm
