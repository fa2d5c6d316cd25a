#include <array>
#include <cstring>
#include <string>

#include "vmm/pagestate/page_state_map.h"

// The serialised form, little-endian: "BPS1", the number of regions (4 bytes); for each region its base and
// size (8 bytes each), host node (4 bytes, all ones for none), number of runs (8 bytes) and the runs, each as
// pages << 2 | state in 7-bit groups, the lowest first, with bit 7 set in all but the last. Runs are as long
// as they can be: one map has one form.
namespace berth::vmm {
namespace {

constexpr std::array<uint8_t, 4> kMagic = {'B', 'P', 'S', '1'};
constexpr uint32_t kNoNode = UINT32_MAX;
constexpr uint32_t kMaxRegions = 65536;
// The most that a guest can have (x86-64's widest physical address is far beyond any host).
constexpr uint64_t kMaxBytes = uint64_t{1} << 46;

void Put(std::vector<uint8_t>& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> i * 8));
}

void PutRun(std::vector<uint8_t>& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<uint8_t>(value));
}

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  Result<uint64_t> Take(size_t count) {
    if (bytes_.size() - at_ < count) return CutShort();
    uint64_t value = 0;
    for (size_t i = 0; i < count; ++i) value |= static_cast<uint64_t>(bytes_[at_++]) << i * 8;
    return value;
  }
  Result<uint64_t> TakeRun() {
    uint64_t value = 0;
    for (int shift = 0; shift < 63; shift += 7) {
      if (at_ == bytes_.size()) return CutShort();
      const uint8_t byte = bytes_[at_++];
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return InvalidArgument("page states: a run's length at byte " + std::to_string(at_) +
                           " has more than 63 bits");
  }
  size_t left() const { return bytes_.size() - at_; }

 private:
  Status CutShort() const {
    return InvalidArgument("page states: cut short at byte " + std::to_string(bytes_.size()));
  }

  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

}  // namespace

Result<std::vector<uint8_t>> PageStateMap::Serialize() const {
  if (const uint64_t bytes = Bytes(PageState::kConverting); bytes > 0) {
    return FailedPrecondition(std::to_string(bytes) + " bytes of the guest are being converted");
  }
  std::vector<uint8_t> out(kMagic.begin(), kMagic.end());
  Put(out, regions_.size(), 4);
  for (const StateRegion& region : regions_) {
    const std::vector<StateRun> runs = Runs(region.base, region.size);
    Put(out, region.base, 8);
    Put(out, region.size, 8);
    Put(out, region.host_node.value_or(kNoNode), 4);
    Put(out, runs.size(), 8);
    for (const StateRun& run : runs)
      PutRun(out, run.size / kStatePage << 2 | static_cast<uint64_t>(run.state));
  }
  return out;
}

Result<PageStateMap> PageStateMap::Parse(std::span<const uint8_t> bytes) {
  Reader reader(bytes);
  TRY_ASSIGN(const uint64_t magic, reader.Take(kMagic.size()));
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return InvalidArgument("page states: begin with " + std::to_string(magic) + ", not with BPS1");
  }
  TRY_ASSIGN(const uint64_t count, reader.Take(4));
  if (count > kMaxRegions) {
    return InvalidArgument("page states: " + std::to_string(count) + " regions, at most " +
                           std::to_string(kMaxRegions));
  }
  std::vector<StateRegion> regions;
  std::vector<StateRun> changes;  // what differs from its region's initial state
  uint64_t total = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string name = "page states: region " + std::to_string(i);
    StateRegion region;
    TRY_ASSIGN(region.base, reader.Take(8));
    TRY_ASSIGN(region.size, reader.Take(8));
    TRY_ASSIGN(const uint64_t node, reader.Take(4));
    if (node != kNoNode) region.host_node = static_cast<uint32_t>(node);
    TRY_ASSIGN(const uint64_t runs, reader.Take(8));
    if (region.size > kMaxBytes - total) return InvalidArgument(name + ": more than 64 TiB in all");
    if (region.base > UINT64_MAX - region.size) return InvalidArgument(name + ": wraps");
    total += region.size;
    if (runs > reader.left()) return InvalidArgument(name + ": has more runs than bytes are left");
    uint64_t at = 0;
    for (uint64_t r = 0; r < runs; ++r) {
      TRY_ASSIGN(const uint64_t run, reader.TakeRun());
      const uint64_t pages = run >> 2;
      const auto state = static_cast<PageState>(run & 3);
      if (pages == 0 || pages > (region.size - at) / kStatePage) {
        return InvalidArgument(name + ": run " + std::to_string(r) + " is empty or longer than the region");
      }
      if (state == PageState::kConverting) return InvalidArgument(name + ": a page is being converted");
      if (r == 0) region.initial = state;
      if (r > 0 && changes.back().state == state) {
        return InvalidArgument(name + ": run " + std::to_string(r) + " is the same state as the one before");
      }
      changes.push_back({region.base + at, pages * kStatePage, state});
      at += pages * kStatePage;
    }
    if (at != region.size) return InvalidArgument(name + ": the runs do not fill it");
    regions.push_back(region);
  }
  if (reader.left() > 0)
    return InvalidArgument("page states: " + std::to_string(reader.left()) + " bytes too many");
  TRY_ASSIGN(PageStateMap map, Create(std::move(regions)));
  map.Restore(changes);
  return map;
}

}  // namespace berth::vmm
