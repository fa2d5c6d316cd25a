#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "placement/model/host.h"

namespace berth::agent {

// A node whose ordinary memory is running low.
struct LowMemory {
  uint64_t lowest_bytes = 0;       // that was seen since it began to be low
  uint64_t recommended_bytes = 0;  // to be kept free more than now, a multiple of 64 MiB

  friend bool operator==(const LowMemory&, const LowMemory&) = default;
};

// Notices that the ordinary (non-secure) memory of a node runs low before the kernel ends a VMM for it (seed
// 000: "the non-secure memory space is insufficient. As a result, the cVM exits"). Low is less than
// `headroom`; it is over at one and a half times as much, so that it is not told again and again. A value
// type, fed from outside.
class MemoryWatch {
 public:
  explicit MemoryWatch(uint64_t headroom_bytes) : headroom_(headroom_bytes) {}

  struct Event {
    placement::NumaNode node = 0;
    uint64_t available_bytes = 0;
    bool low = false;  // else it is well again
    uint64_t recommended_bytes = 0;
  };
  // What begins to be low (or needs more than was recommended) and what is well again. Nodes that are not
  // told keep their state.
  std::vector<Event> Look(const std::map<placement::NumaNode, uint64_t>& available);

  const std::map<placement::NumaNode, LowMemory>& low() const { return low_; }
  // One sentence a node that is low; the same until Look has told of a change.
  std::vector<std::string> Warnings() const;

 private:
  uint64_t headroom_;
  std::map<placement::NumaNode, LowMemory> low_;
};

}  // namespace berth::agent
