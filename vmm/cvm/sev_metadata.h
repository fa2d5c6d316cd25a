#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// Pages that OVMF wants in an SEV-SNP guest's memory (edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm).
struct SevSection {
  enum class Type : uint32_t {
    kMemory = 1,
    kSecrets = 2,
    kCpuid = 3,
    kSvsmCallingArea = 4,
    kKernelHashes = 0x10
  };
  Type type = Type::kMemory;
  uint32_t gpa = 0;
  uint32_t size = 0;

  friend bool operator==(const SevSection&, const SevSection&) = default;
};

struct SevMetadata {
  std::vector<SevSection> sections;  // in the order of the image
  uint32_t reset_eip = 0xfffffff0;   // where processors other than the first start
};

// kInvalidArgument: no metadata, or broken. The image may be any bytes.
Result<SevMetadata> ParseSevMetadata(std::span<const uint8_t> image);

}  // namespace berth::vmm
