#include "vmm/boot/linux_loader.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/vmm/boot/kernel_image.h"
#include "vmm/boot/e820.h"
#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Guest memory of pieces that take no host memory until they are touched.
class LinuxLoaderTest : public testing::Test {
 protected:
  ~LinuxLoaderTest() override {
    for (const MemoryRegion& region : memory_.regions()) ::munmap(region.host, region.size);
  }

  void MakeMemory(const std::vector<std::pair<uint64_t, uint64_t>>& pieces) {
    std::vector<MemoryRegion> regions;
    for (auto [base, size] : pieces) {
      MemoryRegion region;
      region.base = Gpa{base};
      region.size = size;
      region.host = static_cast<uint8_t*>(
          ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
      regions.push_back(region);
    }
    memory_ = GuestMemory(std::move(regions));
  }

  Result<BootEntry> Load(const std::string& cmdline = "console=ttyS0", uint64_t rsdp = 0xa0000) {
    auto kernel = ImageFromBytes(kernel_.bytes(), "vmlinuz");
    auto initramfs = ImageFromBytes(initramfs_, "initrd");
    LinuxBoot boot;
    boot.kernel = kernel.get();
    boot.initramfs = initramfs.get();
    boot.cmdline = cmdline;
    boot.rsdp = rsdp;
    return LoadLinux(memory_, boot);
  }

  template <class T>
  T ZeroPage(uint64_t offset) {
    return *memory_.ReadObject<T>(Gpa{layout::kZeroPage + offset});
  }

  KernelImage kernel_;
  std::vector<uint8_t> initramfs_ = std::vector<uint8_t>(5000, 0x5a);
  GuestMemory memory_;
};

TEST_F(LinuxLoaderTest, PutsEverythingWhereTheKernelLooksForIt) {
  MakeMemory({{0, 64 * kMiB}});

  auto entry = Load();

  ASSERT_TRUE(entry.has_value()) << entry.error().ToString();
  EXPECT_EQ(entry->instruction_pointer, 0x100200u);
  EXPECT_EQ(entry->zero_page, 0x7000u);
  EXPECT_EQ(ZeroPage<uint64_t>(0x70), 0xa0000u);           // RSDP
  EXPECT_EQ(ZeroPage<uint8_t>(0x210), 0xff);               // loader
  EXPECT_EQ(ZeroPage<uint32_t>(0x228), 0x20000u);          // command line
  EXPECT_EQ(ZeroPage<uint32_t>(0x202), 0x53726448u);       // "HdrS"
  EXPECT_EQ(ZeroPage<uint32_t>(0x218), 64 * kMiB - 8192);  // initramfs: 5000 bytes below the end, on a page
  EXPECT_EQ(ZeroPage<uint32_t>(0x21c), 5000u);
  EXPECT_EQ(*memory_.ReadObject<uint8_t>(Gpa{64 * kMiB - 8192 + 4999}), 0x5a);
  EXPECT_EQ(*memory_.ReadObject<uint8_t>(Gpa{64 * kMiB - 8192 + 5000}), 0);
  auto code = *memory_.Span(Gpa{0x100000}, KernelImage::kCode);
  EXPECT_TRUE(std::equal(code.begin(), code.end(), kernel_.bytes().begin() + KernelImage::kPayload));
  auto text = *memory_.Span(Gpa{0x20000}, 14);
  EXPECT_STREQ(reinterpret_cast<const char*>(text.data()), "console=ttyS0");
}

TEST_F(LinuxLoaderTest, MapsTheFirstFourGigabytesToThemselves) {
  MakeMemory({{0, 64 * kMiB}});

  BootEntry entry = *Load();

  for (uint64_t address : {uint64_t{0}, uint64_t{0x100200}, uint64_t{0xbfffffff}, uint64_t{0xffffffff}}) {
    uint64_t top = *memory_.ReadObject<uint64_t>(Gpa{entry.page_tables});
    uint64_t pointer = *memory_.ReadObject<uint64_t>(Gpa{(top & ~0xfffull) + 8 * (address >> 30)});
    uint64_t leaf = *memory_.ReadObject<uint64_t>(Gpa{(pointer & ~0xfffull) + 8 * (address >> 21 & 511)});
    EXPECT_EQ(leaf & ~0xfffull, address & ~0x1fffffull);
    EXPECT_EQ(leaf & 0x83, 0x83u);  // present, writable, large
  }
}

TEST_F(LinuxLoaderTest, LoadsAnInitramfsAcrossTwoZones) {
  MakeMemory({{0, 32 * kMiB}, {32 * kMiB, 4096}});

  ASSERT_TRUE(Load().has_value());

  EXPECT_EQ(ZeroPage<uint32_t>(0x218), 32 * kMiB - 4096);
  EXPECT_EQ(*memory_.ReadObject<uint8_t>(Gpa{32 * kMiB + 903}), 0x5a);
  EXPECT_EQ(*memory_.ReadObject<uint8_t>(Gpa{32 * kMiB + 904}), 0);
}

TEST_F(LinuxLoaderTest, KeepsTheInitramfsBelowTheKernelsLimit) {
  MakeMemory({{0, 3072 * kMiB}});
  kernel_.Set<uint32_t>(0x22c, 0x37ffffff);

  ASSERT_TRUE(Load().has_value());

  EXPECT_EQ(ZeroPage<uint32_t>(0x218), 0x38000000u - 8192);
}

TEST_F(LinuxLoaderTest, TellsHowMuchMemoryIsMissing) {
  MakeMemory({{0, 20 * kMiB}});

  auto entry = Load();

  EXPECT_EQ(entry.status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(entry.status().message(),
            "guest memory is too small for the kernel: RAM below 3 GiB must reach 24.0 MiB, has 20.0 MiB");
}

TEST_F(LinuxLoaderTest, TellsWhenTheInitramfsDoesNotFitBehindTheKernel) {
  MakeMemory({{0, 24 * kMiB}});

  EXPECT_EQ(Load().status().message(),
            "guest memory is too small for the initramfs of 4.88 KiB behind the kernel: RAM below 3 GiB must "
            "reach 24.0 MiB, has 24.0 MiB");
}

TEST_F(LinuxLoaderTest, RefusesACommandLineThatTheKernelWouldCut) {
  MakeMemory({{0, 64 * kMiB}});

  EXPECT_TRUE(Load(std::string(2047, 'x')).has_value());
  EXPECT_EQ(Load(std::string(2048, 'x')).status().message(),
            "command line has 2048 bytes, the kernel takes at most 2047");
}

TEST_F(LinuxLoaderTest, RefusesALoadAddressOutsideOfLowMemory) {
  MakeMemory({{0, 64 * kMiB}});
  kernel_.Set<uint8_t>(0x234, 0).Set<uint64_t>(0x258, 0x1000);

  EXPECT_EQ(Load().status().message(), "the kernel wants to be loaded at 4096, allowed 1 MiB to 3 GiB");
}

TEST_F(LinuxLoaderTest, FindsNoMemoryWhenThereIsNone) {
  EXPECT_EQ(Load().status().code(), StatusCode::kOutOfRange);
}

TEST_F(LinuxLoaderTest, MergesAdjacentZonesInTheMemoryMap) {
  MakeMemory({{0, 16 * kMiB}, {16 * kMiB, 16 * kMiB}, {uint64_t{1} << 32, 4096}});

  std::vector<E820Entry> expected = {
      {0, 0xa0000, E820Entry::kRam},
      {0x100000, 31 * kMiB, E820Entry::kRam},
      {0xe8000000, 0x10000000, E820Entry::kReserved},
      {0x100000000, 4096, E820Entry::kRam},
  };
  EXPECT_EQ(BuildE820(memory_), expected);
}

}  // namespace
}  // namespace berth::vmm
