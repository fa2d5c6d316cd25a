#include "common/swiotlb.h"

#include <algorithm>
#include <bit>

namespace berth {
namespace {

constexpr uint64_t kSegmentSlabs = 128;    // IO_TLB_SEGSIZE: one mapping fits into one segment
constexpr uint64_t kDefaultSlabs = 32768;  // 64 MiB
constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kMaxSlabs = uint64_t{1} << 51;  // 2^62 bytes

uint64_t AlignUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

uint64_t PowerOfTwo(uint64_t value) {
  return std::bit_ceil(std::clamp<uint64_t>(value, 1, kMaxSlabs));
}

}  // namespace

uint64_t SwiotlbBytes(const SwiotlbQuestion& question) {
  uint64_t asked = question.slabs == 0 ? kDefaultSlabs : std::min(question.slabs, kMaxSlabs);
  uint64_t slabs = AlignUp(asked, kSegmentSlabs);
  if (question.x86_confidential && slabs == kDefaultSlabs) {
    // Divided first: the exact floor of 6 % without overflow.
    uint64_t ram = question.guest_ram_bytes;
    uint64_t share = ram / 100 * 6 + ram % 100 * 6 / 100;
    slabs = AlignUp(std::clamp(share, 64 * kMib, 1024 * kMib) / kSwiotlbSlabBytes, kSegmentSlabs);
  }
  uint64_t areas = PowerOfTwo(question.areas == 0 ? question.max_vcpus : question.areas);
  uint64_t for_areas = areas > kMaxSlabs / kSegmentSlabs ? kMaxSlabs : areas * kSegmentSlabs;
  return PowerOfTwo(std::max(slabs, for_areas)) * kSwiotlbSlabBytes;
}

BounceProfile BounceProfileOf(uint32_t class_code, uint32_t vcpus) {
  constexpr uint32_t kNetwork = 0x02, kDisplay = 0x03, kAccelerator = 0x12, kNvme = 0x0108;
  const uint32_t base = class_code >> 16 & 0xff;
  if (base == kNetwork) return {.queues = 2 * std::clamp(vcpus, 1u, 8u), .depth = 512, .segment_bytes = 2048};
  if (class_code >> 8 == kNvme) {
    return {.queues = std::clamp(vcpus, 1u, 32u), .depth = 64, .segment_bytes = 128 << 10};
  }
  if (base == kDisplay || base == kAccelerator) return {.queues = 1, .depth = 64, .segment_bytes = 256 << 10};
  return {.queues = 1, .depth = 256, .segment_bytes = 4096};
}

uint64_t BounceNeed(std::span<const BounceProfile> devices) {
  constexpr uint64_t kLargestPiece = kSegmentSlabs * kSwiotlbSlabBytes;
  uint64_t bytes = 0;
  for (const BounceProfile& device : devices) {
    bytes += uint64_t{device.queues} * device.depth * std::min(device.segment_bytes, kLargestPiece);
  }
  return bytes + bytes / 4;
}

}  // namespace berth
