#include "vmm/boot/elf_kernel.h"

#include <elf.h>

#include <cstring>
#include <optional>

namespace berth::vmm {
namespace {

constexpr uint16_t kSegmentsMax = 64;
constexpr uint64_t kNotesMax = 64 << 10;
constexpr uint32_t kPhys32Entry = 18;

Status NotBootable(const ImageSource& image, const std::string& why) {
  return InvalidArgument(image.name() + " is no bootable ELF kernel: " + why, "kernel",
                         "an uncompressed x86-64 vmlinux with CONFIG_PVH=y, or a bzImage");
}

template <class T>
Result<T> ReadObject(const ImageSource& image, uint64_t offset) {
  T value;
  TRY(image.ReadAt(offset, {reinterpret_cast<uint8_t*>(&value), sizeof value}));
  return value;
}

bool Inside(const ImageSource& image, uint64_t offset, uint64_t size) {
  return offset <= image.size() && size <= image.size() - offset;
}

// The 32-bit entry among the notes of a segment.
std::optional<uint32_t> FindEntry(const std::vector<uint8_t>& notes) {
  auto padded = [](uint64_t size) { return (size + 3) & ~uint64_t{3}; };
  for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
    Elf64_Nhdr note;
    std::memcpy(&note, &notes[at], sizeof note);
    const uint64_t name = at + sizeof note;
    const uint64_t content = name + padded(note.n_namesz);
    const uint64_t next = content + padded(note.n_descsz);
    if (content > notes.size() || note.n_descsz > notes.size() - content) return std::nullopt;
    constexpr char kOwner[] = "Xen";
    if (note.n_type == kPhys32Entry && note.n_namesz == sizeof kOwner && note.n_descsz >= sizeof(uint32_t) &&
        std::memcmp(&notes[name], kOwner, sizeof kOwner) == 0) {
      uint32_t entry;
      std::memcpy(&entry, &notes[content], sizeof entry);
      return entry;
    }
    at = next;
  }
  return std::nullopt;
}

}  // namespace

bool IsElf(const ImageSource& image) {
  uint8_t magic[SELFMAG];
  return image.ReadAt(0, magic).ok() && std::memcmp(magic, ELFMAG, SELFMAG) == 0;
}

Result<ElfKernel> ParseElfKernel(const ImageSource& image) {
  if (!IsElf(image) || !Inside(image, 0, sizeof(Elf64_Ehdr))) return NotBootable(image, "no ELF header");
  TRY_ASSIGN(const Elf64_Ehdr header, ReadObject<Elf64_Ehdr>(image, 0));
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64) {
    return NotBootable(image, "not for x86-64");
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > kSegmentsMax ||
      !Inside(image, header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr))) {
    return NotBootable(image, "its program headers are not inside the file, or not 1 to 64");
  }
  ElfKernel kernel;
  std::optional<uint32_t> entry;
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    TRY_ASSIGN(const Elf64_Phdr segment,
               ReadObject<Elf64_Phdr>(image, header.e_phoff + i * sizeof(Elf64_Phdr)));
    if (segment.p_type != PT_LOAD && segment.p_type != PT_NOTE) continue;
    if (!Inside(image, segment.p_offset, segment.p_filesz)) {
      return NotBootable(image, "segment " + std::to_string(i) + " reaches beyond the file");
    }
    if (segment.p_type == PT_LOAD) {
      if (segment.p_memsz < segment.p_filesz || segment.p_paddr + segment.p_memsz < segment.p_paddr) {
        return NotBootable(image, "segment " + std::to_string(i) + " contradicts itself");
      }
      if (segment.p_memsz == 0) continue;
      kernel.segments.push_back({segment.p_paddr, segment.p_offset, segment.p_filesz, segment.p_memsz});
    } else if (segment.p_filesz <= kNotesMax && !entry) {
      std::vector<uint8_t> notes(segment.p_filesz);
      TRY(image.ReadAt(segment.p_offset, notes));
      entry = FindEntry(notes);
    }
  }
  if (kernel.segments.empty()) return NotBootable(image, "nothing to load");
  if (!entry) return NotBootable(image, "no PVH entry point");
  kernel.entry = *entry;
  return kernel;
}

}  // namespace berth::vmm
