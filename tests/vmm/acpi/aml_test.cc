#include "vmm/acpi/aml.h"

#include <gtest/gtest.h>

namespace berth::vmm::acpi::aml {
namespace {

TEST(Aml, IntegersTakeTheShortestForm) {
  EXPECT_EQ(Integer(0), (Bytes{0x00}));
  EXPECT_EQ(Integer(1), (Bytes{0x01}));
  EXPECT_EQ(Integer(2), (Bytes{0x0a, 2}));
  EXPECT_EQ(Integer(0x100), (Bytes{0x0b, 0, 1}));
  EXPECT_EQ(Integer(0x10000), (Bytes{0x0c, 0, 0, 1, 0}));
  EXPECT_EQ(Integer(0x100000000), (Bytes{0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, EisaIdsAreCompressed) {
  EXPECT_EQ(EisaId("PNP0A03"), (Bytes{0x0c, 0x41, 0xd0, 0x0a, 0x03}));
  EXPECT_EQ(EisaId("PNP0501"), (Bytes{0x0c, 0x41, 0xd0, 0x05, 0x01}));
}

TEST(Aml, NamesHavePrefixesByTheirLength) {
  EXPECT_EQ(NameString("_SB_"), (Bytes{'_', 'S', 'B', '_'}));
  EXPECT_EQ(NameString("\\_SB_.PC00"), (Bytes{'\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', '0', '0'}));
  EXPECT_EQ(NameString("A___.B___.C___"),
            (Bytes{0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_'}));
}

// The package length counts itself and grows by a byte at 64, 4096 and 1 MiB.
TEST(Aml, PackageLengthsAtTheirLimits) {
  struct Case {
    size_t content;
    Bytes length;
  };
  const Case cases[] = {
      {62, {0x3f}},                   // 63 = 62 + 1
      {63, {0x41, 0x04}},             // 65 = 63 + 2
      {4093, {0x4f, 0xff}},           // 4095 = 4093 + 2
      {4094, {0x81, 0x00, 0x01}},     // 4097 = 4094 + 3
      {1048572, {0x8f, 0xff, 0xff}},  // 1 MiB - 1
      {1048573, {0xc1, 0, 0, 0x01}},  // 1 MiB + 1
  };
  for (const Case& c : cases) {
    Bytes scope = Scope("ABCD", Bytes(c.content - 4));
    EXPECT_EQ(Bytes(scope.begin() + 1, scope.begin() + 1 + static_cast<ptrdiff_t>(c.length.size())), c.length)
        << c.content;
    EXPECT_EQ(scope.size(), 1 + c.length.size() + c.content);
  }
}

TEST(Aml, FieldWidthsDoNotCountThemselves) {
  EXPECT_EQ(ByteField("REGN", "UNIT", 8),
            (Bytes{0x5b, 0x81, 11, 'R', 'E', 'G', 'N', 1, 'U', 'N', 'I', 'T', 8}));
}

TEST(Aml, MethodsCarryArgumentsAndSerialization) {
  EXPECT_EQ(Method("_EVT", 1, true, {0xa3}), (Bytes{0x14, 7, '_', 'E', 'V', 'T', 0x09, 0xa3}));
}

TEST(Aml, ResourceDescriptorsAreThoseOfTheSpecification) {
  EXPECT_EQ(IoPorts(0x3f8, 8), (Bytes{0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8}));
  EXPECT_EQ(EdgeInterrupt(4), (Bytes{0x89, 6, 0, 0x03, 1, 4, 0, 0, 0}));
  EXPECT_EQ(BusWindow(0, 0), (Bytes{0x88, 0x0d, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(MemoryWindow32(0xc0000000, 0xe7ffffff),
            (Bytes{0x87, 0x17, 0,    0,    0x0c, 1, 0, 0, 0, 0, 0, 0, 0,
                   0xc0, 0xff, 0xff, 0xff, 0xe7, 0, 0, 0, 0, 0, 0, 0, 0x28}));
  EXPECT_EQ(MemoryWindow64(0x100000000, 0x1ffffffff).size(), 46u);
  EXPECT_EQ(ResourceTemplate({}), (Bytes{0x11, 5, 0x0a, 2, 0x79, 0}));
}

}  // namespace
}  // namespace berth::vmm::acpi::aml
