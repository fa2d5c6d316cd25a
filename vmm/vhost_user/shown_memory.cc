#include "vmm/vhost_user/shown_memory.h"

#include <algorithm>
#include <iterator>

namespace berth::vmm::vhost_user {
namespace {

using Ranges = std::map<uint64_t, uint64_t>;

// The first range that ends behind `from`.
Ranges::const_iterator FirstBehind(const Ranges& ranges, uint64_t from) {
  auto at = ranges.upper_bound(from);
  if (at != ranges.begin() && std::prev(at)->second > from) --at;
  return at;
}

void Join(Ranges& ranges, uint64_t from, uint64_t to) {
  auto at = ranges.upper_bound(from);
  if (at != ranges.begin() && std::prev(at)->second >= from) --at;
  while (at != ranges.end() && at->first <= to) {
    from = std::min(from, at->first);
    to = std::max(to, at->second);
    at = ranges.erase(at);
  }
  ranges.emplace(from, to);
}

void Cut(Ranges& ranges, uint64_t from, uint64_t to) {
  for (auto at = FirstBehind(ranges, from); at != ranges.end() && at->first < to;) {
    const auto [first, end] = *at;
    at = ranges.erase(at);
    if (first < from) ranges.emplace(first, from);
    if (end > to) ranges.emplace(to, end);
  }
}

// Calls use(from, to) for what of [from, to) is in no range; `widen` gives the range as it counts.
template <class Widen, class Use>
void ForEachGap(const Ranges& ranges, uint64_t from, uint64_t to, Widen widen, Use use) {
  for (auto at = FirstBehind(ranges, from); at != ranges.end() && at->first < to && from < to; ++at) {
    const auto [first, end] = widen(at->first, at->second);
    if (first > from) use(from, first);
    from = std::max(from, end);
  }
  if (from < to) use(from, to);
}

// The whole pages of the region's backing that hold [from, to).
std::pair<uint64_t, uint64_t> WholePages(const MemoryRegion& region, uint64_t from, uint64_t to) {
  const uint64_t base = Raw(region.base);
  const uint64_t page = region.page_size;
  const uint64_t first = (from - base) / page * page;
  const uint64_t last = (to - 1 - base) / page * page;
  return {base + first, std::min(base + last + page, base + region.size)};
}

}  // namespace

ShownMemory::ShownMemory(const GuestMemory& memory) : regions_(memory.regions()) {
  regions_.insert(regions_.end(), memory.hotplug_areas().begin(), memory.hotplug_areas().end());
  std::sort(regions_.begin(), regions_.end(),
            [](const MemoryRegion& a, const MemoryRegion& b) { return Raw(a.base) < Raw(b.base); });
}

template <class Use>
void ShownMemory::ForEachPart(std::span<const StateRun> runs, Use use) const {
  for (const StateRun& run : runs) {
    for (const MemoryRegion& region : regions_) {
      const uint64_t from = std::max(run.base, Raw(region.base));
      const uint64_t to = std::min(run.end(), Raw(region.base) + region.size);
      if (from < to) use(region, from, to);
    }
  }
}

void ShownMemory::Show(std::span<const StateRun> runs) {
  const auto as_it_is = [](uint64_t from, uint64_t to) { return std::pair(from, to); };
  ForEachPart(runs, [&](const MemoryRegion& region, uint64_t from, uint64_t to) {
    vhost_user::Join(shared_, from, to);
    const auto [first, end] = WholePages(region, from, to);
    Ranges fresh;
    ForEachGap(pieces_, first, end, as_it_is, [&](uint64_t a, uint64_t b) { fresh.emplace(a, b); });
    pieces_.merge(fresh);
  });
}

void ShownMemory::Hide(std::span<const StateRun> runs) {
  ForEachPart(runs, [&](const MemoryRegion& region, uint64_t from, uint64_t to) {
    Cut(shared_, from, to);
    const auto [first, end] = WholePages(region, from, to);
    // Within the region: what is shared next to it may belong to another backing.
    const auto widen = [&region](uint64_t a, uint64_t b) {
      const uint64_t base = Raw(region.base);
      return WholePages(region, std::max(a, base), std::min(b, base + region.size));
    };
    ForEachGap(shared_, first, end, widen, [&](uint64_t a, uint64_t b) { Cut(pieces_, a, b); });
  });
}

void ShownMemory::Join() {
  Ranges joined;
  for (const MemoryRegion& region : regions_) {
    Ranges own;
    const uint64_t end = Raw(region.base) + region.size;
    for (auto at = pieces_.lower_bound(Raw(region.base)); at != pieces_.end() && at->first < end; ++at) {
      vhost_user::Join(own, at->first, at->second);
    }
    joined.merge(own);
  }
  pieces_ = std::move(joined);
}

std::vector<ShownMemory::Piece> ShownMemory::Pieces() const {
  std::vector<Piece> pieces;
  pieces.reserve(pieces_.size());
  for (const auto& [from, to] : pieces_) pieces.push_back({from, to - from});
  return pieces;
}

MemoryRegion ShownMemory::At(const Piece& piece) const {
  const auto region = std::find_if(regions_.begin(), regions_.end(), [&](const MemoryRegion& one) {
    return piece.base >= Raw(one.base) && piece.base - Raw(one.base) < one.size;
  });
  CHECK(region != regions_.end());
  return region->Part(piece.base - Raw(region->base), piece.size);
}

ShownMemory::Changes ShownMemory::Between(const ShownMemory& before, const ShownMemory& after) {
  const std::vector<Piece> old = before.Pieces();
  const std::vector<Piece> now = after.Pieces();
  Changes changes;
  std::set_difference(old.begin(), old.end(), now.begin(), now.end(), std::back_inserter(changes.removed));
  std::set_difference(now.begin(), now.end(), old.begin(), old.end(), std::back_inserter(changes.added));
  return changes;
}

}  // namespace berth::vmm::vhost_user
