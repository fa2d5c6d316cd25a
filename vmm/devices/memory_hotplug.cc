#include "vmm/devices/memory_hotplug.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace berth::vmm {
namespace {

constexpr uint64_t kBase = 0;
constexpr uint64_t kSize = 8;
constexpr uint64_t kLast = 16;
constexpr uint64_t kSelector = 24;
constexpr uint64_t kStatus = 28;
constexpr uint8_t kEnabled = 1 << 0;
constexpr uint8_t kInserting = 1 << 1;

}  // namespace

MemoryHotplug::MemoryHotplug(uint32_t slots, const std::vector<Piece>& present) : count_(slots) {
  CHECK(present.size() <= slots);
  for (const Piece& piece : present) slots_.push_back({piece, false});
}

Status MemoryHotplug::Insert(const Piece& piece) {
  std::lock_guard lock(mutex_);
  if (slots_.size() == count_) {
    return ResourceExhausted("all " + std::to_string(count_) + " slots for memory are taken", "desired_ram",
                             "add memory in fewer, larger pieces, or use hotplug_method=virtio-mem");
  }
  slots_.push_back({piece, true});
  return OkStatus();
}

uint32_t MemoryHotplug::free_slots() const {
  std::lock_guard lock(mutex_);
  return count_ - static_cast<uint32_t>(slots_.size());
}

uint32_t MemoryHotplug::pending() const {
  std::lock_guard lock(mutex_);
  return static_cast<uint32_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.inserting; }));
}

void MemoryHotplug::Save(StateWriter& out) const {
  std::lock_guard lock(mutex_);
  out.Put(static_cast<uint32_t>(slots_.size()));
  for (const Slot& slot : slots_) out.Put(slot.inserting);
  out.Put(selected_);
}

void MemoryHotplug::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  if (in.Get<uint32_t>() != slots_.size()) {
    return in.Fail(InvalidArgument("another number of memory pieces than " + std::to_string(slots_.size())));
  }
  for (Slot& slot : slots_) in.Get(slot.inserting);
  in.Get(selected_);
}

void MemoryHotplug::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  std::lock_guard lock(mutex_);
  uint64_t value = 0;
  if (offset == kSelector) value = selected_;
  if (selected_ < slots_.size()) {
    const Slot& slot = slots_[selected_];
    const uint64_t aligned = offset / sizeof(uint64_t) * sizeof(uint64_t);
    if (aligned == kBase) value = slot.piece.base;
    if (aligned == kSize) value = slot.piece.size;
    if (aligned == kLast) value = slot.piece.base + slot.piece.size - 1;
    if (aligned <= kLast) value >>= 8 * (offset - aligned);  // a guest may read halves
    if (offset == kStatus) value = kEnabled | (slot.inserting ? kInserting : 0);
  }
  std::memcpy(data.data(), &value, std::min(data.size(), sizeof value));
}

void MemoryHotplug::Write(uint64_t offset, std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  if (offset == kSelector && data.size() == sizeof selected_) {
    std::memcpy(&selected_, data.data(), sizeof selected_);
  }
  if (offset == kStatus && selected_ < slots_.size() && (data[0] & kInserting)) {
    slots_[selected_].inserting = false;
  }
}

}  // namespace berth::vmm
