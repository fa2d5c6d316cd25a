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
constexpr uint32_t kVersionWithEoi = (layout::kIoApicPins - 1) << 16 | 0x20;
constexpr uint64_t kEoiOffset = 0x40;

constexpr uint64_t kDeliveryStatus = uint64_t{1} << 12;
constexpr uint64_t kRemoteIrr = uint64_t{1} << 14;
constexpr uint64_t kLevelTriggered = uint64_t{1} << 15;
constexpr uint64_t kMasked = uint64_t{1} << 16;
constexpr uint64_t kReadOnly = kDeliveryStatus | kRemoteIrr;
constexpr uint64_t kDefined = 0xfffe00000001ffff;  // vector to mask, and the destination
constexpr uint64_t kRemappable = uint64_t{1} << 48;

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
  if ((entry & kRemappable) != 0) {
    // The handle's bits 0 to 14 stand in bits 49 to 63, the last one in bit 11; vector and mode are the
    // table's.
    return {0xfee00000 | (entry >> 49) << 5 | 1 << 4 | (entry >> 11 & 1) << 2, 0};
  }
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
  if (offset == kEoiOffset && remap_) {
    uint32_t ended = 0;
    {
      std::lock_guard lock(mutex_);
      for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
        if ((entries_[pin] & 0xff) == data[0] && entries_[pin] & kRemoteIrr) ended |= 1u << pin;
      }
    }
    return End(ended);
  }
  std::lock_guard lock(mutex_);
  if (offset == kSelectOffset) select_ = data[0];
  if (offset != kWindowOffset || data.size() != 4) return;  // the window takes 32-bit accesses only
  uint32_t value;
  std::memcpy(&value, data.data(), sizeof value);
  WriteRegister(value);
}

std::optional<MsiMessage> IoApic::MessageOf(uint64_t entry, bool report) const {
  const MsiMessage message = RedirectionMessage(entry);
  return remap_ ? remap_(message, report) : message;
}

void IoApic::SetRoute(uint32_t pin, bool masked) {
  // A masked entry may name what the guest has not set up.
  const std::optional<MsiMessage> message = MessageOf(entries_[pin], false);
  sink_.SetRoute(pin, message.value_or(MsiMessage{}), masked || !message);
}

void IoApic::RefreshRoutes() {
  std::lock_guard lock(mutex_);
  for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
    if ((entries_[pin] & kMasked) == 0) SetRoute(pin, false);
  }
}

uint32_t IoApic::ReadRegister() const {
  if (select_ == kIdRegister || select_ == kArbitrationRegister) return uint32_t{id_} << 24;
  if (select_ == kVersionRegister) return remap_ ? kVersionWithEoi : kVersion;
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
  const uint64_t defined = remap_ ? kDefined | kRemappable : kDefined;
  entry = (merged & defined & ~kReadOnly) | (old & kReadOnly);
  // An edge-triggered pin has no remote IRR; guests clear a stuck one by switching to edge and back.
  if (!(entry & kLevelTriggered)) entry &= ~kRemoteIrr;
  if ((entry ^ old) & ~kReadOnly) SetRoute(pin, (entry & kMasked) != 0);
  if (entry & kLevelTriggered) missed_ &= ~(1u << pin);
  DeliverEdge(pin);
  ServiceLevel(pin);
}

void IoApic::Save(StateWriter& out) {
  std::lock_guard lock(mutex_);
  out.Put(select_);
  out.Put(id_);
  for (uint64_t entry : entries_) out.Put(entry);
  out.Put(levels_);
}

void IoApic::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  in.Get(select_);
  in.Get(id_);
  for (uint64_t& entry : entries_)
    entry = in.Get<uint64_t>() & kDefined;  // machines with remapping are not saved
  in.Get(levels_);
  if (!in.ok()) return;
  for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
    const uint64_t entry = entries_[pin];
    // A masked pin has a route only while an interrupt of it is in service.
    SetRoute(pin, (entry & kMasked) != 0 && (entry & kRemoteIrr) == 0);
  }
}

void IoApic::SetLevel(uint32_t pin, bool high) {
  if (pin >= layout::kIoApicPins) return;
  std::lock_guard lock(mutex_);
  const uint32_t bit = 1u << pin;
  const bool rising = high && !(levels_ & bit);
  levels_ = high ? levels_ | bit : levels_ & ~bit;
  if (entries_[pin] & kLevelTriggered) return ServiceLevel(pin);
  if (!rising) return;
  // The 82093AA ignores an edge on a masked pin (3.2.4). Here it waits: an event of the GED that came before
  // the guest's driver would be lost, for nothing raises it again.
  missed_ |= bit;
  DeliverEdge(pin);
}

void IoApic::DeliverEdge(uint32_t pin) {
  const uint32_t bit = 1u << pin;
  if (!(missed_ & bit) || entries_[pin] & (kMasked | kLevelTriggered)) return;
  missed_ &= ~bit;
  if (const auto message = MessageOf(entries_[pin], true)) sink_.Deliver(*message);
}

void IoApic::ServiceLevel(uint32_t pin) {
  uint64_t& entry = entries_[pin];
  if (!(entry & kLevelTriggered) || entry & (kMasked | kRemoteIrr) || !(levels_ & 1u << pin)) return;
  const std::optional<MsiMessage> message = MessageOf(entry, true);
  if (!message) return;
  entry |= kRemoteIrr;
  delivered_[pin] = static_cast<uint8_t>(message->data);
  sink_.Deliver(*message);
}

void IoApic::EndOfInterrupt(uint8_t vector) {
  uint32_t ended = 0;
  {
    std::lock_guard lock(mutex_);
    for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
      const uint8_t own = remap_ ? delivered_[pin] : static_cast<uint8_t>(entries_[pin]);
      if (own == vector && entries_[pin] & kRemoteIrr) ended |= 1u << pin;
    }
  }
  End(ended);
}

void IoApic::End(uint32_t pins) {
  for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
    if (pins & 1u << pin && on_end_[pin]) on_end_[pin]();
  }
  std::lock_guard lock(mutex_);
  for (uint32_t pin = 0; pin < layout::kIoApicPins; ++pin) {
    if (!(pins & 1u << pin)) continue;
    entries_[pin] &= ~kRemoteIrr;
    ServiceLevel(pin);
  }
}

void IoApic::OnEndOfInterrupt(uint32_t pin, std::function<void()> callback) {
  CHECK(pin < layout::kIoApicPins && !on_end_[pin]);
  on_end_[pin] = std::move(callback);
}

}  // namespace berth::vmm
