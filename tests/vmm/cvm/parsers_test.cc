// What is read from firmware images and IGVM files, and what is refused with which reason.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/vmm/cvm/images.h"
#include "vmm/cvm/igvm.h"
#include "vmm/cvm/sev_metadata.h"
#include "vmm/cvm/snp_cpuid.h"
#include "vmm/cvm/td_hob.h"
#include "vmm/cvm/tdvf.h"

namespace berth::vmm {
namespace {

std::string Refusal(const std::vector<TdvfEntry>& sections) {
  auto parsed = ParseTdvf(MakeTdvf(sections));
  return parsed.has_value() ? "taken" : parsed.error().message();
}

TEST(Tdvf, ReadsTheSectionsInTheirOrder) {
  auto sections = ParseTdvf(MakeTdvf(UsualTdvf()));

  ASSERT_TRUE(sections.has_value()) << sections.error().ToString();
  ASSERT_EQ(sections->size(), 4u);
  EXPECT_EQ((*sections)[0],
            (TdvfSection{TdvfSection::Type::kBootFirmware, 0xffffe000, 8192, 8192, 8192, true, false}));
  EXPECT_EQ((*sections)[2].type, TdvfSection::Type::kTdHob);
  EXPECT_EQ((*sections)[2].gpa, 0x809000u);
}

TEST(Tdvf, FindsTheDescriptorByTheOldPointer) {
  std::vector<uint8_t> image = MakeTdvf(UsualTdvf());
  PutAt(image, image.size() - 32 - 16, Guid{});  // no table of GUIDs
  PutAt(image, image.size() - 32, static_cast<uint32_t>(image.size() - 2048));

  EXPECT_TRUE(ParseTdvf(image).has_value());
}

TEST(Tdvf, RefusesWhatCannotBeLaunched) {
  auto with = [](size_t index, TdvfEntry entry) {
    auto sections = UsualTdvf();
    sections[index] = entry;
    return Refusal(sections);
  };
  EXPECT_EQ(with(0, {8192, 8192, 0xffffe001, 8192, 0, 1}),
            "section 0 of the firmware's TDVF metadata is not whole pages");
  EXPECT_EQ(with(0, {16000, 8192, 0xffffe000, 8192, 0, 1}),
            "section 0 of the firmware's TDVF metadata has its data outside of the image");
  EXPECT_EQ(with(0, {8192, 8192, 0xffffe000, 4096, 0, 1}),
            "section 0 of the firmware's TDVF metadata has more data than memory");
  EXPECT_EQ(with(1, {4096, 4096, 0xffffe000, 4096, 1, 0}),
            "two sections of the firmware's TDVF metadata overlap");
  EXPECT_EQ(with(1, {4096, 4096, 0xffffd000, 4096, 9, 0}),
            "section 1 of the firmware's TDVF metadata has the unknown type 9");
  EXPECT_EQ(with(1, {4096, 4096, 0xffffd000, 4096, 1, 8}),
            "section 1 of the firmware's TDVF metadata has unknown attributes 8");
  EXPECT_EQ(with(2, {0, 0, 0x809000, 8192, 3, 0}),
            "the firmware's TDVF metadata has 0 sections TD_HOB, must have one");
  EXPECT_EQ(with(2, {4096, 4096, 0x809000, 8192, 2, 0}),
            "section 2 of the firmware's TDVF metadata is room, but has data");
  EXPECT_EQ(with(3, {0, 0, uint64_t{1} << 50, 4096, 3, 0}),
            "section 3 of the firmware's TDVF metadata lies above the guest's addresses");
  EXPECT_EQ(with(3, {0, 0, 0x40000000, uint64_t{1} << 40, 3, 0}),
            "section 3 of the firmware's TDVF metadata wants more than 512 MiB at launch");
  EXPECT_EQ(ParseTdvf(MakeTdvf(UsualTdvf(), 16384, 2)).error().message(),
            "the firmware's TDVF metadata has version 2, must be 1");
  EXPECT_EQ(ParseTdvf(std::vector<uint8_t>(8192)).error().message(),
            "the firmware has no TDVF metadata: it is not made for TDX");
  EXPECT_FALSE(ParseTdvf({}).has_value());
}

TEST(FirmwareTable, RefusesEntriesThatDoNotFit) {
  std::vector<uint8_t> image = MakeTdvf(UsualTdvf());
  PutAt(image, image.size() - 32 - 18, uint16_t{0xffff});
  EXPECT_FALSE(ReadFirmwareTable(image).has_value());
  image = MakeTdvf(UsualTdvf());
  PutAt(image, image.size() - 32 - 18 - 18, uint16_t{5});
  EXPECT_FALSE(ReadFirmwareTable(image).has_value());
}

TEST(TdHob, TellsWhatIsAcceptedAndWhatIsNot) {
  const std::vector<HobRange> ram = {{0, 0x10000000, false}, {0x100000000, 0x10000000, false}};
  const std::vector<HobRange> launched = {
      {0x810000, 0x1000, true}, {0x809000, 0x2000, true}, {0xffffe000, 0x2000, true}};

  const std::vector<HobRange> cut = CutRanges(ram, launched);

  EXPECT_EQ(cut, (std::vector<HobRange>{{0, 0x809000, false},
                                        {0x809000, 0x2000, true},
                                        {0x80b000, 0x5000, false},
                                        {0x810000, 0x1000, true},
                                        {0x811000, 0xf7ef000, false},
                                        {0x100000000, 0x10000000, false}}));
}

TEST(TdHob, IsReadAgainAsItWasBuilt) {
  const TdHobContent content = {
      {{0, 0x1000, true}, {0x1000, 0x7000, false}}, {{'F', 'A', 'C', 'P', 1, 2, 3}}, true};

  auto list = BuildTdHob(0x809000, 4096, content);

  ASSERT_TRUE(list.has_value());
  EXPECT_EQ(list->size() % 8, 0u);
  // Golden: the handoff block, then the first resource.
  EXPECT_EQ(HexText(std::span(*list).first(16)), "01003800000000000900000000000000");
  EXPECT_EQ(HexText(std::span(*list).subspan(56, 8)), "0300300000000000");
  EXPECT_EQ(HexText(std::span(*list).subspan(56 + 24, 24)),
            "000000000700000000000000000000000010000000000000");
  auto read = ParseTdHob(0x809000, *list);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(read->ranges, content.ranges);
  EXPECT_TRUE(read->linux_payload);
  ASSERT_EQ(read->acpi_tables.size(), 1u);
  EXPECT_EQ(read->acpi_tables[0], (std::vector<uint8_t>{'F', 'A', 'C', 'P', 1, 2, 3, 0}));
}

TEST(TdHob, NamesWhatDoesNotFit) {
  EXPECT_EQ(BuildTdHob(0, 64, {{{0, 4096, true}}, {}, false}).error().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(BuildTdHob(0, 1 << 20, {{}, {std::vector<uint8_t>(70000)}, false}).error().code(),
            StatusCode::kOutOfRange);
}

TEST(SevMetadata, ReadsSectionsAndWhereProcessorsStart) {
  auto metadata = ParseSevMetadata(
      MakeSevFirmware({{0x800000, 0x9000, 1}, {0x80d000, 0x1000, 2}, {0x80e000, 0x1000, 3}}));

  ASSERT_TRUE(metadata.has_value()) << metadata.error().ToString();
  EXPECT_EQ(metadata->reset_eip, 0x80b004u);
  ASSERT_EQ(metadata->sections.size(), 3u);
  EXPECT_EQ(metadata->sections[1], (SevSection{SevSection::Type::kSecrets, 0x80d000, 0x1000}));
}

TEST(SevMetadata, RefusesWhatIsNoWholePage) {
  EXPECT_FALSE(ParseSevMetadata(MakeSevFirmware({{0x800001, 0x1000, 1}})).has_value());
  EXPECT_FALSE(ParseSevMetadata(MakeSevFirmware({{0x800000, 0x2000, 2}})).has_value());
  EXPECT_FALSE(ParseSevMetadata(MakeSevFirmware({{0x800000, 0x1000, 7}})).has_value());
  EXPECT_FALSE(ParseSevMetadata(MakeSevFirmware({{0xfffff000, 0x2000, 1}})).has_value());
  EXPECT_EQ(ParseSevMetadata(MakeTdvf(UsualTdvf())).error().message(),
            "the firmware has no SEV metadata: it is not made for SEV-SNP");
}

TEST(Igvm, ReadsPagesInTheirOrder) {
  IgvmBuilder builder;
  builder.Platform();
  builder.Policy(0x30000);
  const int page = builder.Data(std::vector<uint8_t>(4096, 0xaa));
  builder.Page(0x100000, page);
  builder.Page(0x101000, -1, 1);
  builder.Page(0x102000, -1, 2);
  builder.Vp(0xfffffffff000, builder.Data(std::vector<uint8_t>(4096, 0xbb)), 0);
  builder.Page(0x103000, -1, 0, 2);
  const std::vector<uint8_t> file = builder.Build();

  auto igvm = ParseIgvm(file, IgvmFile::Platform::kSevSnp);

  ASSERT_TRUE(igvm.has_value()) << igvm.error().ToString();
  EXPECT_EQ(igvm->policy, 0x30000u);
  ASSERT_EQ(igvm->pages.size(), 4u);
  EXPECT_EQ(igvm->pages[0].data.size(), 4096u);
  EXPECT_EQ(igvm->pages[0].data[0], 0xaa);
  EXPECT_EQ(igvm->pages[1].kind, IgvmFile::Page::Kind::kSecrets);
  EXPECT_TRUE(igvm->pages[3].unmeasured);
  ASSERT_EQ(igvm->steps.size(), 5u);
  EXPECT_EQ(igvm->steps[3].what, IgvmFile::Step::What::kVpContext);
}

TEST(Igvm, RefusesBrokenFiles) {
  IgvmBuilder builder;
  builder.Platform();
  builder.Page(0x100000, -1);
  const std::vector<uint8_t> good = builder.Build();
  ASSERT_TRUE(ParseIgvm(good, IgvmFile::Platform::kSevSnp).has_value());
  EXPECT_EQ(ParseIgvm(good, IgvmFile::Platform::kTdx).error().message(),
            "the IGVM file is not made for this platform (type 3)");

  std::vector<uint8_t> bad = good;
  bad[40] ^= 1;
  EXPECT_NE(ParseIgvm(bad, IgvmFile::Platform::kSevSnp).error().message().find("checksum"),
            std::string::npos);
  bad = good;
  bad.resize(bad.size() - 1);
  EXPECT_NE(ParseIgvm(bad, IgvmFile::Platform::kSevSnp).error().message().find("cut off"), std::string::npos);
  EXPECT_FALSE(ParseIgvm({}, IgvmFile::Platform::kSevSnp).has_value());
}

TEST(Igvm, NamesTheHeaderThatIsWrong) {
  auto refusal = [](auto change) {
    IgvmBuilder builder;
    builder.Platform();
    change(builder);
    const std::vector<uint8_t> file = builder.Build();
    auto parsed = ParseIgvm(file, IgvmFile::Platform::kSevSnp);
    return parsed.has_value() ? std::string("taken") : parsed.error().message();
  };
  EXPECT_EQ(refusal([](IgvmBuilder& b) { b.Page(0x100800, -1); }),
            "IGVM file, header at 0x30: has the address 0x100800");
  EXPECT_EQ(refusal([](IgvmBuilder& b) { b.Header(0x999, {}); }),
            "IGVM file, header at 0x30: has the unknown type 0x999");
  EXPECT_EQ(refusal([](IgvmBuilder& b) { b.Header(0x80000999, {}); }), "taken");
  EXPECT_EQ(refusal([](IgvmBuilder& b) { b.Header(0x302, {1, 2, 3}); }),
            "IGVM file, header at 0x30: has 3 bytes, needs 24");
  EXPECT_EQ(refusal([](IgvmBuilder& b) {
              b.Page(0x100000, -1);
              b.Page(0x100000, -1);
            }),
            "IGVM file: the page at 0x100000 is there twice");
  EXPECT_EQ(refusal([](IgvmBuilder& b) { b.Header(0x307, {1, 0, 0, 0, 0, 0, 0, 0}); }),
            "IGVM file: a parameter goes to area 1, which does not exist");
}

// Linux adds the sizes of what it enables out of the sub-leaves from 2 on, and ends itself without them.
TEST(SnpCpuid, TellsTheSizesOfExtendedStates) {
  std::vector<kvm_cpuid_entry2> leaves(4);
  for (uint32_t i = 0; i < 3; ++i) {
    leaves[i].function = 0xd;
    leaves[i].index = i;
    leaves[i].ebx = 0x340;
  }
  leaves[3].function = 0x40000000;
  std::vector<uint8_t> page(4096);
  ASSERT_TRUE(FillSnpCpuidPage(leaves, page).ok());

  struct {
    uint32_t function, index;
    uint64_t xcr0, xss;
    uint32_t eax, ebx, ecx, edx;
    uint64_t reserved;
  } entries[3];
  EXPECT_EQ(page[0], 3) << "the hypervisor's own leaf is not the firmware's business";
  std::memcpy(entries, page.data() + 16, sizeof entries);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(entries[i].index, i);
    EXPECT_EQ(entries[i].xcr0, i < 2 ? 1u : 0u);
    EXPECT_EQ(entries[i].ebx, i < 2 ? 0x240u : 0x340u);
  }
}

TEST(SnpCpuid, SaysWhatTheFirmwareRefuses) {
  kvm_cpuid_entry2 leaf{};
  leaf.function = 7;
  leaf.ecx = 3;
  std::vector<uint8_t> asked(4096), accepted;
  ASSERT_TRUE(FillSnpCpuidPage(std::span(&leaf, 1), asked).ok());
  accepted = asked;
  accepted[16 + 32] = 1;  // ecx

  EXPECT_EQ(DescribeSnpCpuidDifference(asked, accepted),
            "CPUID leaf 0x7/0: ecx 0x3 is refused, 0x1 would be accepted");
  EXPECT_EQ(FillSnpCpuidPage(std::vector<kvm_cpuid_entry2>(65), asked).code(), StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace berth::vmm
