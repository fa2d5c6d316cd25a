#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "vmm/boot/image_source.h"

namespace berth::vmm {

// What the loader needs of an uncompressed kernel (vmlinux) with a PVH entry point. All fields were checked
// against the image's size; guest addresses must be checked when they are used.
struct ElfKernel {
  struct Segment {
    uint64_t address = 0;  // guest-physical
    uint64_t offset = 0;   // in the file
    uint64_t file_size = 0;
    uint64_t memory_size = 0;  // at least file_size; the rest is zeros
  };
  std::vector<Segment> segments;  // at least one
  uint32_t entry = 0;             // of 32-bit code, by the note XEN_ELFNOTE_PHYS32_ENTRY
};

// Whether an image begins as an ELF file does.
bool IsElf(const ImageSource& image);

// kInvalidArgument tells what makes this no bootable kernel: another class, machine or type of file, headers
// or segments beyond the file, no PVH note.
Result<ElfKernel> ParseElfKernel(const ImageSource& image);

}  // namespace berth::vmm
