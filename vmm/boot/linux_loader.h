#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "vmm/boot/image_source.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// Where and how the first processor starts, always with flat segments.
struct BootEntry {
  enum class Mode {
    kLinux64,  // 64-bit mode with identity page tables, RSI at the zero page
    kPvh,      // 32-bit protected mode without paging, EBX at the start information
  };
  Mode mode = Mode::kLinux64;
  uint64_t instruction_pointer = 0;
  uint64_t zero_page = 0;    // in RSI
  uint64_t start_info = 0;   // in EBX
  uint64_t page_tables = 0;  // in CR3: the first 4 GiB, each address maps to itself
  uint64_t gdt = 0;
  uint16_t gdt_limit = 0;
};

struct LinuxBoot {
  const ImageSource* kernel = nullptr;
  const ImageSource* initramfs = nullptr;  // optional
  std::string cmdline;
  uint64_t rsdp = 0;  // 0: no ACPI
};

// Puts the kernel, the initramfs, the command line, the zero page, the descriptor table and the page tables
// into guest memory. Touches nothing else. Errors: the kernel is not bootable (kInvalidArgument), the memory
// is too small or the command line too long for it (kOutOfRange with have and need).
Result<BootEntry> LoadLinux(const GuestMemory& memory, const LinuxBoot& boot);

// Selectors of the descriptor table that LoadLinux writes, as the boot protocol wants them.
inline constexpr uint16_t kBootCodeSelector = 0x10;
inline constexpr uint16_t kBootDataSelector = 0x18;
inline constexpr uint16_t kBootTaskSelector = 0x20;

}  // namespace berth::vmm
