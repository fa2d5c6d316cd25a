#include "vmm/boot/linux_loader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include "common/byte_size.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/e820.h"
#include "vmm/boot/guest_image.h"
#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kEntry64Offset = 0x200;

// Fields of the zero page (struct boot_params).
constexpr size_t kRsdpField = 0x70;
constexpr size_t kRamdiskHighField = 0xc0, kRamdiskSizeHighField = 0xc4, kCommandLineHighField = 0xc8;
constexpr size_t kE820CountField = 0x1e8;
constexpr size_t kLoaderField = 0x210, kLoadFlagsField = 0x211;
constexpr size_t kRamdiskField = 0x218, kRamdiskSizeField = 0x21c, kHeapEndField = 0x224,
                 kCommandLineField = 0x228;
constexpr size_t kE820Field = 0x2d0, kE820EntrySize = 20, kE820Max = 128;
constexpr uint8_t kUndefinedLoader = 0xff;
constexpr uint8_t kCanUseHeap = 0x80;

using ZeroPage = std::array<uint8_t, kPage>;

template <class T>
void Put(ZeroPage& page, size_t offset, T value) {
  std::memcpy(page.data() + offset, &value, sizeof value);
}

uint64_t RoundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

struct Placement {
  uint64_t kernel = 0;
  uint64_t kernel_end = 0;  // of all that it uses before it reads its memory map
};

// A relocatable kernel unpacks itself at its preferred address when it is loaded below it, so the memory from
// there on must exist.
Result<Placement> PlaceKernel(const BzImage& kernel, uint64_t low_end) {
  Placement placement;
  placement.kernel = kernel.relocatable ? layout::kKernel : kernel.preferred_address;
  if (placement.kernel < layout::kKernel || placement.kernel >= layout::kLowRamEnd) {
    return InvalidArgument(
        "the kernel wants to be loaded at " + std::to_string(placement.kernel) + ", allowed 1 MiB to 3 GiB",
        "kernel");
  }
  if (kernel.preferred_address >= layout::kLowRamEnd) {
    return InvalidArgument(
        "the kernel prefers address " + std::to_string(kernel.preferred_address) + ", allowed below 3 GiB",
        "kernel");
  }
  uint64_t unpacked = std::max(RoundUp(placement.kernel, kernel.alignment), kernel.preferred_address);
  placement.kernel_end = std::max(placement.kernel + kernel.payload_size, unpacked + kernel.init_size);
  if (placement.kernel_end > low_end) return TooSmallFor("the kernel", placement.kernel_end, low_end);
  return placement;
}

// As high as the kernel and the low RAM allow, on a page.
Result<uint64_t> PlaceInitramfs(const BzImage& kernel, const Placement& placement, uint64_t size,
                                uint64_t low_end) {
  uint64_t top = std::min(low_end, uint64_t{kernel.initrd_max} + 1);
  uint64_t floor = RoundUp(placement.kernel_end, kPage);
  if (size > top || (top - size) / kPage * kPage < floor) {
    return TooSmallFor("the initramfs of " + ByteSize(size).ToHuman() + " behind the kernel", floor + size,
                       top);
  }
  return (top - size) / kPage * kPage;
}

Status WriteCommandLine(const GuestMemory& memory, const BzImage& kernel, const std::string& cmdline) {
  uint64_t limit = std::min<uint64_t>(layout::kCommandLineMax - 1, kernel.cmdline_max);
  if (cmdline.size() > limit) {
    return OutOfRange("command line has " + std::to_string(cmdline.size()) +
                          " bytes, the kernel takes at most " + std::to_string(limit),
                      "cmdline");
  }
  if (cmdline.find('\0') != std::string::npos) return InvalidArgument("contains a zero byte", "cmdline");
  return memory.Write(Gpa{layout::kCommandLine},
                      {reinterpret_cast<const uint8_t*>(cmdline.c_str()), cmdline.size() + 1});
}

Status WriteZeroPage(const GuestMemory& memory, const BzImage& kernel, uint64_t initramfs,
                     uint64_t initramfs_size, uint64_t rsdp) {
  ZeroPage page{};
  std::copy(kernel.setup_header.begin(), kernel.setup_header.end(), page.begin() + kSetupHeaderOffset);
  Put<uint64_t>(page, kRsdpField, rsdp);
  Put<uint8_t>(page, kLoaderField, kUndefinedLoader);
  page[kLoadFlagsField] |= kCanUseHeap;
  Put<uint16_t>(page, kHeapEndField, 0xfe00);
  Put<uint32_t>(page, kRamdiskField, static_cast<uint32_t>(initramfs));
  Put<uint32_t>(page, kRamdiskHighField, static_cast<uint32_t>(initramfs >> 32));
  Put<uint32_t>(page, kRamdiskSizeField, static_cast<uint32_t>(initramfs_size));
  Put<uint32_t>(page, kRamdiskSizeHighField, static_cast<uint32_t>(initramfs_size >> 32));
  Put<uint32_t>(page, kCommandLineField, static_cast<uint32_t>(layout::kCommandLine));
  Put<uint32_t>(page, kCommandLineHighField, 0);
  std::vector<E820Entry> map = BuildE820(memory);
  if (map.size() > kE820Max) {
    return OutOfRange("memory map has " + std::to_string(map.size()) + " entries, at most 128", "memory");
  }
  Put<uint8_t>(page, kE820CountField, static_cast<uint8_t>(map.size()));
  for (size_t i = 0; i < map.size(); i++) {
    size_t at = kE820Field + i * kE820EntrySize;
    Put<uint64_t>(page, at, map[i].base);
    Put<uint64_t>(page, at + 8, map[i].size);
    Put<uint32_t>(page, at + 16, map[i].type);
  }
  return memory.Write(Gpa{layout::kZeroPage}, page);
}

// Flat 64-bit code, data and a task segment at the selectors that the boot protocol names.
Status WriteDescriptors(const GuestMemory& memory) {
  constexpr std::array<uint64_t, 6> kGdt = {
      0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067, 0,
  };
  return memory.WriteObject(Gpa{layout::kBootGdt}, kGdt);
}

// Identity map of the first 4 GiB by 2 MiB pages: one top table, one pointer table, four directories.
Status WritePageTables(const GuestMemory& memory) {
  constexpr uint64_t kPresentWritable = 0x3, kLargePage = 0x80;
  std::array<uint64_t, 512> table{};
  table[0] = layout::kPdpt | kPresentWritable;
  TRY(memory.WriteObject(Gpa{layout::kPml4}, table));
  table = {};
  for (uint64_t i = 0; i < 4; i++) table[i] = (layout::kPageDirectory + i * kPage) | kPresentWritable;
  TRY(memory.WriteObject(Gpa{layout::kPdpt}, table));
  for (uint64_t directory = 0; directory < 4; directory++) {
    for (uint64_t i = 0; i < 512; i++)
      table[i] = ((directory * 512 + i) << 21) | kPresentWritable | kLargePage;
    TRY(memory.WriteObject(Gpa{layout::kPageDirectory + directory * kPage}, table));
  }
  return OkStatus();
}

}  // namespace

Result<BootEntry> LoadLinux(const GuestMemory& memory, const LinuxBoot& boot) {
  TRY_ASSIGN(BzImage kernel, ParseBzImage(*boot.kernel));
  uint64_t low_end = LowRamEnd(memory);
  TRY_ASSIGN(Placement placement, PlaceKernel(kernel, low_end));
  uint64_t initramfs = 0, initramfs_size = 0;
  if (boot.initramfs != nullptr && boot.initramfs->size() > 0) {
    initramfs_size = boot.initramfs->size();
    TRY_ASSIGN(initramfs, PlaceInitramfs(kernel, placement, initramfs_size, low_end));
  }
  TRY(WriteCommandLine(memory, kernel, boot.cmdline));
  TRY(WriteZeroPage(memory, kernel, initramfs, initramfs_size, boot.rsdp));
  TRY(WriteDescriptors(memory));
  TRY(WritePageTables(memory));
  TRY(ReadIntoGuest(memory, *boot.kernel, kernel.payload_offset, Gpa{placement.kernel}, kernel.payload_size));
  if (initramfs_size > 0) TRY(ReadIntoGuest(memory, *boot.initramfs, 0, Gpa{initramfs}, initramfs_size));

  BootEntry entry;
  entry.instruction_pointer = placement.kernel + kEntry64Offset;
  entry.zero_page = layout::kZeroPage;
  entry.page_tables = layout::kPml4;
  entry.gdt = layout::kBootGdt;
  entry.gdt_limit = 6 * sizeof(uint64_t) - 1;
  return entry;
}

}  // namespace berth::vmm
