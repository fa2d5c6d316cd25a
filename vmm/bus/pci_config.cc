#include "vmm/bus/pci_config.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/status.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kVendor = 0x00;
constexpr uint32_t kDevice = 0x02;
constexpr uint32_t kStatus = 0x06;
constexpr uint32_t kRevision = 0x08;
constexpr uint32_t kCacheLine = 0x0c;
constexpr uint32_t kSubsystemVendor = 0x2c;
constexpr uint32_t kSubsystem = 0x2e;
constexpr uint32_t kCapabilities = 0x34;
constexpr uint32_t kInterruptLine = 0x3c;

constexpr uint16_t kStatusCapabilities = 1 << 4;
// Memory decoding, bus mastering, parity and system errors (kept, without effect), no legacy interrupts; I/O
// decoding where there is an I/O BAR.
constexpr uint16_t kCommandWritable = 0x0546;

constexpr uint32_t kBar64 = 0x4;
constexpr uint32_t kBarPrefetchable = 0x8;
constexpr uint32_t kBarIo = 0x1;

// The bits of a BAR that are no address.
constexpr uint32_t BarFlags(BarKind kind) {
  return kind == BarKind::kIo ? 0x3 : 0xf;
}

}  // namespace

PciConfigSpace::PciConfigSpace(const PciIdentity& identity) {
  Set16(kVendor, identity.vendor);
  Set16(kDevice, identity.device);
  Set32(kRevision, identity.class_code << 8 | identity.revision);
  Set16(kSubsystemVendor, identity.subsystem_vendor);
  Set16(kSubsystem, identity.subsystem);
  writable_[kCommand] = kCommandWritable & 0xff;
  writable_[kCommand + 1] = kCommandWritable >> 8;
  writable_[kCacheLine] = 0xff;
  writable_[kInterruptLine] = 0xff;
}

void PciConfigSpace::AddBar(uint32_t index, BarKind kind, uint64_t size, bool prefetchable) {
  const bool wide = kind == BarKind::kMemory64;
  CHECK(index + (wide ? 1 : 0) < kBars && !bars_[index]);
  const bool io = kind == BarKind::kIo;
  CHECK(std::has_single_bit(size) && size >= (io ? 4 : 16) && (wide || size <= uint64_t{1} << 31));
  bars_[index] = PciBar{kind, size, 0};
  const uint32_t offset = kBar0 + 4 * index;
  Set32(offset, io ? kBarIo : (wide ? kBar64 : 0) | (prefetchable ? kBarPrefetchable : 0));
  if (io) writable_[kCommand] |= 1;
  const uint64_t mask = ~(size - 1);  // the sizing protocol: the low bits cannot be set
  std::memcpy(&writable_[offset], &mask, wide ? 8 : 4);
}

uint8_t PciConfigSpace::AddCapability(uint8_t id, std::span<const uint8_t> body,
                                      std::span<const uint8_t> writable) {
  CHECK(writable.empty() || writable.size() == body.size());
  const uint32_t offset = next_capability_;
  CHECK(offset + 2 + body.size() <= kSize);
  bytes_[offset] = id;
  std::copy(body.begin(), body.end(), bytes_.begin() + offset + 2);
  std::copy(writable.begin(), writable.end(), writable_.begin() + offset + 2);
  bytes_[last_capability_ == 0 ? kCapabilities : last_capability_ + 1u] = static_cast<uint8_t>(offset);
  last_capability_ = static_cast<uint8_t>(offset);
  next_capability_ = static_cast<uint32_t>((offset + 2 + body.size() + 3) & ~size_t{3});
  Set16(kStatus, kStatusCapabilities);
  return last_capability_;
}

void PciConfigSpace::Read(uint32_t offset, std::span<uint8_t> data) const {
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < kSize ? bytes_[offset + i] : 0;
}

void PciConfigSpace::Write(uint32_t offset, std::span<const uint8_t> data) {
  for (size_t i = 0; i < data.size() && offset + i < kSize; ++i) {
    uint8_t& byte = bytes_[offset + i];
    const uint8_t mask = writable_[offset + i];
    byte = static_cast<uint8_t>((byte & ~mask) | (data[i] & mask));
  }
}

uint16_t PciConfigSpace::Read16(uint32_t offset) const {
  CHECK(offset <= kSize - 2);
  return static_cast<uint16_t>(bytes_[offset] | bytes_[offset + 1] << 8);
}

uint32_t PciConfigSpace::Read32(uint32_t offset) const {
  return Read16(offset) | uint32_t{Read16(offset + 2)} << 16;
}

void PciConfigSpace::Set16(uint32_t offset, uint16_t value) {
  CHECK(offset <= kSize - 2);
  bytes_[offset] = static_cast<uint8_t>(value);
  bytes_[offset + 1] = static_cast<uint8_t>(value >> 8);
}

void PciConfigSpace::Set32(uint32_t offset, uint32_t value) {
  Set16(offset, static_cast<uint16_t>(value));
  Set16(offset + 2, static_cast<uint16_t>(value >> 16));
}

std::optional<PciBar> PciConfigSpace::bar(uint32_t index) const {
  if (index >= kBars || !bars_[index]) return std::nullopt;
  PciBar bar = *bars_[index];
  const uint32_t offset = kBar0 + 4 * index;
  bar.address = Read32(offset) & ~BarFlags(bar.kind);
  if (bar.kind == BarKind::kMemory64) bar.address |= uint64_t{Read32(offset + 4)} << 32;
  return bar;
}

void PciConfigSpace::Load(StateReader& in) {
  std::array<uint8_t, kSize> saved{};
  in.GetExactly(saved);
  for (size_t i = 0; in.ok() && i < kSize; ++i) {
    if (((saved[i] ^ bytes_[i]) & ~writable_[i]) != 0) {
      in.Fail(InvalidArgument("the PCI registers are another device's (byte " + std::to_string(i) + ")"));
    }
  }
  if (in.ok()) bytes_ = saved;
}

void PciConfigSpace::SetBarAddress(uint32_t index, uint64_t address) {
  CHECK(index < kBars && bars_[index]);
  CHECK(address % bars_[index]->size == 0);
  const uint32_t offset = kBar0 + 4 * index;
  const bool wide = bars_[index]->kind == BarKind::kMemory64;
  CHECK(wide || address >> 32 == 0);
  Set32(offset, static_cast<uint32_t>(address) | (Read32(offset) & BarFlags(bars_[index]->kind)));
  if (wide) Set32(offset + 4, static_cast<uint32_t>(address >> 32));
}

}  // namespace berth::vmm
