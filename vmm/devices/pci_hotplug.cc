#include "vmm/devices/pci_hotplug.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace berth::vmm {
namespace {

constexpr uint64_t kUp = 0;
constexpr uint64_t kDown = 4;
constexpr uint64_t kEject = 8;
constexpr uint64_t kSelector = 12;
constexpr uint32_t kSlots = 32;

}  // namespace

void PciHotplug::Insert(uint32_t segment, uint32_t slot) {
  std::lock_guard lock(mutex_);
  Pending& pending = segments_.at(segment);
  pending.up |= 1u << slot;
  pending.down &= ~(1u << slot);
}

void PciHotplug::RequestRemoval(uint32_t segment, uint32_t slot) {
  std::lock_guard lock(mutex_);
  segments_.at(segment).down |= 1u << slot;
}

void PciHotplug::Save(StateWriter& out) const {
  std::lock_guard lock(mutex_);
  out.Put(static_cast<uint32_t>(segments_.size()));
  for (const Pending& pending : segments_) {
    out.Put(pending.up);
    out.Put(pending.down);
  }
  out.Put(selected_);
}

void PciHotplug::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  if (in.Get<uint32_t>() != segments_.size()) {
    return in.Fail(
        InvalidArgument("another number of PCI segments than " + std::to_string(segments_.size())));
  }
  for (Pending& pending : segments_) {
    in.Get(pending.up);
    in.Get(pending.down);
  }
  in.Get(selected_);
}

void PciHotplug::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  if (data.size() != sizeof(uint32_t)) return;
  std::lock_guard lock(mutex_);
  uint32_t value = 0;
  if (offset == kSelector) value = selected_;
  if (selected_ < segments_.size()) {
    if (offset == kUp) value = std::exchange(segments_[selected_].up, 0);
    if (offset == kDown) value = std::exchange(segments_[selected_].down, 0);
  }
  std::memcpy(data.data(), &value, sizeof value);
}

void PciHotplug::Write(uint64_t offset, std::span<const uint8_t> data) {
  uint32_t value = 0;
  if (data.size() != sizeof value) return;
  std::memcpy(&value, data.data(), sizeof value);
  uint32_t segment = 0;
  {
    std::lock_guard lock(mutex_);
    if (offset == kSelector) selected_ = value;
    if (offset != kEject || selected_ >= segments_.size()) return;
    segment = selected_;
  }
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    if (value >> slot & 1) on_eject_(segment, slot);
  }
}

}  // namespace berth::vmm
