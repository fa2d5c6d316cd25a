#pragma once

#include <cstdint>
#include <string>

namespace berth::cli {

// What a 24-bit PCI class code stands for, in a word or two (PCI Code and ID Assignment 1.11, 1.2 ff.):
// "ethernet", "nvme", "3d controller"; "class 0x1a2b3c" for what is not in the list.
std::string PciClassName(uint32_t class_code);

// Bridges and system peripherals: what the board consists of, not what is handed out.
bool IsPlatformDevice(uint32_t class_code);

}  // namespace berth::cli
