#pragma once

#include <cstdint>

// Registers, bits and numbers of the VT-d specification (Intel 329298, legacy mode), as far as the unit has
// them. Names of the specification stand behind each line.
namespace berth::vmm::vtd {

inline constexpr uint64_t kUnitSize = 0x1000;  // bytes of registers

// ---- Registers (11.4), by offset
inline constexpr uint32_t kVersion = 0x00;             // VER_REG
inline constexpr uint32_t kCapability = 0x08;          // CAP_REG, 64 bits
inline constexpr uint32_t kExtendedCapability = 0x10;  // ECAP_REG, 64 bits
inline constexpr uint32_t kGlobalCommand = 0x18;       // GCMD_REG
inline constexpr uint32_t kGlobalStatus = 0x1c;        // GSTS_REG
inline constexpr uint32_t kRootTable = 0x20;           // RTADDR_REG, 64 bits
inline constexpr uint32_t kContextCommand = 0x28;      // CCMD_REG, 64 bits
inline constexpr uint32_t kFaultStatus = 0x34;         // FSTS_REG
inline constexpr uint32_t kFaultControl = 0x38;        // FECTL_REG
inline constexpr uint32_t kFaultData = 0x3c;           // FEDATA_REG
inline constexpr uint32_t kFaultAddress = 0x40;        // FEADDR_REG
inline constexpr uint32_t kFaultUpperAddress = 0x44;   // FEUADDR_REG
inline constexpr uint32_t kQueueHead = 0x80;           // IQH_REG, 64 bits
inline constexpr uint32_t kQueueTail = 0x88;           // IQT_REG, 64 bits
inline constexpr uint32_t kQueueAddress = 0x90;        // IQA_REG, 64 bits
inline constexpr uint32_t kCompletionStatus = 0x9c;    // ICS_REG
inline constexpr uint32_t kCompletionControl = 0xa0;   // IECTL_REG
inline constexpr uint32_t kCompletionData = 0xa4;      // IEDATA_REG
inline constexpr uint32_t kCompletionAddress = 0xa8;   // IEADDR_REG
inline constexpr uint32_t kCompletionUpper = 0xac;     // IEUADDR_REG
inline constexpr uint32_t kInterruptTable = 0xb8;      // IRTA_REG, 64 bits
inline constexpr uint32_t kInvalidateAddress = 0xf0;   // IVA_REG, 64 bits
inline constexpr uint32_t kInvalidateCommand = 0xf8;   // IOTLB_REG, 64 bits
inline constexpr uint32_t kFaultRecords = 0x220;       // FRCD_REG, 128 bits each
inline constexpr uint32_t kFaultRecordCount = 8;
inline constexpr uint32_t kFaultRecordSize = 16;
inline constexpr uint32_t kArchitecture = 0x10;  // version 1.0

// ---- Global command and status
inline constexpr uint32_t kTranslation = 1u << 31;        // TE, TES
inline constexpr uint32_t kSetRootTable = 1u << 30;       // SRTP, RTPS
inline constexpr uint32_t kWriteBufferFlush = 1u << 27;   // WBF
inline constexpr uint32_t kQueued = 1u << 26;             // QIE, QIES
inline constexpr uint32_t kRemapping = 1u << 25;          // IRE, IRES
inline constexpr uint32_t kSetInterruptTable = 1u << 24;  // SIRTP, IRTPS
inline constexpr uint32_t kCompatibility = 1u << 23;      // CFI, CFIS

// ---- Fault status
inline constexpr uint32_t kFaultOverflow = 1u << 0;  // PFO
inline constexpr uint32_t kFaultPending = 1u << 1;   // PPF
inline constexpr uint32_t kQueueError = 1u << 4;     // IQE

// ---- Why an access or an interrupt did not happen (7.1.3, legacy mode)
enum class Reason : uint8_t {
  kNone = 0,
  kRootNotPresent = 0x1,
  kContextNotPresent = 0x2,
  kContextInvalid = 0x3,
  kAddressTooHigh = 0x4,
  kWrite = 0x5,
  kRead = 0x6,
  kTableUnreadable = 0x7,
  kRootUnreadable = 0x8,
  kContextUnreadable = 0x9,
  kRootReserved = 0xa,
  kContextReserved = 0xb,
  kEntryReserved = 0xc,
  kIndexTooHigh = 0x21,
  kIrteNotPresent = 0x22,
  kIrteUnreadable = 0x23,
  kIrteReserved = 0x24,
  kCompatibilityBlocked = 0x25,
  kWrongSource = 0x26,
};

// Addresses where writes are interrupts, never translated (3.14).
inline constexpr uint64_t kInterruptFirst = 0xfee00000;
inline constexpr uint64_t kInterruptLast = 0xfeefffff;

}  // namespace berth::vmm::vtd
