#include "vmm/pagestate/chunk_runs.h"

#include <bit>
#include <cstring>

#include "common/status.h"
#include "vmm/pagestate/chunk_pool.h"

namespace berth::vmm {
namespace {

constexpr size_t kDense = ChunkPool::SlotBytes(ChunkPool::kClasses - 1);

uint16_t RunAt(std::span<const uint8_t> slot, size_t i) {
  uint16_t run;
  std::memcpy(&run, slot.data() + i * sizeof run, sizeof run);
  return run;
}

}  // namespace

ChunkRuns::ChunkRuns(uint32_t pages, std::span<const uint8_t> slot) {
  if (slot.size() < kDense) {
    do {
      runs_[count_] = RunAt(slot, count_);
    } while (end(count_++) < pages);
    return;
  }
  for (uint32_t page = 0; page < pages; ++page) {
    const uint8_t bits = slot[page / 4];
    const auto state = static_cast<PageState>(bits >> page % 4 * 2 & 3);
    if (count_ > 0 && this->state(count_ - 1) == state) {
      runs_[count_ - 1] = Pack(page + 1, state);
    } else {
      runs_[count_++] = Pack(page + 1, state);
    }
  }
}

int ChunkRuns::SlotClass() const {
  for (int slot_class = 0; slot_class < ChunkPool::kClasses - 1; ++slot_class) {
    if (count_ * sizeof runs_[0] <= ChunkPool::SlotBytes(slot_class)) return slot_class;
  }
  return ChunkPool::kClasses - 1;
}

void ChunkRuns::Store(std::span<uint8_t> slot) const {
  if (slot.size() < kDense) {
    CHECK(count_ * sizeof runs_[0] <= slot.size());
    std::memcpy(slot.data(), runs_.data(), count_ * sizeof runs_[0]);
    return;
  }
  std::memset(slot.data(), 0, slot.size());
  for (uint32_t i = 0; i < count_; ++i) {
    const auto bits = static_cast<uint32_t>(state(i));
    for (uint32_t page = begin(i); page < end(i); ++page) {
      slot[page / 4] = static_cast<uint8_t>(slot[page / 4] | bits << page % 4 * 2);
    }
  }
}

PageState StateInSlot(std::span<const uint8_t> slot, uint32_t page) {
  if (slot.size() >= kDense) return static_cast<PageState>(slot[page / 4] >> page % 4 * 2 & 3);
  // At most 32 runs, sorted by where they end.
  size_t i = 0;
  while ((RunAt(slot, i) & 0x1ffU) < page) ++i;
  return static_cast<PageState>(RunAt(slot, i) >> 9);
}

bool IsDense(std::span<const uint8_t> slot) {
  return slot.size() >= kDense;
}

void SetInDense(std::span<uint8_t> slot, uint32_t page, PageState state) {
  uint8_t& bits = slot[page / 4];
  const uint32_t shift = page % 4 * 2;
  bits = static_cast<uint8_t>((bits & ~(3U << shift)) | static_cast<uint32_t>(state) << shift);
}

uint32_t RunsInDense(std::span<const uint8_t> slot, uint32_t pages) {
  constexpr uint32_t kPagesPerWord = 32;
  constexpr uint64_t kLowBits = 0x5555555555555555;
  std::array<uint64_t, kPagesPerChunk / kPagesPerWord + 1> words{};
  std::memcpy(words.data(), slot.data(), kDense);
  uint32_t runs = 1;
  for (uint32_t first = 0; first + 1 < pages; first += kPagesPerWord) {
    // Bit 2i: page first + i differs from the next.
    const uint64_t word = words[first / kPagesPerWord];
    const uint64_t differs = word ^ (word >> 2 | words[first / kPagesPerWord + 1] << 62);
    uint64_t borders = (differs | differs >> 1) & kLowBits;
    const uint32_t left = pages - 1 - first;
    if (left < kPagesPerWord) borders &= (uint64_t{1} << left * 2) - 1;
    runs += static_cast<uint32_t>(std::popcount(borders));
  }
  return runs;
}

}  // namespace berth::vmm
