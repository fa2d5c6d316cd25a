#include "vmm/devices/ioapic.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace berth::vmm {
namespace {

constexpr uint64_t kSelectOffset = 0x00;
constexpr uint64_t kWindowOffset = 0x10;
constexpr uint8_t kIdRegister = 0x00;
constexpr uint8_t kVersionRegister = 0x01;
constexpr uint8_t kArbitrationRegister = 0x02;
constexpr uint8_t kEntriesStart = 0x10;
constexpr uint32_t kVersion = (layout::kIoApicPins - 1) << 16 | 0x11;

constexpr uint64_t kDeliveryStatus = uint64_t{1} << 12;
constexpr uint64_t kRemoteIrr = uint64_t{1} << 14;
constexpr uint64_t kLevelTriggered = uint64_t{1} << 15;
constexpr uint64_t kMasked = uint64_t{1} << 16;
constexpr uint64_t kReadOnly = kDeliveryStatus | kRemoteIrr;
constexpr uint64_t kDefined = 0xfffe00000001ffff;  // vector to mask, and the destination

class Pin : public IrqLine {
 public:
  Pin(std::shared_ptr<IoApic> ioapic, uint32_t pin) : ioapic_(std::move(ioapic)), pin_(pin) {}
  void SetLevel(bool high) override { ioapic_->SetLevel(pin_, high); }

 private:
  std::shared_ptr<IoApic> ioapic_;
  uint32_t pin_;
};

}  // namespace

std::unique_ptr<IrqLine> ConnectPin(std::shared_ptr<IoApic> ioapic, uint32_t pin) {
  return std::make_unique<Pin>(std::move(ioapic), pin);
}

MsiMessage RedirectionMessage(uint64_t entry) {
  const uint64_t destination = entry >> 56;
  const uint64_t extended_destination = entry >> 49 & 0x7f;
  const uint64_t logical = entry >> 11 & 1;
  MsiMessage message;
  message.address = 0xfee00000 | destination << 12 | logical << 2 | extended_destination << 40;
  message.data = static_cast<uint32_t>(entry & 0x7ff);                        // vector and delivery mode
  if (entry & kLevelTriggered) message.data |= uint32_t{1} << 15 | 1u << 14;  // level, asserted
  return message;
}

IoApic::IoApic(IoApicSink& sink) : sink_(sink) {
  entries_.fill(kMasked);
}

void IoApic::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  if (data.size() > 4) return;
  std::lock_guard lock(mutex_);
  uint32_t value = 0;
  if (offset == kSelectOffset) value = select_;
  if (offset == kWindowOffset) value = ReadRegister();
  std::memcpy(data.data(), &value, data.size());
}

void IoApic::Write(uint64_t offset, std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  if (offset == kSelectOffset) select_ = data[0];
  if (offset != kWindowOffset || data.size() != 4) return;  // the window takes 32-bit accesses only
  uint32_t value;
  std::memcpy(&value, data.data(), sizeof value);
  WriteRegister(value);
}

uint32_t IoApic::ReadRegister() const {
  if (select_ == kIdRegister || select_ == kArbitrationRegister) return uint32_t{id_} << 24;
  if (select_ == kVersionRegister) return kVersion;
  const uint32_t index = select_ - uint32_t{kEntriesStart};
  if (select_ < kEntriesStart || index / 2 >= layout::kIoApicPins) return 0;
  return static_cast<uint32_t>(entries_[index / 2] >> (index % 2 ? 32 : 0));
}

void IoApic::WriteRegister(uint32_t value) {
  if (select_ == kIdRegister) id_ = value >> 24 & 0x0f;
  if (select_ < kEntriesStart) return;
  const uint32_t index = select_ - uint32_t{kEntriesStart};
  if (index / 2 < layout::kIoApicPins) WriteEntry(index / 2, index % 2 != 0, value);
}

void IoApic::WriteEntry(uint32_t pin, bool upper, uint32_t value) {
  uint64_t& entry = entries_[pin];
  const uint64_t old = entry;
  const uint64_t merged =
      upper ? (entry & 0xffffffff) | uint64_t{value} << 32 : (entry & ~uint64_t{0xffffffff}) | value;
  entry = (merged & kDefined & ~kReadOnly) | (old & kReadOnly);
  // An edge-triggered pin has no remote IRR; guests clear a stuck one by switching to edge and back.
  if (!(entry & kLevelTriggered)) entry &= ~kRemoteIrr;
  if ((entry ^ old) & ~kReadOnly) {
    sink_.SetRoute(pin, RedirectionMessage(entry), (entry & kMasked) != 0);
  }
  ServiceLevel(pin);
}

void IoApic::SetLevel(uint32_t pin, bool high) {
  if (pin >= layout::kIoApicPins) return;
  std::lock_guard lock(mutex_);
  const uint32_t bit = 1u << pin;
  const bool rising = high && !(levels_ & bit);
  levels_ = high ? levels_ | bit : levels_ & ~bit;
  if (entries_[pin] & kLevelTriggered) return ServiceLevel(pin);
  // 82093AA, 3.2.4: an edge on a masked pin is ignored.
  if (rising && !(entries_[pin] & kMasked)) sink_.Deliver(RedirectionMessage(entries_[pin]));
}

void IoApic::ServiceLevel(uint32_t pin) {
  uint64_t& entry = entries_[pin];
  if (!(entry & kLevelTriggered) || entry & (kMasked | kRemoteIrr) || !(levels_ & 1u << pin)) return;
  entry |= kRemoteIrr;
  sink_.Deliver(RedirectionMessage(entry));
}

void IoApic::EndOfInterrupt(uint8_t vector) {
  uint32_t ended = 0;
  {
    std::lock_guard lock(mutex_);
    for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
      if ((entries_[pin] & 0xff) == vector && entries_[pin] & kRemoteIrr) ended |= 1u << pin;
    }
  }
  for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
    if (ended & 1u << pin && on_end_[pin]) on_end_[pin]();
  }
  std::lock_guard lock(mutex_);
  for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
    if (!(ended & 1u << pin)) continue;
    entries_[pin] &= ~kRemoteIrr;
    ServiceLevel(pin);
  }
}

void IoApic::OnEndOfInterrupt(uint32_t pin, std::function<void()> callback) {
  CHECK(pin < layout::kIoApicPins && !on_end_[pin]);
  on_end_[pin] = std::move(callback);
}

}  // namespace berth::vmm
