#include "vmm/acpi/acpi_tables.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <numeric>
#include <sstream>

#include "tests/vmm/acpi/sample_input.h"

namespace berth::vmm::acpi {
namespace {

AcpiTables Built(const AcpiInput& input) {
  Result<AcpiTables> tables = BuildAcpiTables(input);
  EXPECT_TRUE(tables.has_value()) << tables.status().ToString();
  return tables.has_value() ? *tables : AcpiTables();
}

const Bytes& Table(const AcpiTables& tables, const std::string& signature) {
  static const Bytes kNone;
  for (const AcpiBlob& blob : tables.blobs) {
    if (blob.signature == signature) return blob.bytes;
  }
  ADD_FAILURE() << "no table " << signature;
  return kNone;
}

uint64_t Number(const Bytes& bytes, size_t offset, size_t width) {
  uint64_t value = 0;
  for (size_t i = 0; i < width && offset + i < bytes.size(); ++i)
    value |= uint64_t{bytes[offset + i]} << (8 * i);
  return value;
}

uint8_t Sum(std::span<const uint8_t> bytes) {
  return static_cast<uint8_t>(std::accumulate(bytes.begin(), bytes.end(), 0u));
}

// The structures (type, length, ...) behind a table's fixed part.
std::vector<Bytes> Structures(const Bytes& table, size_t offset) {
  std::vector<Bytes> list;
  while (offset + 2 <= table.size() && table[offset + 1] != 0) {
    list.emplace_back(table.begin() + static_cast<ptrdiff_t>(offset),
                      table.begin() + static_cast<ptrdiff_t>(offset + table[offset + 1]));
    offset += table[offset + 1];
  }
  return list;
}

std::string HexDump(const AcpiTables& tables) {
  std::string text;
  char item[32];
  for (const AcpiBlob& blob : tables.blobs) {
    std::snprintf(item, sizeof item, " at 0x%llx", static_cast<unsigned long long>(Raw(blob.gpa)));
    text += blob.signature + item + ", " + std::to_string(blob.bytes.size()) + " bytes\n";
    for (size_t i = 0; i < blob.bytes.size(); ++i) {
      std::snprintf(item, sizeof item, "%02x%s", blob.bytes[i],
                    i % 16 == 15 || i + 1 == blob.bytes.size() ? "\n" : " ");
      text += item;
    }
  }
  return text;
}

// Compares with a file whose tables have been read with iasl. Set BERTH_UPDATE_GOLDEN to renew it.
void ExpectGolden(const AcpiTables& tables, const std::string& name) {
  std::string path = BERTH_SOURCE_DIR "/tests/vmm/acpi/golden/" + name + ".hex";
  std::string actual = HexDump(tables);
  if (std::getenv("BERTH_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << actual;
  std::stringstream expected;
  expected << std::ifstream(path).rdbuf();
  EXPECT_EQ(actual, expected.str()) << path;
}

TEST(AcpiTables, TheSmallMachineIsTheOneInTheGoldenFile) {
  ExpectGolden(Built(SmallMachine()), "small");
}

TEST(AcpiTables, TheLargeMachineIsTheOneInTheGoldenFile) {
  ExpectGolden(Built(LargeMachine()), "large");
}

TEST(AcpiTables, TheGrowingMachineIsTheOneInTheGoldenFile) {
  ExpectGolden(Built(GrowingMachine()), "growing");
}

TEST(AcpiTables, TheRemappedMachineIsTheOneInTheGoldenFile) {
  ExpectGolden(Built(RemappedMachine()), "remapped");
}

TEST(AcpiTables, EveryTableSumsToZeroAndKnowsItsLength) {
  for (const AcpiInput& input : {SmallMachine(), LargeMachine(), GrowingMachine(), RemappedMachine()}) {
    for (const AcpiBlob& blob : Built(input).blobs) {
      EXPECT_EQ(Sum(blob.bytes), 0) << blob.signature;
      if (blob.signature == "RSD PTR ") continue;
      EXPECT_EQ(Number(blob.bytes, 4, 4), blob.bytes.size()) << blob.signature;
      EXPECT_EQ(std::memcmp(blob.bytes.data(), blob.signature.data(), 4), 0);
    }
  }
}

TEST(AcpiTables, TheRootPointerLeadsToEveryTable) {
  AcpiTables tables = Built(LargeMachine());

  const Bytes& rsdp = Table(tables, "RSD PTR ");
  EXPECT_EQ(Raw(tables.rsdp), 0xa0000u);
  EXPECT_EQ(std::memcmp(rsdp.data(), "RSD PTR ", 8), 0);
  EXPECT_EQ(Sum(std::span(rsdp).first(20)), 0);
  EXPECT_EQ(rsdp[15], 2);
  std::map<uint64_t, std::string> places;
  for (const AcpiBlob& blob : tables.blobs) places[Raw(blob.gpa)] = blob.signature;
  ASSERT_EQ(places[Number(rsdp, 24, 8)], "XSDT");
  const Bytes& xsdt = Table(tables, "XSDT");
  std::vector<std::string> found;
  for (size_t at = 36; at < xsdt.size(); at += 8) found.push_back(places[Number(xsdt, at, 8)]);
  EXPECT_EQ(found, (std::vector<std::string>{"FACP", "APIC", "MCFG", "SRAT", "SLIT"}));
  EXPECT_EQ(places[Number(Table(tables, "FACP"), 140, 8)], "DSDT");
}

TEST(AcpiTables, TablesDoNotOverlapAndStayInTheirArea) {
  AcpiTables tables = Built(LargeMachine());

  std::map<uint64_t, uint64_t> ranges;
  for (const AcpiBlob& blob : tables.blobs) ranges[Raw(blob.gpa)] = Raw(blob.gpa) + blob.bytes.size();
  EXPECT_EQ(ranges.size(), tables.blobs.size());
  uint64_t end = layout::kEbda;
  for (auto [first, last] : ranges) {
    EXPECT_GE(first, end);
    end = last;
  }
  EXPECT_LE(end, Raw(tables.end));
  EXPECT_LE(Raw(tables.end), layout::kSmbios);
}

TEST(AcpiTables, TheFadtDescribesAHardwareReducedMachine) {
  AcpiTables tables = Built(SmallMachine());
  const Bytes& fadt = Table(tables, "FACP");

  ASSERT_EQ(fadt.size(), 276u);
  EXPECT_EQ(fadt[8], 6) << "revision";
  EXPECT_EQ(fadt[131], 3) << "minor revision";
  EXPECT_EQ(Number(fadt, 112, 4), (1u << 20) | (1u << 10) | (1u << 8) | (1u << 5) | (1u << 4) | 1u)
      << "flags";
  EXPECT_EQ(fadt[116], 1) << "reset register in I/O space";
  EXPECT_EQ(Number(fadt, 120, 8), 0x602u);
  EXPECT_EQ(fadt[128], 1) << "reset value";
  EXPECT_EQ(Number(fadt, 76, 4), 0x608u) << "PM timer";
  EXPECT_EQ(fadt[91], 4);
  EXPECT_EQ(Number(fadt, 208 + 4, 8), 0x608u);
  EXPECT_EQ(Number(fadt, 244 + 4, 8), 0x600u) << "sleep control";
  EXPECT_EQ(Number(fadt, 256 + 4, 8), 0x601u) << "sleep status";
  EXPECT_EQ(Number(fadt, 36, 4), 0u) << "no FACS";
}

TEST(AcpiTables, TheMadtListsEveryPossibleVcpu) {
  AcpiTables tables = Built(LargeMachine());
  std::vector<Bytes> entries = Structures(Table(tables, "APIC"), 44);

  ASSERT_EQ(entries.size(), 9u);
  EXPECT_EQ(entries[0], (Bytes{0, 8, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(entries[4], (Bytes{0, 8, 4, 4, 2, 0, 0, 0})) << "absent, can be brought online later";
  EXPECT_EQ(entries[5], (Bytes{9, 16, 0, 0, 4, 1, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0})) << "x2APIC id 260, UID 5";
  EXPECT_EQ(entries[6], (Bytes{1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0})) << "IOAPIC";
  EXPECT_EQ(entries[7], (Bytes{2, 10, 0, 4, 4, 0, 0, 0, 0, 0}));
  EXPECT_EQ(entries[8], (Bytes{4, 6, 0xff, 0, 0, 1})) << "NMI on LINT1";
}

TEST(AcpiTables, ADeviceThatIsANodeIsAGenericInitiator) {
  AcpiTables tables = Built(GrowingMachine());
  const Bytes initiator = Structures(Table(tables, "SRAT"), 48).back();

  ASSERT_EQ(initiator.size(), 32u);
  EXPECT_EQ(initiator[0], 5);
  EXPECT_EQ(initiator[3], 1) << "PCI handle";
  EXPECT_EQ(Number(initiator, 4, 4), 2u) << "domain of node 8";
  EXPECT_EQ(Number(initiator, 8, 2), 1u) << "segment";
  EXPECT_EQ(Number(initiator, 10, 2), 3u << 3) << "slot";
  EXPECT_EQ(Number(initiator, 24, 4), 1u) << "enabled";
}

TEST(AcpiTables, TheViotTellsWhoIsBehindTheIommu) {
  const AcpiTables tables = Built(GrowingMachine());
  const Bytes& viot = Table(tables, "VIOT");
  EXPECT_EQ(Number(viot, 36, 2), 3u);   // nodes
  EXPECT_EQ(Number(viot, 38, 2), 48u);  // where they begin
  EXPECT_EQ(viot[48], 3);               // virtio-iommu as a PCI function
  EXPECT_EQ(Number(viot, 50, 2), 16u);
  EXPECT_EQ(Number(viot, 52, 2), 0u);    // segment
  EXPECT_EQ(Number(viot, 54, 2), 0x8u);  // slot 1
  // All of segment 1's bus, then one function of segment 0.
  EXPECT_EQ(viot[64], 1);
  EXPECT_EQ(Number(viot, 66, 2), 24u);
  EXPECT_EQ(Number(viot, 68, 4), 0x10000u);  // first endpoint
  EXPECT_EQ(Number(viot, 72, 8), 0x00ff'0000'0001'0001u);
  EXPECT_EQ(Number(viot, 80, 2), 48u);  // behind that IOMMU
  EXPECT_EQ(Number(viot, 92, 4), 0x18u);
  EXPECT_EQ(Number(viot, 96, 8), 0x0018'0018'0000'0000u);
  EXPECT_EQ(viot.size(), 112u);
}

TEST(AcpiTables, TheDmarHasAUnitForEachSegment) {
  const AcpiTables tables = Built(RemappedMachine());
  const Bytes& dmar = Table(tables, "DMAR");
  EXPECT_EQ(dmar[8], 1) << "revision";
  EXPECT_EQ(dmar[36], 45) << "bits of addresses, less one";
  EXPECT_EQ(dmar[37], 1) << "interrupts are remapped";
  // Segment 0's unit, with the IOAPIC.
  EXPECT_EQ(Number(dmar, 48, 4), 0x0018'0000u) << "type and length";
  EXPECT_EQ(dmar[52], 1) << "all devices";
  EXPECT_EQ(Number(dmar, 54, 2), 0u);
  EXPECT_EQ(Number(dmar, 56, 8), 0xfed90000u);
  EXPECT_EQ(Number(dmar, 64, 2), 0x0803u) << "a scope of an IOAPIC";
  EXPECT_EQ(Number(dmar, 68, 4), 0x0000ff00u) << "number 0, bus 255, slot and function 0";
  // Segment 1's unit.
  EXPECT_EQ(Number(dmar, 72, 4), 0x0010'0000u);
  EXPECT_EQ(dmar[76], 1);
  EXPECT_EQ(Number(dmar, 78, 2), 1u);
  EXPECT_EQ(Number(dmar, 80, 8), 0xfed91000u);
  // Devices' own translations, for both.
  EXPECT_EQ(Number(dmar, 88, 8), 0x0000'0001'0008'0002u);
  EXPECT_EQ(Number(dmar, 96, 8), 0x0001'0001'0008'0002u);
  EXPECT_EQ(dmar.size(), 104u);
  AcpiInput wrong = RemappedMachine();
  wrong.vtd->units.erase(wrong.vtd->units.begin());
  EXPECT_EQ(BuildAcpiTables(wrong).error().field(), "vtd");
}

TEST(AcpiTables, TheHmatTellsHowFastEachNodesMemoryIs) {
  AcpiTables tables = Built(GrowingMachine());
  const Bytes& hmat = Table(tables, "HMAT");

  // Three memory nodes, then localities of 3 x 3: read and write latency, read and write bandwidth.
  EXPECT_EQ(Number(hmat, 40, 2), 0u);
  EXPECT_EQ(Number(hmat, 48, 2), 1u) << "the initiator is valid";
  const size_t locality = 40 + 3 * 40;
  const size_t size = 32 + 3 * 4 + 3 * 4 + 2 * 9;
  ASSERT_EQ(hmat.size(), locality + 4 * size);
  EXPECT_EQ(Number(hmat, locality, 2), 1u);
  EXPECT_EQ(Number(hmat, locality + 4, 4), size);
  EXPECT_EQ(hmat[locality + 9], 1) << "read latency";
  EXPECT_EQ(Number(hmat, locality + 24, 8), 1000u) << "nanoseconds";
  const size_t entries = locality + 32 + 24;
  EXPECT_EQ(Number(hmat, entries, 2), 90u);
  EXPECT_EQ(Number(hmat, entries + 2, 2), 0u) << "not known";
  EXPECT_EQ(Number(hmat, entries + 16, 2), 250u);
  EXPECT_EQ(Number(hmat, locality + 2 * size + 24, 8), 10u) << "80000 MB/s do not fit 16 bits";
  EXPECT_EQ(Number(hmat, locality + 2 * size + 56, 2), 8000u);
}

TEST(AcpiTables, TheMadtAlsoHoldsWhatMayBePlugged) {
  AcpiTables tables = Built(GrowingMachine());
  const Bytes& dsdt = Table(tables, "DSDT");
  const std::string text(dsdt.begin(), dsdt.end());

  for (const char* name : {"PRES", "CSCN", "MHPC", "MSCN", "PHPR", "PSCN", "M03F", "S01F"})
    EXPECT_NE(text.find(name), std::string::npos) << name;
  const Bytes& plain = Table(Built(LargeMachine()), "DSDT");
  EXPECT_EQ(std::string(plain.begin(), plain.end()).find("PRES"), std::string::npos);
}

TEST(AcpiTables, TheMcfgHasOneBusForEachSegment) {
  AcpiTables tables = Built(LargeMachine());
  const Bytes& mcfg = Table(tables, "MCFG");

  ASSERT_EQ(mcfg.size(), 36u + 8 + 2 * 16);
  EXPECT_EQ(Number(mcfg, 44, 8), 0xe8000000u);
  EXPECT_EQ(Number(mcfg, 60, 8), 0xe8100000u);
  EXPECT_EQ(Number(mcfg, 68, 2), 1u);
  EXPECT_EQ(Number(mcfg, 70, 2), 0u) << "bus 0 to 0";
}

TEST(AcpiTables, TheSratMapsSparseIdsToDenseDomainsInOrder) {
  AcpiTables tables = Built(LargeMachine());
  std::vector<Bytes> entries = Structures(Table(tables, "SRAT"), 48);

  // Guest nodes 0, 7, 300 are the domains 0, 1, 2; CPUs by domain, so that Linux meets domain 0 first.
  ASSERT_EQ(entries.size(), 10u);
  EXPECT_EQ(entries[0], (Bytes{0, 16, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(entries[1][3], 3);
  EXPECT_EQ(entries[2], (Bytes{0, 16, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(entries[5], (Bytes{2, 24, 0, 0, 2, 0, 0, 0, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(entries[6][0], 1);
  EXPECT_EQ(Number(entries[6], 2, 4), 0u);
  EXPECT_EQ(Number(entries[6], 8, 8), 0u);
  EXPECT_EQ(Number(entries[6], 16, 8), 0xc0000000u);
  EXPECT_EQ(Number(entries[6], 28, 4), 1u);
  EXPECT_EQ(Number(entries[9], 2, 4), 2u);
  EXPECT_EQ(Number(entries[9], 28, 4), 3u) << "hot-pluggable";
}

TEST(AcpiTables, TheSlitHoldsAsymmetricDistancesOfSparseIds) {
  AcpiTables tables = Built(LargeMachine());
  const Bytes& slit = Table(tables, "SLIT");

  EXPECT_EQ(Number(slit, 36, 8), 3u);
  // Only 300 -> 7 is not given: it is the way back.
  EXPECT_EQ(Bytes(slit.begin() + 44, slit.end()), (Bytes{10, 15, 20,  //
                                                         20, 10, 25,  //
                                                         25, 25, 10}));
}

TEST(AcpiTables, UnknownDistancesAreTwenty) {
  AcpiInput input = LargeMachine();
  input.distances.clear();
  AcpiTables tables = Built(input);

  EXPECT_EQ(Number(Table(tables, "SLIT"), 45, 1), 20u);
}

TEST(AcpiTables, WithoutNodesThereIsNeitherSratNorSlit) {
  for (const AcpiBlob& blob : Built(SmallMachine()).blobs) {
    EXPECT_NE(blob.signature, "SRAT");
    EXPECT_NE(blob.signature, "SLIT");
  }
}

TEST(AcpiTables, TwoHundredFiftyFourVcpusOnSixtyFourNodesFitTheArea) {
  AcpiInput input = SmallMachine();
  input.vcpus.clear();
  for (uint32_t node = 0; node < 64; ++node) input.nodes.push_back(node * 1000);
  for (uint32_t id = 0; id < 254; ++id) input.vcpus.push_back({id, true, id % 64 * 1000});

  EXPECT_LE(Raw(Built(input).end), layout::kSmbios);
}

TEST(AcpiTables, RefusesTablesThatDoNotFit) {
  AcpiInput input = SmallMachine();
  input.vcpus.clear();
  for (uint32_t id = 0; id < 4096; ++id) input.vcpus.push_back({1000000 + id, true, {}});
  input.nodes.clear();
  EXPECT_TRUE(BuildAcpiTables(input).has_value());
  for (uint32_t node = 0; node < 600; ++node) input.nodes.push_back(node);
  for (AcpiVcpu& vcpu : input.vcpus) vcpu.node = vcpu.apic_id % 600;

  EXPECT_EQ(BuildAcpiTables(input).status().code(), StatusCode::kResourceExhausted);
}

TEST(AcpiTables, RefusesInputThatContradictsItself) {
  auto refused = [](auto change) {
    AcpiInput input = LargeMachine();
    change(input);
    return BuildAcpiTables(input).status().code();
  };
  constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
  EXPECT_EQ(refused([](AcpiInput& i) { i.vcpus[1].apic_id = 0; }), kInvalid);
  EXPECT_EQ(refused([](AcpiInput& i) { i.vcpus[1].node.reset(); }), kInvalid);
  EXPECT_EQ(refused([](AcpiInput& i) { i.vcpus[1].node = 9; }), kInvalid);
  EXPECT_EQ(refused([](AcpiInput& i) { i.vcpus.clear(); }), kInvalid);
  EXPECT_EQ(refused([](AcpiInput& i) { i.memory[0].node = 9; }), kInvalid);
  EXPECT_EQ(refused([](AcpiInput& i) { i.memory[0].size = 0; }), kInvalid);
  EXPECT_EQ(refused([](AcpiInput& i) { i.nodes.push_back(0); }), kInvalid);
  EXPECT_EQ(refused([](AcpiInput& i) { i.segments[1].segment = 0; }), kInvalid);
  EXPECT_EQ(refused([](AcpiInput& i) { i.segments[0].mmio32->size = 0x80000000; }), kInvalid);
}

TEST(ProximityDomains, AreDenseInTheOrderOfTheIds) {
  EXPECT_EQ(ProximityDomains({7, 0, 4294967295u}),
            (std::map<uint32_t, uint32_t>{{0, 0}, {7, 1}, {4294967295u, 2}}));
}

}  // namespace
}  // namespace berth::vmm::acpi
