#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth::vmm {

// What an error number of a launch command means there; {errno, text}.
struct ErrnoMeaning {
  int error;
  std::string_view meaning;
};

// "KVM_TDX_INIT_VM: Invalid argument: <meaning> (TDX module status 0xc000010000000000)". `detail`: what
// firmware or module said, may be empty.
Status CommandError(std::string_view command, int error, std::initializer_list<ErrnoMeaning> meanings,
                    const std::string& detail = {});

// "0x1f"
std::string HexNumber(uint64_t value);

// Commands that a signal or another command got in the way of are given again, this often at most.
inline constexpr int kCommandTries = 1000;

}  // namespace berth::vmm
