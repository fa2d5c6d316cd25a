#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "common/status.h"
#include "vmm/memory/page_visibility.h"
#include "vmm/memory/plug_map.h"

namespace berth::vmm {

// A guest-physical address. A type of its own, so that it is never mixed up with a host pointer.
enum class Gpa : uint64_t {};
constexpr uint64_t Raw(Gpa gpa) {
  return static_cast<uint64_t>(gpa);
}
constexpr Gpa operator+(Gpa gpa, uint64_t offset) {
  return Gpa{Raw(gpa) + offset};
}

// A piece of guest RAM, or of room for it: contiguous in guest-physical and in host-virtual addresses.
struct MemoryRegion {
  // The piece [offset, offset + length) of it, as RAM.
  MemoryRegion Part(uint64_t offset, uint64_t length) const {
    MemoryRegion part = *this;
    part.base = base + offset;
    part.size = length;
    part.host = host + offset;
    part.fd_offset = fd_offset + offset;
    part.plug = nullptr;
    return part;
  }

  Gpa base{};
  uint64_t size = 0;
  uint8_t* host = nullptr;  // mapping, valid as long as the GuestMemory
  int fd = -1;              // backing memfd, -1 for anonymous memory
  uint64_t fd_offset = 0;
  std::string zone;  // id of the zone it belongs to
  std::optional<uint32_t> host_numa_node;
  bool shared = false;         // mapped MAP_SHARED
  uint64_t page_size = 4096;   // of the backing
  bool prefault = false;       // what is plugged gets its pages at once
  bool reserve_space = false;  // of a file with a name: what is plugged gets its room there at once
  // Room that was reserved, and may be somebody else's once it is given back: then the guest's next access
  // would be a SIGBUS.
  bool keeps_pages() const { return page_size > 4096 || (reserve_space && shared); }
  std::shared_ptr<PlugMap> plug{};  // of a hot-plug area: which blocks of it are RAM
};

// The guest's RAM as device models see it. Every access names a guest-physical range and is checked once, as
// a whole; nothing outside guest RAM is ever touched. Guest memory changes under our hands: read a field
// once, into a local. Thread-safe. Regions are fixed; what is plugged of a hot-plug area changes at any time,
// and the host address of a block stays valid when it is unplugged.
class GuestMemory {
 public:
  GuestMemory() = default;
  // Regions and hot-plug areas (with a PlugMap, above all regions) must not overlap and must be mapped; kept
  // sorted. Does not own the mappings (memory/zoned_memory.h does).
  explicit GuestMemory(std::vector<MemoryRegion> regions, std::vector<MemoryRegion> hotplug = {});

  // From now on only what `pages` shows may be accessed, and the rest is like no RAM; null: all. Of a view of
  // the memory, which does not change with it. While nobody uses the memory; `pages` is there until the next
  // call.
  void ShowOnly(PageVisibility* pages) const { pages_ = pages; }
  // To be held from looking a range up (by Span or Spans) until it is used no more.
  MemoryUse Use() const { return MemoryUse(pages_); }
  // For a range that is used after Use has ended: held from within a Use, `pieces` are what was looked up in
  // it.
  PageHold Hold(std::span<const std::span<uint8_t>> pieces) const;
  // Whether any of it can cease to be accessible.
  bool restricted() const { return pages_ != nullptr; }
  // Changes when a range that was looked up may have ceased to be accessible; 0 while all is.
  uint64_t generation() const { return pages_ == nullptr ? 0 : pages_->generation() + 1; }

  // RAM that is there at boot and stays.
  const std::vector<MemoryRegion>& regions() const { return regions_; }
  const std::vector<MemoryRegion>& hotplug_areas() const { return hotplug_; }
  // All that is RAM now, hot-plug areas cut down to what is plugged, by address.
  std::vector<MemoryRegion> PresentRuns() const;
  // Of these, what may be accessed: all, or what a confidential guest shares.
  std::vector<MemoryRegion> AccessibleRuns() const;

  // kOutOfRange unless every byte of [gpa, gpa + size) is RAM. Ranges may cross regions in Read and Write,
  // but not in Span. size 0 is allowed anywhere in RAM.
  Status Read(Gpa gpa, std::span<uint8_t> out) const;
  Status Write(Gpa gpa, std::span<const uint8_t> in) const;
  Result<std::span<uint8_t>> Span(Gpa gpa, uint64_t size) const;
  // The range as host addresses, in order; one piece unless it crosses regions.
  Result<std::vector<std::span<uint8_t>>> Spans(Gpa gpa, uint64_t size) const;

  // The piece of RAM that a range is, if it lies in one region; by its guest or its host address.
  std::optional<MemoryRegion> PartAt(Gpa gpa, uint64_t size) const;
  std::optional<MemoryRegion> PartAtHost(const uint8_t* host, uint64_t size) const;

  template <class T>
  Result<T> ReadObject(Gpa gpa) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    TRY(Read(gpa, {reinterpret_cast<uint8_t*>(&value), sizeof value}));
    return value;
  }
  template <class T>
  Status WriteObject(Gpa gpa, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return Write(gpa, {reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }

 private:
  struct Piece {
    const MemoryRegion* region = nullptr;
    uint64_t offset = 0;
    uint64_t length = 0;  // RAM from there on, at most what was asked for
  };
  // The RAM at the start of [gpa, gpa + size); no region when there is none.
  Piece Find(Gpa gpa, uint64_t size) const;

  std::vector<MemoryRegion> regions_;
  std::vector<MemoryRegion> hotplug_;
  mutable PageVisibility* pages_ = nullptr;  // none: all RAM may be accessed
};

}  // namespace berth::vmm
