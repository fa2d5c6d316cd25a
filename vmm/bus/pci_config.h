#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {

// What a function says it is.
struct PciIdentity {
  uint16_t vendor = 0;
  uint16_t device = 0;
  uint16_t subsystem_vendor = 0;
  uint16_t subsystem = 0;
  uint32_t class_code = 0;  // 24 bits: base class, subclass, programming interface
  uint8_t revision = 0;
};

enum class BarKind { kMemory32, kMemory64, kIo };

struct PciBar {
  BarKind kind = BarKind::kMemory32;
  uint64_t size = 0;     // a power of two, at least 16 bytes, or 4 of I/O ports
  uint64_t address = 0;  // as the registers say, whether decoded or not
};

// Configuration space of a type-0 function (PCI 3.0, 6.1): identity, BARs with sizing, a list of
// capabilities, and a mask of what the guest may write. The 256 conventional bytes; the extended space reads
// as zeros. Building it wrongly is a defect of ours and aborts; what the guest does never fails.
// Thread-compatible.
class PciConfigSpace {
 public:
  static constexpr uint32_t kCommand = 0x04;
  static constexpr uint32_t kBar0 = 0x10;
  static constexpr uint32_t kBars = 6;
  static constexpr uint8_t kVendorCapability = 0x09;
  static constexpr uint8_t kMsixCapability = 0x11;

  explicit PciConfigSpace(const PciIdentity& identity);

  // A 64-bit BAR takes `index` and the next one.
  void AddBar(uint32_t index, BarKind kind, uint64_t size, bool prefetchable);
  // Appends a capability: `body` is what follows the two header bytes, `writable` (empty, or as long as
  // `body`) has the bits that the guest may change. Returns the capability's offset.
  uint8_t AddCapability(uint8_t id, std::span<const uint8_t> body, std::span<const uint8_t> writable = {});

  // Bytes outside the space read as zero, and writes to them are dropped.
  void Read(uint32_t offset, std::span<uint8_t> data) const;
  void Write(uint32_t offset, std::span<const uint8_t> data);

  uint16_t Read16(uint32_t offset) const;
  uint32_t Read32(uint32_t offset) const;
  // For the device itself, past the mask.
  void Set16(uint32_t offset, uint16_t value);
  void Set32(uint32_t offset, uint32_t value);

  bool io_enabled() const { return (bytes_[kCommand] & 1) != 0; }
  bool memory_enabled() const { return (bytes_[kCommand] & 2) != 0; }
  // Bus mastering: a device may reach memory and send MSIs only with it.
  bool bus_master() const { return (bytes_[kCommand] & 4) != 0; }
  // nullopt where there is no BAR, also for the upper half of a 64-bit one.
  std::optional<PciBar> bar(uint32_t index) const;
  void SetBarAddress(uint32_t index, uint64_t address);

  void Save(StateWriter& out) const { out.PutBytes(bytes_); }
  // Only what the guest may write may differ.
  void Load(StateReader& in);

 private:
  static constexpr uint32_t kSize = 256;

  std::array<uint8_t, kSize> bytes_{};
  std::array<uint8_t, kSize> writable_{};
  std::array<std::optional<PciBar>, kBars> bars_;  // address is not kept here
  uint8_t last_capability_ = 0;
  uint32_t next_capability_ = 0x40;
};

}  // namespace berth::vmm
