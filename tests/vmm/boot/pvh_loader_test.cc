#include "vmm/boot/pvh_loader.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/fakes/guest_ram.h"
#include "vmm/boot/elf_kernel.h"
#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// A kernel of one segment at 16 MiB, 4 KiB in the file and 8 KiB in memory, with the PVH note.
struct ElfImage {
  ElfImage() : bytes(0x3000) {
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 2;
    load.p_type = PT_LOAD;
    load.p_offset = 0x1000;
    load.p_paddr = 16 * kMiB;
    load.p_filesz = 0x1000;
    load.p_memsz = 0x2000;
    note.p_type = PT_NOTE;
    note.p_offset = 0x2000;
    note.p_filesz = sizeof notes;
    std::memset(&bytes[0x1000], 0xab, 0x1000);
  }
  std::unique_ptr<ImageSource> Image() {
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(&bytes[sizeof header], &load, sizeof load);
    std::memcpy(&bytes[sizeof header + sizeof load], &note, sizeof note);
    std::memcpy(&bytes[0x2000], notes, sizeof notes);
    return ImageFromBytes(bytes, "vmlinux");
  }

  Elf64_Ehdr header{};
  Elf64_Phdr load{}, note{};
  // A note of somebody else, then ours: name size, content size, type, "Xen", entry.
  uint32_t notes[10] = {4, 4, 18, 0x00554e47, 7, 4, 4, 18, 0x006e6558, 16 * kMiB + 0x100};
  std::vector<uint8_t> bytes;
};

class PvhTest : public ::testing::Test {
 protected:
  Result<BootEntry> Load(ElfImage& image, const ImageSource* initramfs = nullptr) {
    source_ = image.Image();
    LinuxBoot boot;
    boot.kernel = source_.get();
    boot.initramfs = initramfs;
    boot.cmdline = "console=ttyS0";
    boot.rsdp = 0xa0000;
    return LoadKernel(ram_.memory(), boot);
  }
  GuestRam ram_{{{0, 32 * kMiB}}};
  std::unique_ptr<ImageSource> source_;
};

TEST_F(PvhTest, LoadsTheSegmentsAndTellsTheStartInformation) {
  ram_.Put(16 * kMiB + 0x1000, {7});  // of an earlier boot
  std::vector<uint8_t> initramfs(5000, 0xcd);
  auto source = ImageFromBytes(initramfs, "initrd");
  ElfImage image;

  Result<BootEntry> entry = Load(image, source.get());

  ASSERT_TRUE(entry.has_value()) << entry.status().ToString();
  EXPECT_EQ(entry->mode, BootEntry::Mode::kPvh);
  EXPECT_EQ(entry->instruction_pointer, 16 * kMiB + 0x100);
  EXPECT_EQ(ram_.Get(16 * kMiB + 0xfff, 2), (std::vector<uint8_t>{0xab, 0}));
  const uint64_t info = entry->start_info;
  EXPECT_EQ(ram_.GetObject<uint32_t>(info), 0x336ec578u);
  EXPECT_EQ(ram_.GetObject<uint32_t>(info + 12), 1u) << "one module";
  const uint64_t module = ram_.GetObject<uint64_t>(info + 16);
  const uint64_t address = ram_.GetObject<uint64_t>(module);
  EXPECT_EQ(address, 32 * kMiB - 8192);
  EXPECT_EQ(ram_.GetObject<uint64_t>(module + 8), 5000u);
  EXPECT_EQ(ram_.Get(address + 4999, 1), (std::vector<uint8_t>{0xcd}));
  EXPECT_EQ(ram_.Get(ram_.GetObject<uint64_t>(info + 24), 14),
            (std::vector<uint8_t>{'c', 'o', 'n', 's', 'o', 'l', 'e', '=', 't', 't', 'y', 'S', '0', 0}));
  EXPECT_EQ(ram_.GetObject<uint64_t>(info + 32), 0xa0000u);
  EXPECT_GE(ram_.GetObject<uint32_t>(info + 48), 2u) << "entries of the memory map";
}

TEST_F(PvhTest, SaysWhatIsWrongWithAnImage) {
  auto message = [&](auto spoil) {
    ElfImage image;
    spoil(image);
    return std::string(Load(image).status().message());
  };
  auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(has(message([](ElfImage& i) { i.header.e_machine = EM_AARCH64; }), "not for x86-64"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.header.e_phnum = 0; }), "program headers"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.header.e_phoff = UINT64_MAX; }), "program headers"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.load.p_filesz = UINT64_MAX; }), "beyond the file"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.load.p_memsz = 1; }), "contradicts itself"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.load.p_type = PT_NULL; }), "nothing to load"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.notes[7] = 17; }), "no PVH entry point"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.notes[6] = 0xfffffff0; }), "no PVH entry point"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.notes[9] = 0x100; }), "entry point lies outside"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.load.p_paddr = 0x1000; }), "allowed 1 MiB to 3 GiB"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.load.p_paddr = 31 * kMiB, i.load.p_memsz = 2 * kMiB; }),
                  "too small for the kernel"));
  EXPECT_TRUE(has(message([](ElfImage& i) { i.load.p_paddr = UINT64_MAX - 0x1000; }), "contradicts itself"));
}

TEST_F(PvhTest, EveryTruncationIsRefused) {
  ElfImage image;
  image.Image();
  for (size_t size = 0; size < 0x2000 + sizeof image.notes; size += 13) {
    auto source = ImageFromBytes(std::span(image.bytes).first(size), "vmlinux");
    EXPECT_FALSE(ParseElfKernel(*source).has_value()) << size;
  }
}

}  // namespace
}  // namespace berth::vmm
