#include "vmm/viommu/vtd/invalidation.h"

namespace berth::vmm::vtd {
namespace {

using Kind = Invalidation::Kind;
using Scope = Invalidation::Scope;

constexpr uint64_t Bits(uint64_t value, uint32_t low, uint32_t count) {
  return value >> low & ((uint64_t{1} << count) - 1);
}

// The granularity of contexts and mappings: 1 to 3.
std::optional<Scope> ScopeOf(uint64_t granularity) {
  if (granularity == 0) return std::nullopt;
  return granularity == 1 ? Scope::kGlobal : granularity == 2 ? Scope::kDomain : Scope::kPart;
}

// FM: how many of the function's bits do not count (6.5.2.1).
uint16_t FunctionMask(uint64_t code) {
  constexpr uint16_t kMasks[] = {0, 4, 6, 7};
  return kMasks[code & 3];
}

bool SetPages(Invalidation& out, uint64_t address) {
  const uint64_t mask = Bits(address, 0, 6);
  if (mask > kMaxAddressMask) return false;
  const uint64_t size = uint64_t{0x1000} << mask;
  out.first = address & ~(size - 1);
  out.last = out.first + size - 1;
  return true;
}

}  // namespace

std::optional<Invalidation> ParseDescriptor(uint64_t low, uint64_t high) {
  if (Bits(low, 9, 3) != 0) return std::nullopt;  // upper bits of the type
  Invalidation out;
  switch (Bits(low, 0, 4)) {
    case 1: {
      out.kind = Kind::kContext;
      const auto scope = ScopeOf(Bits(low, 4, 2));
      if (!scope) return std::nullopt;
      out.scope = *scope;
      if (*scope != Scope::kGlobal) out.domain = static_cast<uint16_t>(Bits(low, 16, 16));
      if (*scope == Scope::kPart) {
        out.source = static_cast<uint16_t>(Bits(low, 32, 16));
        out.source_mask = FunctionMask(Bits(low, 48, 2));
      }
      return out;
    }
    case 2: {
      out.kind = Kind::kMappings;
      const auto scope = ScopeOf(Bits(low, 4, 2));
      if (!scope) return std::nullopt;
      out.scope = *scope;
      if (*scope != Scope::kGlobal) out.domain = static_cast<uint16_t>(Bits(low, 16, 16));
      if (*scope == Scope::kPart && !SetPages(out, high)) return std::nullopt;
      return out;
    }
    case 3:
      out.kind = Kind::kDeviceTlb;
      out.scope = Scope::kPart;
      out.source = static_cast<uint16_t>(Bits(low, 32, 16));
      return out;
    case 4:
      out.kind = Kind::kInterrupts;
      if (Bits(low, 4, 1) == 0) return out;
      out.scope = Scope::kPart;
      out.first = Bits(low, 32, 16) & ~((uint64_t{1} << Bits(low, 27, 5)) - 1);
      out.last = out.first + (uint64_t{1} << Bits(low, 27, 5)) - 1;
      return out;
    case 5:
      out.kind = Kind::kWait;
      out.interrupt = Bits(low, 4, 1) != 0;
      out.write_status = Bits(low, 5, 1) != 0;
      if (out.write_status) {
        out.status = static_cast<uint32_t>(low >> 32);
        out.status_address = high & ~uint64_t{3};
      }
      return out;
    default:
      return std::nullopt;
  }
}

std::optional<Invalidation> ParseContextCommand(uint64_t value) {
  const auto scope = ScopeOf(Bits(value, 61, 2));
  if (!scope) return std::nullopt;
  Invalidation out;
  out.kind = Kind::kContext;
  out.scope = *scope;
  if (*scope != Scope::kGlobal) out.domain = static_cast<uint16_t>(Bits(value, 0, 16));
  if (*scope == Scope::kPart) {
    out.source = static_cast<uint16_t>(Bits(value, 16, 16));
    out.source_mask = FunctionMask(Bits(value, 32, 2));
  }
  return out;
}

std::optional<Invalidation> ParseInvalidateCommand(uint64_t value, uint64_t address) {
  const auto scope = ScopeOf(Bits(value, 60, 2));
  if (!scope) return std::nullopt;
  Invalidation out;
  out.kind = Kind::kMappings;
  out.scope = *scope;
  if (*scope != Scope::kGlobal) out.domain = static_cast<uint16_t>(Bits(value, 32, 16));
  if (*scope == Scope::kPart && !SetPages(out, address)) return std::nullopt;
  return out;
}

}  // namespace berth::vmm::vtd
