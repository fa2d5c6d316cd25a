#pragma once

#include "common/status.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// Puts code at the processor's reset vector below 1 MiB (F000:FFF0) that writes to the machine's reset port.
// Linux jumps there in real mode to reboot a machine with hardware-reduced ACPI: it takes such a machine for
// one with EFI, and when it finds none it tries the BIOS before the ACPI reset register.
Status WriteResetVector(const GuestMemory& memory);

}  // namespace berth::vmm
