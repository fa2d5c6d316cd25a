#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace berth::vmm {

// The smallest image that the loader accepts: boot protocol 2.15, one setup sector, 64 KiB of code whose
// bytes tell their offset. Tests spoil it.
class KernelImage {
 public:
  static constexpr uint64_t kPayload = 1024;
  static constexpr uint64_t kCode = 64 << 10;

  KernelImage() : bytes_(kPayload + kCode) {
    for (size_t i = kPayload; i < bytes_.size(); i++) bytes_[i] = static_cast<uint8_t>(i / 251);
    Set<uint8_t>(0x1f1, 1);            // setup sectors
    Set<uint32_t>(0x1f4, kCode / 16);  // size of the code
    Set<uint16_t>(0x1fe, 0xaa55);
    Set<uint8_t>(0x200, 0xeb).Set<uint8_t>(0x201, 0x6a);
    std::memcpy(bytes_.data() + 0x202, "HdrS", 4);
    Set<uint16_t>(0x206, 0x020f);
    Set<uint32_t>(0x22c, 0x7fffffff);  // initrd_addr_max
    Set<uint32_t>(0x230, 0x200000);    // kernel_alignment
    Set<uint8_t>(0x234, 1);            // relocatable
    Set<uint16_t>(0x236, 1);           // 64-bit entry
    Set<uint32_t>(0x238, 2047);        // cmdline_size
    Set<uint64_t>(0x258, 0x1000000);   // pref_address
    Set<uint32_t>(0x260, 0x800000);    // init_size
  }

  template <class T>
  KernelImage& Set(size_t offset, T value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof value);
    return *this;
  }
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace berth::vmm
