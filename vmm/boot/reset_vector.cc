#include "vmm/boot/reset_vector.h"

#include <array>

#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kResetVector = 0xffff0;

}  // namespace

Status WriteResetVector(const GuestMemory& memory) {
  constexpr std::array<uint8_t, 10> kCode = {
      0xba,
      layout::kResetPort & 0xff,
      layout::kResetPort >> 8,  // mov dx, port
      0xb0,
      layout::kResetValue,  // mov al, value
      0xee,                 // out dx, al
      0xfa,                 // cli
      0xf4,                 // hlt
      0xeb,
      0xfd,  // jmp to the hlt
  };
  return memory.Write(Gpa{kResetVector}, kCode);
}

}  // namespace berth::vmm
