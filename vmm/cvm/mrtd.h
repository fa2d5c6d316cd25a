#pragma once

#include <cstdint>
#include <span>

#include "vmm/cvm/sha384.h"

namespace berth::vmm {

// The measurement of a TD's build, as the TDX module computes it (Intel TDX Module Base Architecture
// Specification, TDH.MEM.PAGE.ADD and TDH.MR.EXTEND): the address of each page, and its content in pieces of
// 256 bytes where that is asked for. KVM adds a page and extends by it before it goes to the next.
class MrtdBuilder {
 public:
  // One page of 4 KiB at `gpa`.
  void AddPage(uint64_t gpa);
  void ExtendPage(uint64_t gpa, std::span<const uint8_t> page);
  Sha384Digest Finish() { return hash_.Finish(); }

 private:
  Sha384 hash_;
};

}  // namespace berth::vmm
