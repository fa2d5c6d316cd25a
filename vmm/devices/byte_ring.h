#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace berth::vmm {

// The last `capacity` bytes of a stream, addressed by their position since its beginning, so that several
// readers can follow at their own pace. Thread-compatible.
class ByteRing {
 public:
  explicit ByteRing(size_t capacity) : bytes_(capacity) {}

  void Put(uint8_t byte) { bytes_[end_++ % bytes_.size()] = byte; }
  // Positions [begin, end) are held.
  uint64_t begin() const { return end_ < bytes_.size() ? 0 : end_ - bytes_.size(); }
  uint64_t end() const { return end_; }
  // A contiguous piece from `position`, which is first moved up to begin(); empty at the end.
  std::span<const uint8_t> Next(uint64_t& position) const {
    position = std::max(position, begin());
    const size_t at = position % bytes_.size();
    const size_t length = std::min<uint64_t>(end_ - position, bytes_.size() - at);
    return {bytes_.data() + at, length};
  }

 private:
  std::vector<uint8_t> bytes_;
  uint64_t end_ = 0;
};

}  // namespace berth::vmm
