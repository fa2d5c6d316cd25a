#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// A range of I/O virtual addresses [first, last] that a guest's driver has mapped to guest-physical memory.
struct IommuMapping {
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t gpa = 0;
  bool read = false;
  bool write = false;

  uint64_t size() const { return last - first + 1; }  // 0 for the whole address space
  friend bool operator==(const IommuMapping&, const IommuMapping&) = default;
};

// The mappings of one address space, disjoint. Thread-compatible.
class IommuMappings {
 public:
  // kInvalidArgument: empty, or overlaps a mapping (virtio 1.2, 5.13.6.6); kResourceExhausted: too many.
  Status Map(const IommuMapping& mapping);
  // Removes all mappings in [first, last]; holes are fine. kOutOfRange when a mapping would be cut: nothing
  // is removed then (5.13.6.7).
  Result<std::vector<IommuMapping>> Unmap(uint64_t first, uint64_t last);

  const IommuMapping* Find(uint64_t address) const;
  std::vector<IommuMapping> all() const;
  // Those that have something of [first, last], in ascending order.
  std::vector<IommuMapping> In(uint64_t first, uint64_t last) const;
  size_t count() const { return mappings_.size(); }

  // A guest's driver must not make us use memory without end.
  static constexpr size_t kMax = size_t{1} << 20;

 private:
  std::map<uint64_t, IommuMapping> mappings_;  // by first
};

}  // namespace berth::vmm
