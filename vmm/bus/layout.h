#pragma once

#include <cstdint>

// The guest-physical memory map, the ports and the interrupt lines of the machine: the one place where they
// are written down. The x86-64 layout is the one that Cloud Hypervisor's guests know, so that images and
// tools behave alike.
namespace berth::vmm::layout {

// ---- Guest-physical memory, start-up data --------------------------------------------------------------
inline constexpr uint64_t kBootGdt = 0x500;
inline constexpr uint64_t kBootIdt = 0x520;
inline constexpr uint64_t kPvhStartInfo = 0x6000;
inline constexpr uint64_t kPvhModuleList = 0x6040;
inline constexpr uint64_t kPvhMemoryMap = 0x7000;
inline constexpr uint64_t kZeroPage = 0x7000;  // boot_params of a bzImage
inline constexpr uint64_t kPml4 = 0xa000;
inline constexpr uint64_t kPdpt = 0xb000;
inline constexpr uint64_t kPageDirectory = 0xc000;
inline constexpr uint64_t kCommandLine = 0x20000;
inline constexpr uint64_t kCommandLineMax = 0x10000;  // bytes, with the terminating zero
inline constexpr uint64_t kEbdaPointer = 0x40e;
inline constexpr uint64_t kEbda = 0xa0000;  // end of the first RAM range of the e820 map
inline constexpr uint64_t kRsdp = kEbda;
inline constexpr uint64_t kSmbios = 0xf0000;
inline constexpr uint64_t kHighRamInLowMap = 0x100000;  // second RAM range: kernel and up
inline constexpr uint64_t kKernel = 0x100000;

// ---- Guest-physical memory, the map --------------------------------------------------------------------
inline constexpr uint64_t kLowRamEnd = 0xc0000000;  // RAM is [0, 3 GiB) and from 4 GiB
inline constexpr uint64_t kMmio32Base = 0xc0000000;
inline constexpr uint64_t kMmio32Size = uint64_t{640} << 20;
inline constexpr uint64_t kPciConfigBase = 0xe8000000;  // ECAM, one bus (1 MiB) for each segment
inline constexpr uint64_t kPciConfigSize = uint64_t{256} << 20;
inline constexpr uint64_t kPciConfigSegmentSize = uint64_t{1} << 20;
inline constexpr uint64_t kKvmTss = 0xf8000000;  // three pages
inline constexpr uint64_t kKvmTssSize = 3 * 4096;
inline constexpr uint64_t kKvmIdentityMap = kKvmTss + kKvmTssSize;
inline constexpr uint64_t kIoApicBase = 0xfec00000;
inline constexpr uint64_t kIoApicSize = 0x20;
inline constexpr uint64_t kIoApicSizeWithEoi = 0x100;  // of a machine with interrupt remapping
inline constexpr uint64_t kTpmBase = 0xfed40000;
inline constexpr uint64_t kVtdBase = 0xfed90000;  // remapping units of Intel VT-d, one page for each segment
inline constexpr uint64_t kLapicBase = 0xfee00000;
inline constexpr uint64_t kMmio32End = uint64_t{1} << 32;
inline constexpr uint64_t kHighRam = uint64_t{1} << 32;
// The last MiB of the guest-physical address space belongs to the platform's own (ACPI) devices, and the
// 64-bit device window lies between the end of RAM and it.
inline constexpr uint64_t kPlatformAreaSize = uint64_t{1} << 20;
// The 64-bit device window starts at the end of RAM rounded up to this.
inline constexpr uint64_t kMmio64Alignment = uint64_t{1} << 30;

// First address of the platform area of a guest with `physical_bits` address bits (36 to 52).
constexpr uint64_t PlatformAreaBase(uint32_t physical_bits) {
  return (uint64_t{1} << physical_bits) - kPlatformAreaSize;
}
// First address of the 64-bit device window above RAM that ends at `ram_end`.
constexpr uint64_t Mmio64Base(uint64_t ram_end) {
  const uint64_t end = ram_end < kHighRam ? kHighRam : ram_end;
  return (end + kMmio64Alignment - 1) / kMmio64Alignment * kMmio64Alignment;
}
// Its size, 0 when RAM leaves no room for it.
constexpr uint64_t Mmio64Size(uint64_t ram_end, uint32_t physical_bits) {
  const uint64_t base = Mmio64Base(ram_end);
  return base < PlatformAreaBase(physical_bits) ? PlatformAreaBase(physical_bits) - base : 0;
}

// Offsets in the platform area.
inline constexpr uint64_t kGedOffset = 0x0;  // GED notification register, 1 byte, read-to-clear
inline constexpr uint64_t kGedSize = 0x1;
// Register blocks of the hot-plug controllers: vmm/devices/cpu_hotplug.h, memory_hotplug.h, pci_hotplug.h.
inline constexpr uint64_t kCpuHotplugOffset = 0x1000;
inline constexpr uint64_t kCpuHotplugSize = 0x8;
inline constexpr uint64_t kMemoryHotplugOffset = 0x2000;
inline constexpr uint64_t kMemoryHotplugSize = 0x20;
inline constexpr uint64_t kPciHotplugOffset = 0x3000;
inline constexpr uint64_t kPciHotplugSize = 0x10;

// ---- I/O ports -----------------------------------------------------------------------------------------
inline constexpr uint16_t kRtcPort = 0x70;  // index, data
inline constexpr uint16_t kRtcPortSize = 2;
inline constexpr uint16_t kI8042Port = 0x60;  // data 0x60, command 0x64
inline constexpr uint16_t kI8042PortSize = 5;
inline constexpr uint16_t kCom1Port = 0x3f8;
inline constexpr uint16_t kCom1PortSize = 8;
inline constexpr uint16_t kSleepControlPort = 0x600;  // ACPI 6.5, 4.8.3.7: 1 byte each
inline constexpr uint16_t kSleepStatusPort = 0x601;
inline constexpr uint16_t kResetPort = 0x602;  // FADT RESET_REG
inline constexpr uint16_t kPmTimerPort = 0x608;
inline constexpr uint16_t kPmTimerPortSize = 4;
inline constexpr uint16_t kAcpiPortBase = kSleepControlPort;  // sleep and reset registers as one device
inline constexpr uint16_t kAcpiPortSize = 3;
inline constexpr uint16_t kPciConfigAddressPort = 0xcf8;  // address 0xcf8, data 0xcfc, 4 bytes each
inline constexpr uint16_t kPciConfigPortSize = 8;
// Ports for PCI BARs in the host bridge's _CRS: everything from here to the end.
inline constexpr uint16_t kPciIoBase = 0x1000;
inline constexpr uint32_t kPciIoSize = 0xf000;

// ---- Values --------------------------------------------------------------------------------------------
inline constexpr uint8_t kResetValue = 1;        // written to the reset register
inline constexpr uint8_t kSleepTypeS5 = 5;       // SLP_TYP of _S5
inline constexpr uint8_t kSleepEnable = 1 << 5;  // SLP_EN; SLP_TYP stands in bits 2 to 4
inline constexpr uint8_t kGedCpu = 1 << 0;       // bits of the GED notification register
inline constexpr uint8_t kGedMemory = 1 << 1;
inline constexpr uint8_t kGedPci = 1 << 2;
inline constexpr uint8_t kGedPowerButton = 1 << 3;
inline constexpr uint64_t kPmTimerHz = 3579545;

// ---- Interrupt lines (IOAPIC pins = GSIs) --------------------------------------------------------------
inline constexpr uint32_t kIoApicPins = 24;
inline constexpr uint32_t kIoApicId = 0;
inline constexpr uint32_t kCom1Irq = 4;
inline constexpr uint32_t kGedIrq = 5;  // edge triggered, active high
inline constexpr uint32_t kRtcIrq = 8;
inline constexpr uint32_t kFirstIntxIrq = 16;  // INTA of PCI slots, level triggered: slot modulo kIntxPins
inline constexpr uint32_t kIntxPins = 8;
inline constexpr uint32_t kFirstMsiGsi = kIoApicPins;  // GSI routes of MSIs start behind the pins

// ---- PCI -----------------------------------------------------------------------------------------------
inline constexpr uint32_t kPciSlotsPerSegment = 32;
inline constexpr uint32_t kPciSegmentsMax = 96;

// ---- Hot-plug ------------------------------------------------------------------------------------------
inline constexpr uint32_t kMemoryHotplugSlots = 64;  // pieces of memory that can be added by ACPI

}  // namespace berth::vmm::layout
