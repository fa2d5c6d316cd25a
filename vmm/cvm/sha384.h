#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace berth::vmm {

// SHA-384 (FIPS 180-4), for measurements of what a guest starts with. The VMM is one static file without a
// cryptographic library; nothing secret passes through here.
using Sha384Digest = std::array<uint8_t, 48>;

class Sha384 {
 public:
  Sha384();
  void Update(std::span<const uint8_t> data);
  Sha384Digest Finish();
  static Sha384Digest Of(std::span<const uint8_t> data);

 private:
  void Block(const uint8_t* block);

  std::array<uint64_t, 8> state_;
  std::array<uint8_t, 128> buffer_{};
  uint64_t length_ = 0;  // bytes
};

}  // namespace berth::vmm
