#include "vmm/bus/msix.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace berth::vmm {
namespace {

constexpr uint16_t kVectorsMax = 2048;
constexpr uint32_t kWordsPerEntry = Msix::kEntrySize / 4;
constexpr uint32_t kVectorControl = 3;
constexpr uint32_t kVectorMasked = 1;

}  // namespace

Result<std::unique_ptr<Msix>> Msix::Create(MsiController& controller, uint16_t vectors) {
  CHECK(vectors >= 1 && vectors <= kVectorsMax);
  std::unique_ptr<Msix> msix(new Msix());
  msix->entries_.resize(vectors);
  for (Entry& entry : msix->entries_) {
    TRY_ASSIGN(entry.route, controller.AllocateRoute());
  }
  return msix;
}

std::array<uint8_t, 10> Msix::CapabilityBody(uint8_t bar, uint32_t table_offset, uint32_t pba_offset) const {
  CHECK(bar < 6 && table_offset % 8 == 0 && pba_offset % 8 == 0);
  std::array<uint8_t, 10> body{};
  const uint16_t control = static_cast<uint16_t>(vectors() - 1);
  const uint32_t table = table_offset | bar;
  const uint32_t pba = pba_offset | bar;
  std::memcpy(body.data(), &control, 2);
  std::memcpy(body.data() + 2, &table, 4);
  std::memcpy(body.data() + 6, &pba, 4);
  return body;
}

std::array<uint8_t, 10> Msix::CapabilityWritable() {
  return {0, (kEnable | kFunctionMask) >> 8};
}

bool Msix::Masked(const Entry& entry) const {
  return (control_ & (kEnable | kFunctionMask)) != kEnable || entry.words[kVectorControl] & kVectorMasked;
}

void Msix::Deliver(Entry& entry) {
  if (!entry.route_current) {
    const MsiMessage message{entry.words[0] | uint64_t{entry.words[1]} << 32, entry.words[2]};
    // A message that the interrupt controller refuses is lost, as a write to a wrong address is.
    if (!entry.route->Set(message).ok()) return;
    entry.route_current = true;
  }
  entry.route->Trigger();
}

void Msix::Update(Entry& entry) {
  if (!Masked(entry) && std::exchange(entry.pending, false)) Deliver(entry);
}

void Msix::SetControl(uint16_t message_control) {
  std::lock_guard lock(mutex_);
  control_ = message_control & (kEnable | kFunctionMask);
  for (Entry& entry : entries_) Update(entry);
}

void Msix::ReadTable(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t at = offset + i;
    const bool inside = at / kEntrySize < entries_.size();
    const uint32_t word = inside ? entries_[at / kEntrySize].words[at / 4 % kWordsPerEntry] : 0;
    data[i] = static_cast<uint8_t>(word >> at % 4 * 8);
  }
}

void Msix::WriteTable(uint64_t offset, std::span<const uint8_t> data) {
  if ((data.size() != 4 && data.size() != 8) || offset % data.size() != 0) return;
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); i += 4) {
    uint32_t value;
    std::memcpy(&value, data.data() + i, 4);
    WriteWord(offset + i, value);
  }
}

void Msix::WriteWord(uint64_t offset, uint32_t value) {
  if (offset / kEntrySize >= entries_.size()) return;
  Entry& entry = entries_[offset / kEntrySize];
  const uint64_t index = offset / 4 % kWordsPerEntry;
  entry.words[index] = index == kVectorControl ? value & kVectorMasked : value;
  if (index != kVectorControl) entry.route_current = false;
  Update(entry);
}

void Msix::ReadPba(uint64_t offset, std::span<uint8_t> data) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = 0;
    for (uint64_t bit = 0; bit < 8; ++bit) {
      const uint64_t vector = (offset + i) * 8 + bit;
      if (vector < entries_.size() && entries_[vector].pending) data[i] |= static_cast<uint8_t>(1u << bit);
    }
  }
}

void Msix::Trigger(uint16_t vector) {
  std::lock_guard lock(mutex_);
  if (vector >= entries_.size()) return;
  entries_[vector].pending = true;
  Update(entries_[vector]);
}

void Msix::Save(StateWriter& out) {
  std::lock_guard lock(mutex_);
  out.Put(static_cast<uint32_t>(entries_.size()));
  for (const Entry& entry : entries_) {
    for (uint32_t word : entry.words) out.Put(word);
    out.Put(entry.pending);
  }
}

void Msix::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  if (in.Get<uint32_t>() != entries_.size()) {
    return in.Fail(
        InvalidArgument("another number of interrupt vectors than " + std::to_string(entries_.size())));
  }
  for (Entry& entry : entries_) {
    for (uint32_t& word : entry.words) in.Get(word);
    entry.words[kVectorControl] &= kVectorMasked;
    in.Get(entry.pending);
    entry.route_current = false;
  }
}

void Msix::ClearPending() {
  std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) entry.pending = false;
}

}  // namespace berth::vmm
