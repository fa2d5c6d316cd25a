#include "vmm/pagestate/page_state_map.h"

#include <cstdio>
#include <string>
#include <utility>

namespace berth::vmm {
namespace {

constexpr uint64_t kAddressEnd = uint64_t{1} << 52;

std::string Text(const StateRegion& region) {
  char text[64];
  std::snprintf(text, sizeof text, "%#llx+%#llx", static_cast<unsigned long long>(region.base),
                static_cast<unsigned long long>(region.size));
  return text;
}

}  // namespace

std::string_view PageStateName(PageState state) {
  switch (state) {
    case PageState::kPrivate:
      return "private";
    case PageState::kShared:
      return "shared";
    case PageState::kUnplugged:
      return "unplugged";
    case PageState::kConverting:
      return "converting";
  }
  return "unknown";
}

Result<PageStateMap> PageStateMap::Create(std::vector<StateRegion> regions) {
  std::sort(regions.begin(), regions.end(),
            [](const StateRegion& a, const StateRegion& b) { return a.base < b.base; });
  uint64_t end = 0;
  for (const StateRegion& region : regions) {
    if (region.size == 0 || (region.base | region.size) % kStatePage != 0) {
      return InvalidArgument("region " + Text(region) + " is not one or more whole pages");
    }
    if (region.base < end) return InvalidArgument("region " + Text(region) + " overlaps the one before it");
    if (region.base > kAddressEnd || region.size > kAddressEnd - region.base) {
      return InvalidArgument("region " + Text(region) + " ends above 2^52");
    }
    end = region.end();
  }
  PageStateMap map;
  map.states_.reserve(regions.size());
  for (const StateRegion& region : regions) {
    map.states_.emplace_back(*map.pool_, region.size / kStatePage, region.initial);
  }
  map.regions_ = std::move(regions);
  return map;
}

size_t PageStateMap::FirstBehind(uint64_t gpa) const {
  auto it =
      std::upper_bound(regions_.begin(), regions_.end(), gpa,
                       [](uint64_t address, const StateRegion& region) { return address < region.end(); });
  return static_cast<size_t>(it - regions_.begin());
}

const StateRegion* PageStateMap::RegionAt(uint64_t gpa) const {
  const size_t i = FirstBehind(gpa);
  return i < regions_.size() && regions_[i].base <= gpa ? &regions_[i] : nullptr;
}

std::optional<PageState> PageStateMap::At(uint64_t gpa) const {
  const size_t i = FirstBehind(gpa);
  if (i == regions_.size() || regions_[i].base > gpa) return std::nullopt;
  return states_[i].At((gpa - regions_[i].base) / kStatePage);
}

uint64_t PageStateMap::BytesIn(PageState state, uint64_t gpa, uint64_t size) const {
  const size_t i = FirstBehind(gpa);
  if (i == regions_.size() || regions_[i].base > gpa) return 0;
  const StateRegion& region = regions_[i];
  const uint64_t room = std::min(size, region.end() - gpa);
  if (room == 0) return 0;
  const uint64_t first = (gpa - region.base) / kStatePage;
  const uint64_t last = (gpa - region.base + room - 1) / kStatePage + 1;
  // Nearly every question is about a few bytes of one page.
  if (last - first == 1) return states_[i].At(first) == state ? room : 0;
  const uint64_t pages = states_[i].Leading(first, last, state);
  return pages == 0 ? 0 : std::min(room, pages * kStatePage - gpa % kStatePage);
}

std::vector<StateRun> PageStateMap::Runs(uint64_t base, uint64_t size) const {
  std::vector<StateRun> runs;
  ForEach(base, size, [&runs](const StateRun& run) { runs.push_back(run); });
  return runs;
}

std::vector<StateRun> PageStateMap::RunsIn(PageState state, uint64_t base, uint64_t size) const {
  std::vector<StateRun> runs;
  ForEach(base, size, [&](const StateRun& run) {
    if (run.state == state) runs.push_back(run);
  });
  return runs;
}

StateJournal PageStateMap::Transform(uint64_t base, uint64_t size, const StateChange& change) {
  StateJournal journal;
  const uint64_t end = base + size;
  for (size_t i = FirstBehind(base); i < regions_.size() && regions_[i].base < end; ++i) {
    const StateRegion& region = regions_[i];
    const uint64_t first = (std::max(base, region.base) - region.base) / kStatePage;
    const uint64_t last = (std::min(end, region.end()) - region.base) / kStatePage;
    states_[i].Transform(first, last, change, [&](uint64_t from, uint64_t to, PageState old) {
      journal.push_back({region.base + from * kStatePage, (to - from) * kStatePage, old});
    });
  }
  return journal;
}

void PageStateMap::Restore(const StateJournal& journal) {
  for (const StateRun& run : journal) Set(run.base, run.size, run.state);
}

uint64_t PageStateMap::Bytes(PageState state) const {
  uint64_t pages = 0;
  for (const RegionStates& states : states_) pages += states.counts()[static_cast<size_t>(state)];
  return pages * kStatePage;
}

uint64_t PageStateMap::RegionBytes(size_t region, PageState state) const {
  return states_[region].counts()[static_cast<size_t>(state)] * kStatePage;
}

uint64_t PageStateMap::NodeBytes(uint32_t host_node, PageState state) const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < regions_.size(); ++i) {
    if (regions_[i].host_node == host_node) bytes += RegionBytes(i, state);
  }
  return bytes;
}

uint64_t PageStateMap::memory_bytes() const {
  uint64_t bytes = sizeof *this + sizeof *pool_ + pool_->memory_bytes();
  bytes += regions_.capacity() * sizeof(StateRegion) + states_.capacity() * sizeof(RegionStates);
  for (const RegionStates& states : states_) bytes += states.memory_bytes();
  return bytes;
}

}  // namespace berth::vmm
