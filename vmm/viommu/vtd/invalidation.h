#pragma once

#include <cstdint>
#include <optional>

// What a guest asks to be forgotten, by a descriptor of the queue (VT-d 6.5.2) or by a register (6.5.1).
namespace berth::vmm::vtd {

struct Invalidation {
  enum class Kind { kContext, kMappings, kDeviceTlb, kInterrupts, kWait };
  enum class Scope {
    kGlobal,
    kDomain,  // of kContext and kMappings
    kPart,    // of kContext a device, of kMappings pages, of kInterrupts indexes
  };
  Kind kind = Kind::kContext;
  Scope scope = Scope::kGlobal;
  uint16_t domain = 0;       // DID
  uint16_t source = 0;       // bus, slot and function
  uint16_t source_mask = 0;  // bits of the function that do not count
  uint64_t first = 0;        // pages: addresses [first, last]; interrupts: indexes
  uint64_t last = 0;
  // Of kWait: what happens when all before is done.
  bool interrupt = false;
  bool write_status = false;
  uint32_t status = 0;
  uint64_t status_address = 0;  // guest-physical

  friend bool operator==(const Invalidation&, const Invalidation&) = default;
};

// Pages of one invalidation: 2^18, 1 GiB (MAMV of the capability register).
inline constexpr uint32_t kMaxAddressMask = 18;

// None: a descriptor that does not exist, or with fields that may not be so.
std::optional<Invalidation> ParseDescriptor(uint64_t low, uint64_t high);
// A write to CCMD_REG with its bit 63 set.
std::optional<Invalidation> ParseContextCommand(uint64_t value);
// A write to IOTLB_REG with its bit 63 set, with the value of IVA_REG.
std::optional<Invalidation> ParseInvalidateCommand(uint64_t value, uint64_t address);

}  // namespace berth::vmm::vtd
