#include "vmm/boot/bzimage.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/vmm/boot/kernel_image.h"

namespace berth::vmm {
namespace {

Result<BzImage> Parse(KernelImage& image) {
  return ParseBzImage(*ImageFromBytes(image.bytes(), "vmlinuz"));
}

TEST(BzImage, ReadsTheFieldsOfTheSetupHeader) {
  KernelImage image;

  auto parsed = Parse(image);

  ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
  EXPECT_EQ(parsed->version, 0x020f);
  EXPECT_EQ(parsed->payload_offset, 1024u);
  EXPECT_EQ(parsed->payload_size, 65536u);
  EXPECT_EQ(parsed->preferred_address, 0x1000000u);
  EXPECT_EQ(parsed->alignment, 0x200000u);
  EXPECT_TRUE(parsed->relocatable);
  EXPECT_EQ(parsed->init_size, 0x800000u);
  EXPECT_EQ(parsed->initrd_max, 0x7fffffffu);
  EXPECT_EQ(parsed->cmdline_max, 2047u);
  EXPECT_EQ(parsed->setup_header.size(), 0x26cu - 0x1f1u);
}

TEST(BzImage, TakesFourSetupSectorsForNone) {
  KernelImage image;
  image.Set<uint8_t>(0x1f1, 0).Set<uint32_t>(0x1f4, 16);

  EXPECT_EQ(Parse(image)->payload_offset, 2560u);
}

TEST(BzImage, RefusesWhatIsNoKernel) {
  struct Case {
    std::string message;
    void (*spoil)(KernelImage&);
  };
  const Case cases[] = {
      {"vmlinuz is not a bootable bzImage: it has 100 bytes", [](KernelImage& i) { i.bytes().resize(100); }},
      {"vmlinuz is not a bootable bzImage: no boot sector signature at offset 0x1fe",
       [](KernelImage& i) { i.Set<uint16_t>(0x1fe, 0); }},
      {"vmlinuz is not a bootable bzImage: no setup header at offset 0x202",
       [](KernelImage& i) { i.Set<uint8_t>(0x202, 'x'); }},
      {"vmlinuz is not a bootable bzImage: boot protocol is 2.11, need 2.12 (Linux 3.8) or later",
       [](KernelImage& i) { i.Set<uint16_t>(0x206, 0x020b); }},
      {"vmlinuz is not a bootable bzImage: no 64-bit entry point",
       [](KernelImage& i) { i.Set<uint16_t>(0x236, 0); }},
      {"vmlinuz is not a bootable bzImage: its code should start at offset 131072 but it has only 66560 "
       "bytes",
       [](KernelImage& i) { i.Set<uint8_t>(0x1f1, 255); }},
      {"vmlinuz is not a bootable bzImage: it is cut off: code of 65536 bytes, found 65526",
       [](KernelImage& i) { i.bytes().resize(i.bytes().size() - 10); }},
      {"vmlinuz is not a bootable bzImage: alignment 3 is not a power of two",
       [](KernelImage& i) { i.Set<uint32_t>(0x230, 3); }},
  };
  for (const Case& c : cases) {
    KernelImage image;
    c.spoil(image);
    auto parsed = Parse(image);
    EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(parsed.status().message(), c.message);
  }
}

TEST(ImageFile, NamesTheFileThatCannotBeRead) {
  EXPECT_EQ(OpenImageFile("/nonexistent/vmlinuz").status().message(),
            "open /nonexistent/vmlinuz: No such file or directory");
  EXPECT_EQ(OpenImageFile("/tmp").status().message(), "/tmp is not a regular file");
}

}  // namespace
}  // namespace berth::vmm
