#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// A guest-physical address. A type of its own, so that it is never mixed up with a host pointer.
enum class Gpa : uint64_t {};
constexpr uint64_t Raw(Gpa gpa) {
  return static_cast<uint64_t>(gpa);
}
constexpr Gpa operator+(Gpa gpa, uint64_t offset) {
  return Gpa{Raw(gpa) + offset};
}

// A piece of guest RAM: contiguous in guest-physical and in host-virtual addresses.
struct MemoryRegion {
  Gpa base{};
  uint64_t size = 0;
  uint8_t* host = nullptr;  // mapping, valid as long as the GuestMemory
  int fd = -1;              // backing memfd, -1 for anonymous memory
  uint64_t fd_offset = 0;
  std::string zone;  // id of the zone it belongs to
  std::optional<uint32_t> host_numa_node;
};

// The guest's RAM as device models see it. Every access names a guest-physical range and is checked once, as
// a whole; nothing outside guest RAM is ever touched. Guest memory changes under our hands: read a field
// once, into a local. Thread-safe for accesses; regions are fixed after boot in this version.
class GuestMemory {
 public:
  GuestMemory() = default;
  // Regions must not overlap and must be mapped; kept sorted. Does not own the mappings (memory/zones.h
  // does).
  explicit GuestMemory(std::vector<MemoryRegion> regions);

  const std::vector<MemoryRegion>& regions() const { return regions_; }

  // kOutOfRange unless every byte of [gpa, gpa + size) is RAM. Ranges may cross regions in Read and Write,
  // but not in Span. size 0 is allowed anywhere in RAM.
  Status Read(Gpa gpa, std::span<uint8_t> out) const;
  Status Write(Gpa gpa, std::span<const uint8_t> in) const;
  Result<std::span<uint8_t>> Span(Gpa gpa, uint64_t size) const;

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
  const MemoryRegion* Find(Gpa gpa) const;

  std::vector<MemoryRegion> regions_;
};

}  // namespace berth::vmm
