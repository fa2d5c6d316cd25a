// Has Intel's compiler read the tables back: it decompiles each one and must compile the result again without
// a warning; a table without AML must come out with the same bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/vmm/acpi/sample_input.h"
#include "vmm/config/resolved_machine.h"
#include "vmm/config/validate.h"
#include "vmm/machine/acpi_input.h"

namespace berth::vmm::acpi {
namespace {

namespace fs = std::filesystem;

constexpr size_t kHeaderSize = 36;

std::string FileText(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class Iasl : public testing::TestWithParam<AcpiInput (*)()> {
 protected:
  void SetUp() override {
    if (std::system("command -v iasl > /dev/null") != 0)
      GTEST_SKIP() << "iasl is missing: install acpica-tools";
    std::string name = (fs::temp_directory_path() / "berth-iasl-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  // Runs iasl in the folder and returns what it says.
  std::string Run(const std::string& arguments) {
    std::string command = "cd '" + folder_.string() + "' && iasl " + arguments + " > log 2>&1";
    int status = std::system(command.c_str());
    std::string log = FileText(folder_ / "log");
    EXPECT_EQ(status, 0) << log;
    return log;
  }

  fs::path folder_;
};

TEST_P(Iasl, ReadsEveryTableAndCompilesItAgainWithoutWarnings) {
  Result<AcpiTables> tables = BuildAcpiTables(GetParam()());
  ASSERT_TRUE(tables.has_value());
  for (const AcpiBlob& blob : tables->blobs) {
    if (blob.signature == "RSD PTR ") continue;
    SCOPED_TRACE(blob.signature);
    std::ofstream(folder_ / "table.dat", std::ios::binary)
        .write(reinterpret_cast<const char*>(blob.bytes.data()),
               static_cast<std::streamsize>(blob.bytes.size()));

    std::string decompiled = Run("-d table.dat");
    EXPECT_EQ(decompiled.find("arning"), std::string::npos) << decompiled;
    EXPECT_EQ(decompiled.find("rror"), std::string::npos) << decompiled;
    std::string compiled = Run("-p again table.dsl");

    EXPECT_NE(compiled.find("0 Errors, 0 Warnings"), std::string::npos) << compiled;
    if (blob.signature == "DSDT") continue;
    // The header carries the compiler's own name.
    std::string again = FileText(folder_ / "again.aml");
    std::string original = FileText(folder_ / "table.dat");
    // Compilers older than 2021 know a VIOT's header only.
    if (blob.signature == "VIOT" && again.size() == kHeaderSize) continue;
    EXPECT_EQ(again.size(), original.size());
    EXPECT_TRUE(again.substr(kHeaderSize) == original.substr(kHeaderSize)) << FileText(folder_ / "table.dsl");
  }
}

// What the machine makes of a configuration at the limits: as many vCPUs as there can be in as many nodes as
// Linux knows by default, each with memory of its own whose speed the host tells, in four PCI segments.
AcpiInput LargestMachine() {
  constexpr uint32_t kNodes = 64, kSegments = 4;
  VmConfig config;
  config.kernel = "vmlinuz";
  config.cpus.boot = config.cpus.max = kMaxVcpus;
  config.memory.size = ByteSize();
  config.platform.num_pci_segments = kSegments;
  config.platform.iommu_model = IommuModel::kIntel;
  HostPerformance host;
  for (uint32_t i = 0; i < kNodes; ++i) {
    MemoryZoneConfig& zone = config.memory_zones.emplace_back();
    zone.id = "zone" + std::to_string(i);
    zone.size = MiB(128);
    zone.host_numa_node = i;
    NumaConfig& node = config.numa.emplace_back();
    node.guest_numa_id = i;
    // Four a node, so that each socket has room for so many APIC ids, and two in the last one.
    node.cpus = CpuSet::Range(4 * i, std::min(4 * i + 3, kMaxVcpus - 1));
    node.memory_zones = {zone.id};
    if (i < kSegments) node.pci_segments = {i};
    host[i] = {90 + i, 95 + i, 80'000 - i, 70'000 - i};
  }
  const ConfigErrors errors = ValidateConfig(config);
  EXPECT_TRUE(errors.empty()) << ToText(errors);
  std::vector<MemoryRegion> regions;
  for (const ResolvedRegion& resolved : ResolveMachine(config).regions) {
    MemoryRegion& region = regions.emplace_back();
    region.base = Gpa{resolved.base};
    region.size = resolved.size;
    region.zone = resolved.zone;
    region.host_numa_node = resolved.host_numa_node;
  }
  const auto topology = BuildCpuTopology(config.cpus, config.numa);
  EXPECT_TRUE(topology.has_value()) << topology.status().ToString();
  AcpiInput input =
      BuildAcpiInput(config, topology.value_or(CpuTopology()), GuestMemory(std::move(regions)), {}, host, 46);
  EXPECT_EQ(input.vcpus.size(), kMaxVcpus);
  EXPECT_EQ(input.nodes.size(), kNodes);
  EXPECT_EQ(input.performance.size(), kNodes);
  EXPECT_EQ(input.vtd->units.size(), kSegments);
  return input;
}

INSTANTIATE_TEST_SUITE_P(Machines, Iasl,
                         testing::Values(&SmallMachine, &LargeMachine, &GrowingMachine, &RemappedMachine,
                                         &LargestMachine));

}  // namespace
}  // namespace berth::vmm::acpi
