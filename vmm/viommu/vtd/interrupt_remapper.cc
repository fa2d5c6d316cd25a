#include "vmm/viommu/vtd/interrupt_remapper.h"

namespace berth::vmm::vtd {
namespace {

// Of a message's address (5.1.2.2).
constexpr uint64_t kRemappable = 1 << 4;
constexpr uint64_t kSubhandleValid = 1 << 3;
constexpr uint64_t kHandleHigh = 1 << 2;  // bit 15 of the handle

// Of IRTA_REG.
constexpr uint64_t kExtendedMode = 1 << 11;
constexpr uint64_t kTableMask = ~uint64_t{0xfff};

struct Irte {
  uint64_t low, high;
};
constexpr uint64_t kPresent = 1 << 0;
constexpr uint64_t kQuiet = 1 << 1;
constexpr uint64_t kLogical = 1 << 2;
constexpr uint64_t kRedirectionHint = 1 << 3;
constexpr uint64_t kLevel = 1 << 4;
// Bits 12 to 15 (of which 15 is for posted interrupts) and 24 to 31; above the source in the high half.
constexpr uint64_t kReservedLow = 0xff00f000;
constexpr uint32_t kReservedHigh = 20;

bool IsInterrupt(const MsiMessage& message) {
  const uint64_t low = message.address & 0xffffffff;
  return low >= kInterruptFirst && low <= kInterruptLast;
}

// 9.10, SVT, SQ and SID. None: the entry is not right.
std::optional<bool> SourceMatches(const Irte& entry, uint16_t source) {
  const auto wanted = static_cast<uint16_t>(entry.high);
  switch (entry.high >> 18 & 3) {
    case 0:
      return true;
    case 1: {
      constexpr uint16_t kCounts[] = {0xffff, 0xfffb, 0xfff9, 0xfff8};
      const uint16_t mask = kCounts[entry.high >> 16 & 3];
      return (wanted & mask) == (source & mask);
    }
    case 2:
      return source >> 8 >= wanted >> 8 && source >> 8 <= (wanted & 0xff);
    default:
      return std::nullopt;
  }
}

// What KVM's local APICs take: destination bits 8 and up lie in the address's high half.
MsiMessage MessageOf(const Irte& entry, bool extended) {
  const auto word = static_cast<uint32_t>(entry.low >> 32);
  const uint64_t destination = extended ? word : word >> 8 & 0xff;
  MsiMessage message;
  message.address = kInterruptFirst | (destination & 0xff) << 12 | (destination & 0xffffff00) << 32;
  if ((entry.low & kRedirectionHint) != 0) message.address |= 1 << 3;
  if ((entry.low & kLogical) != 0) message.address |= 1 << 2;
  message.data = static_cast<uint32_t>(entry.low >> 16 & 0xff) |       // vector
                 static_cast<uint32_t>(entry.low >> 5 & 7) << 8;       // delivery mode
  if ((entry.low & kLevel) != 0) message.data |= 1u << 15 | 1u << 14;  // level, asserted
  return message;
}

}  // namespace

std::optional<uint32_t> InterruptRemapper::IndexOf(const MsiMessage& message) {
  if (!IsInterrupt(message) || (message.address & kRemappable) == 0) return std::nullopt;
  uint32_t index = static_cast<uint32_t>(message.address >> 5 & 0x7fff);
  if ((message.address & kHandleHigh) != 0) index |= 1u << 15;
  if ((message.address & kSubhandleValid) != 0) index += message.data & 0xffff;
  return index;
}

void InterruptRemapper::SetTable(uint64_t register_value) {
  std::lock_guard lock(mutex_);
  state_.table = register_value;
}

void InterruptRemapper::SetEnabled(bool enabled) {
  std::lock_guard lock(mutex_);
  state_.enabled = enabled;
}

void InterruptRemapper::SetCompatibility(bool allowed) {
  std::lock_guard lock(mutex_);
  state_.compatibility = allowed;
}

std::optional<MsiMessage> InterruptRemapper::Remap(uint16_t source, const MsiMessage& message,
                                                   bool report) const {
  State state;
  {
    std::lock_guard lock(mutex_);
    state = state_;
  }
  const Outcome outcome = Look(state, source, message);
  if (outcome.reason != Reason::kNone && report && !outcome.quiet) {
    on_fault_(source, static_cast<uint16_t>(IndexOf(message).value_or(0)), outcome.reason);
  }
  return outcome.message;
}

InterruptRemapper::Outcome InterruptRemapper::Look(const State& state, uint16_t source,
                                                   const MsiMessage& message) const {
  const auto fail = [](Reason reason, bool quiet = false) {
    return Outcome{.reason = reason, .quiet = quiet};
  };
  if (!state.enabled || !IsInterrupt(message)) return {.message = message};
  const bool extended = extended_ && (state.table & kExtendedMode) != 0;
  const std::optional<uint32_t> index = IndexOf(message);
  if (!index) {
    if (state.compatibility && !extended) return {.message = message};
    return fail(Reason::kCompatibilityBlocked);
  }
  if (*index >= uint32_t{2} << (state.table & 0xf)) return fail(Reason::kIndexTooHigh);
  const uint64_t table = state.table & kTableMask;
  const Result<Irte> entry = memory_.ReadObject<Irte>(Gpa{table + sizeof(Irte) * uint64_t{*index}});
  if (!entry.has_value()) return fail(Reason::kIrteUnreadable);
  const bool quiet = (entry->low & kQuiet) != 0;
  if ((entry->low & kPresent) == 0) return fail(Reason::kIrteNotPresent, quiet);
  if ((entry->low & kReservedLow) != 0 || entry->high >> kReservedHigh != 0) {
    return fail(Reason::kIrteReserved, quiet);
  }
  const std::optional<bool> matches = SourceMatches(*entry, source);
  if (!matches) return fail(Reason::kIrteReserved, quiet);
  if (!*matches) return fail(Reason::kWrongSource, quiet);
  return {.message = MessageOf(*entry, extended)};
}

}  // namespace berth::vmm::vtd
