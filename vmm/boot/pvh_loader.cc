#include "vmm/boot/pvh_loader.h"

#include <algorithm>
#include <array>
#include <vector>

#include "common/byte_size.h"
#include "vmm/boot/e820.h"
#include "vmm/boot/elf_kernel.h"
#include "vmm/boot/guest_image.h"
#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr size_t kMapMax = 128;

// struct hvm_start_info, version 1, and what it points to.
struct StartInfo {
  uint32_t magic = 0x336ec578;
  uint32_t version = 1;
  uint32_t flags = 0;
  uint32_t modules = 0;
  uint64_t module_list = 0;
  uint64_t command_line = 0;
  uint64_t rsdp = 0;
  uint64_t memory_map = 0;
  uint32_t memory_map_entries = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(StartInfo) == 56);
struct Module {
  uint64_t address = 0;
  uint64_t size = 0;
  uint64_t command_line = 0;
  uint64_t reserved = 0;
};
struct MapEntry {
  uint64_t address = 0;
  uint64_t size = 0;
  uint32_t type = 0;
  uint32_t reserved = 0;
};
static_assert(layout::kPvhStartInfo + sizeof(StartInfo) <= layout::kPvhModuleList);
static_assert(layout::kPvhMemoryMap + kMapMax * sizeof(MapEntry) <= layout::kCommandLine);

Status Zero(const GuestMemory& memory, uint64_t from, uint64_t size) {
  static constexpr std::array<uint8_t, 4096> kZeros{};
  while (size > 0) {
    const uint64_t count = std::min<uint64_t>(size, kZeros.size());
    TRY(memory.Write(Gpa{from}, std::span(kZeros).first(count)));
    from += count;
    size -= count;
  }
  return OkStatus();
}

// Loads the segments; returns the end of the highest.
Result<uint64_t> LoadSegments(const GuestMemory& memory, const ImageSource& image, const ElfKernel& kernel,
                              uint64_t low_end) {
  uint64_t end = 0;
  for (const ElfKernel::Segment& segment : kernel.segments) {
    if (segment.address < layout::kKernel) {
      return InvalidArgument(
          "the kernel wants to be loaded at " + std::to_string(segment.address) + ", allowed 1 MiB to 3 GiB",
          "kernel");
    }
    if (segment.address >= low_end || segment.memory_size > low_end - segment.address) {
      return TooSmallFor("the kernel", segment.address + segment.memory_size, low_end);
    }
    TRY(ReadIntoGuest(memory, image, segment.offset, Gpa{segment.address}, segment.file_size));
    // After a reset the memory is not fresh.
    TRY(Zero(memory, segment.address + segment.file_size, segment.memory_size - segment.file_size));
    end = std::max(end, segment.address + segment.memory_size);
  }
  if (kernel.entry < layout::kKernel || kernel.entry >= end) {
    return InvalidArgument("the kernel's entry point lies outside of it", "kernel");
  }
  return end;
}

Status WriteCommandLine(const GuestMemory& memory, const std::string& cmdline) {
  if (cmdline.size() >= layout::kCommandLineMax || cmdline.find('\0') != std::string::npos) {
    return OutOfRange("command line of " + std::to_string(cmdline.size()) + " bytes, at most " +
                          std::to_string(layout::kCommandLineMax - 1) + " without a zero byte",
                      "cmdline");
  }
  return memory.Write(Gpa{layout::kCommandLine},
                      {reinterpret_cast<const uint8_t*>(cmdline.c_str()), cmdline.size() + 1});
}

Status WriteDescriptors(const GuestMemory& memory) {
  // Flat 32-bit code and data, a task segment.
  constexpr std::array<uint64_t, 4> kGdt = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067};
  return memory.WriteObject(Gpa{layout::kBootGdt}, kGdt);
}

Result<uint32_t> WriteMap(const GuestMemory& memory) {
  const std::vector<E820Entry> map = BuildE820(memory);
  if (map.size() > kMapMax) {
    return OutOfRange("memory map has " + std::to_string(map.size()) + " entries, at most 128", "memory");
  }
  for (size_t i = 0; i < map.size(); ++i) {
    const MapEntry entry{map[i].base, map[i].size, map[i].type, 0};
    TRY(memory.WriteObject(Gpa{layout::kPvhMemoryMap + i * sizeof entry}, entry));
  }
  return static_cast<uint32_t>(map.size());
}

}  // namespace

Result<BootEntry> LoadPvh(const GuestMemory& memory, const LinuxBoot& boot) {
  TRY_ASSIGN(const ElfKernel kernel, ParseElfKernel(*boot.kernel));
  const uint64_t low_end = LowRamEnd(memory);
  TRY_ASSIGN(const uint64_t kernel_end, LoadSegments(memory, *boot.kernel, kernel, low_end));
  StartInfo info;
  if (boot.initramfs != nullptr && boot.initramfs->size() > 0) {
    const uint64_t size = boot.initramfs->size();
    const uint64_t floor = (kernel_end + kPage - 1) / kPage * kPage;
    if (size > low_end || (low_end - size) / kPage * kPage < floor) {
      return TooSmallFor("the initramfs of " + ByteSize(size).ToHuman() + " behind the kernel", floor + size,
                         low_end);
    }
    const Module module{(low_end - size) / kPage * kPage, size, 0, 0};
    TRY(ReadIntoGuest(memory, *boot.initramfs, 0, Gpa{module.address}, size));
    TRY(memory.WriteObject(Gpa{layout::kPvhModuleList}, module));
    info.modules = 1;
    info.module_list = layout::kPvhModuleList;
  }
  TRY(WriteCommandLine(memory, boot.cmdline));
  TRY(WriteDescriptors(memory));
  TRY_ASSIGN(info.memory_map_entries, WriteMap(memory));
  info.memory_map = layout::kPvhMemoryMap;
  info.command_line = layout::kCommandLine;
  info.rsdp = boot.rsdp;
  TRY(memory.WriteObject(Gpa{layout::kPvhStartInfo}, info));

  BootEntry entry;
  entry.mode = BootEntry::Mode::kPvh;
  entry.instruction_pointer = kernel.entry;
  entry.start_info = layout::kPvhStartInfo;
  entry.gdt = layout::kBootGdt;
  entry.gdt_limit = 4 * sizeof(uint64_t) - 1;
  return entry;
}

Result<BootEntry> LoadKernel(const GuestMemory& memory, const LinuxBoot& boot) {
  return IsElf(*boot.kernel) ? LoadPvh(memory, boot) : LoadLinux(memory, boot);
}

}  // namespace berth::vmm
