#pragma once

#include <functional>
#include <memory>

#include "vmm/bus/pci_function.h"

namespace berth::vmm {

// What a guest tells when it has crashed.
enum class GuestPanic { kPanicked, kCrashLoaded };

// The paravirtualised panic device as a PCI function (QEMU's docs/specs/pvpanic): one byte in BAR 0 reads as
// the events that it knows and takes those that have happened. `on_panic` runs on the vCPU's thread and must
// be short. Thread-safe.
std::shared_ptr<PciFunction> MakePvpanic(std::function<void(GuestPanic)> on_panic);

}  // namespace berth::vmm
