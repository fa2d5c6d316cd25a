#pragma once

#include "common/status.h"
#include "vmm/boot/linux_loader.h"

namespace berth::vmm {

// As LoadLinux, for an ELF kernel that is entered by the PVH protocol (Xen's docs/misc/pvh.pandoc): 32-bit
// protected mode without paging, the start information in EBX.
Result<BootEntry> LoadPvh(const GuestMemory& memory, const LinuxBoot& boot);

// Either, as the image is.
Result<BootEntry> LoadKernel(const GuestMemory& memory, const LinuxBoot& boot);

// Selectors of the descriptor table that LoadPvh writes.
inline constexpr uint16_t kPvhCodeSelector = 0x8;
inline constexpr uint16_t kPvhDataSelector = 0x10;
inline constexpr uint16_t kPvhTaskSelector = 0x18;

}  // namespace berth::vmm
