#include "compute-agent/preflight/memory_watch.h"

#include <algorithm>

#include "common/byte_size.h"

namespace berth::agent {
namespace {

constexpr uint64_t kStep = uint64_t{64} << 20;  // as bounce buffers are sized (seed 000)

}  // namespace

std::vector<MemoryWatch::Event> MemoryWatch::Look(const std::map<placement::NumaNode, uint64_t>& available) {
  std::vector<Event> events;
  for (const auto& [node, bytes] : available) {
    auto known = low_.find(node);
    if (known != low_.end() && bytes >= headroom_ + headroom_ / 2) {
      low_.erase(known);
      events.push_back({node, bytes, false, 0});
      continue;
    }
    if (bytes >= headroom_ || (known != low_.end() && bytes >= known->second.lowest_bytes)) continue;
    const uint64_t recommended = (headroom_ - bytes + kStep - 1) / kStep * kStep;
    const uint64_t before = known == low_.end() ? 0 : known->second.recommended_bytes;
    low_[node] = {bytes, recommended};
    if (recommended != before) events.push_back({node, bytes, true, recommended});
  }
  return events;
}

std::vector<std::string> MemoryWatch::Warnings() const {
  std::vector<std::string> warnings;
  for (const auto& [node, low] : low_) {
    warnings.push_back(
        "node " + std::to_string(node) + ": ordinary memory is running low (below " +
        ByteSize(headroom_).ToHuman() + "), the kernel may end VMMs; keep at least " +
        std::to_string(low.recommended_bytes >> 20) +
        " MiB more of it free (reserved_memory, confidential.secure_memory), or move guests away");
  }
  return warnings;
}

}  // namespace berth::agent
