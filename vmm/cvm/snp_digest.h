#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vmm/cvm/sha384.h"

namespace berth::vmm {

// The launch digest of an SEV-SNP guest, as the firmware computes it (SEV Secure Nested Paging Firmware ABI
// Specification, section 8.17: each page chains a PAGE_INFO of 112 bytes into the digest).
class SnpDigest {
 public:
  // `page`: 4 KiB.
  void AddNormal(uint64_t gpa, std::span<const uint8_t> page);
  // Each of `size` bytes' pages, without their content.
  void AddZero(uint64_t gpa, uint64_t size);
  void AddUnmeasured(uint64_t gpa, uint64_t size);
  void AddSecrets(uint64_t gpa);
  void AddCpuid(uint64_t gpa);
  // A vCPU's state; KVM adds one for each at the end of the launch.
  void AddVmsa(std::span<const uint8_t> page);

  const Sha384Digest& value() const { return value_; }
  // As if pages had been added already, whose digest is known.
  static SnpDigest StartingAt(const Sha384Digest& value);

 private:
  void Add(uint8_t type, uint64_t gpa, const Sha384Digest& contents);

  Sha384Digest value_{};
};

}  // namespace berth::vmm
