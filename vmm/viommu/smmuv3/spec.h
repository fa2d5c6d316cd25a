#pragma once

#include <cstdint>

// Registers, commands, events and numbers of Arm's SMMU architecture version 3 (IHI 0070), as far as the
// model has them. Names of the specification stand behind each line.
namespace berth::vmm::smmuv3 {

inline constexpr uint64_t kRegistersSize = 0x20000;  // two pages of 64 KiB

// ---- Registers (chapter 6), by offset
inline constexpr uint32_t kIdr0 = 0x0, kIdr1 = 0x4, kIdr5 = 0x14, kAidr = 0x1c;
inline constexpr uint32_t kControl0 = 0x20;          // CR0
inline constexpr uint32_t kControl0Ack = 0x24;       // CR0ACK
inline constexpr uint32_t kControl1 = 0x28;          // CR1
inline constexpr uint32_t kControl2 = 0x2c;          // CR2
inline constexpr uint32_t kGlobalBypass = 0x44;      // GBPA
inline constexpr uint32_t kInterruptControl = 0x50;  // IRQ_CTRL
inline constexpr uint32_t kInterruptControlAck = 0x54;
inline constexpr uint32_t kError = 0x60;             // GERROR
inline constexpr uint32_t kErrorAck = 0x64;          // GERRORN
inline constexpr uint32_t kErrorMsi = 0x68;          // GERROR_IRQ_CFG0 (64 bits), CFG1 and CFG2 behind it
inline constexpr uint32_t kStreamTable = 0x80;       // STRTAB_BASE, 64 bits
inline constexpr uint32_t kStreamTableForm = 0x88;   // STRTAB_BASE_CFG
inline constexpr uint32_t kCommandQueue = 0x90;      // CMDQ_BASE, 64 bits
inline constexpr uint32_t kCommandProducer = 0x98;   // CMDQ_PROD
inline constexpr uint32_t kCommandConsumer = 0x9c;   // CMDQ_CONS
inline constexpr uint32_t kEventQueue = 0xa0;        // EVENTQ_BASE, 64 bits
inline constexpr uint32_t kEventMsi = 0xb0;          // EVENTQ_IRQ_CFG0 (64 bits), CFG1 and CFG2 behind it
inline constexpr uint32_t kEventProducer = 0x100a8;  // EVENTQ_PROD
inline constexpr uint32_t kEventConsumer = 0x100ac;  // EVENTQ_CONS

// ---- CR0
inline constexpr uint32_t kEnable = 1 << 0;          // SMMUEN
inline constexpr uint32_t kEventsEnable = 1 << 2;    // EVENTQEN
inline constexpr uint32_t kCommandsEnable = 1 << 3;  // CMDQEN
// ---- GBPA
inline constexpr uint32_t kGlobalAbort = 1u << 20;
inline constexpr uint32_t kUpdate = 1u << 31;
// ---- IRQ_CTRL
inline constexpr uint32_t kErrorInterrupt = 1 << 0;
inline constexpr uint32_t kEventInterrupt = 1 << 2;
// ---- GERROR
inline constexpr uint32_t kCommandError = 1 << 0;  // CMDQ_ERR
inline constexpr uint32_t kEventLost = 1 << 2;     // EVENTQ_ABT_ERR

// Why a command was not carried out (CMDQ_CONS.ERR).
enum class CommandFault : uint8_t { kNone = 0, kIllegal = 1, kUnreadable = 2 };

// Why an access does not happen (7.3).
enum class Event : uint8_t {
  kNone = 0,
  kBadStream = 0x02,       // C_BAD_STREAMID
  kStreamFetch = 0x03,     // F_STE_FETCH
  kBadStreamEntry = 0x04,  // C_BAD_STE
  kContextFetch = 0x09,    // F_CD_FETCH
  kBadContext = 0x0a,      // C_BAD_CD
  kWalkAbort = 0x0b,       // F_WALK_EABT
  kTranslation = 0x10,     // F_TRANSLATION
  kAddressSize = 0x11,     // F_ADDR_SIZE
  kAccessFlag = 0x12,      // F_ACCESS
  kPermission = 0x13,      // F_PERMISSION
};

}  // namespace berth::vmm::smmuv3
