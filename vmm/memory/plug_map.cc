#include "vmm/memory/plug_map.h"

#include <algorithm>

#include "common/status.h"

namespace berth::vmm {

PlugMap::PlugMap(uint64_t size, uint64_t block)
    : size_(size), block_(block), words_((size / block + 63) / 64) {
  CHECK(block > 0 && size % block == 0);
}

bool PlugMap::Check(uint64_t offset, uint64_t length, bool plugged) const {
  if (length == 0 || offset >= size_ || length > size_ - offset) {
    if (plugged || offset >= size_) return !plugged;
    length = size_ - offset;
    if (length == 0) return true;
  }
  const uint64_t last = (offset + length - 1) / block_;
  for (uint64_t i = offset / block_; i <= last; ++i) {
    if (Get(i) != plugged) return false;
  }
  return true;
}

void PlugMap::Set(uint64_t offset, uint64_t length, bool plugged) {
  CHECK(offset % block_ == 0 && length % block_ == 0 && offset <= size_ && length <= size_ - offset);
  for (uint64_t i = offset / block_; i < (offset + length) / block_; ++i) {
    if (Get(i) == plugged) continue;
    words_[i / 64].fetch_xor(uint64_t{1} << i % 64, std::memory_order_acq_rel);
    if (plugged) {
      plugged_.fetch_add(block_, std::memory_order_relaxed);
    } else {
      plugged_.fetch_sub(block_, std::memory_order_relaxed);
    }
  }
}

std::vector<PlugMap::Run> PlugMap::Runs(uint64_t offset, uint64_t length) const {
  std::vector<Run> runs;
  if (offset >= size_) return runs;
  const uint64_t end = offset + std::min(length, size_ - offset);
  for (uint64_t at = offset; at < end;) {
    const uint64_t next = std::min(end, (at / block_ + 1) * block_);
    if (Get(at / block_)) {
      if (!runs.empty() && runs.back().offset + runs.back().length == at) {
        runs.back().length += next - at;
      } else {
        runs.push_back({at, next - at});
      }
    }
    at = next;
  }
  return runs;
}

}  // namespace berth::vmm
