#include "compute-agent/preflight/preflight.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/compute-agent/preflight/confidential_hosts.h"

namespace berth::agent {
namespace {

// A host and what is wanted of it.
struct Case {
  fakes::FakeSysfs host;
  ConfidentialConfig config;
  double cpu_ratio = 1.0;
  double ram_ratio = 1.0;
  bool devices = true;

  PreflightReport Check() {
    Root root = host.Open();
    HostInventory inventory = Discover(root);
    inventory.facts.kvm.usable = inventory.facts.kvm.present;
    HostSettings settings = ReadHostSettings(root);
    EXPECT_EQ(settings.warnings, std::vector<std::string>());
    return CheckHost(PreflightInput{.inventory = inventory,
                                    .settings = settings,
                                    .confidential = config,
                                    .cpu_allocation_ratio = cpu_ratio,
                                    .ram_allocation_ratio = ram_ratio,
                                    .reserved_memory = {{0, uint64_t{512} << 20}},
                                    .devices_configured = devices});
  }
};

// The findings that are not ok: "K9 warning".
std::vector<std::string> Bad(const PreflightReport& report) {
  std::vector<std::string> bad;
  for (const Finding& finding : report.findings) {
    EXPECT_FALSE(finding.found.empty()) << finding.id;
    EXPECT_FALSE(finding.needed.empty()) << finding.id;
    EXPECT_EQ(finding.severity == Severity::kOk && !finding.repair.empty(), false) << finding.id;
    if (finding.severity != Severity::kOk) bad.push_back(finding.id + " " + SeverityName(finding.severity));
  }
  return bad;
}

std::string Repair(const PreflightReport& report, const std::string& id) {
  for (const Finding& finding : report.findings) {
    if (finding.id == id && finding.severity != Severity::kOk) return finding.repair;
  }
  return "no finding";
}

using Lines = std::vector<std::string>;

// One thing is wrong with a Kunpeng host, and exactly that is found.
void ExpectOnKunpeng(const std::function<void(Case&)>& spoil, const Lines& expected, bool passes) {
  Case c;
  MakeKunpeng(c.host);
  spoil(c);
  PreflightReport report = c.Check();
  EXPECT_EQ(Bad(report), expected);
  EXPECT_EQ(report.Passed(Scope::kConfidential), passes);
}

TEST(Preflight, AKunpengHostThatIsSetUpAsDocumentedPassesEveryCheck) {
  ExpectOnKunpeng([](Case&) {}, {}, true);
}

TEST(Preflight, K1TheMemoryInsertionMustBeSymmetricalBetweenNumaNodes) {
  ExpectOnKunpeng([](Case& c) { c.host.Node(2).Memory(GiB(12)); }, {"K1 error"}, false);
  ExpectOnKunpeng(
      [](Case& c) {
        c.host.Node(2).Memory(GiB(12));
        c.config.symmetry_percent = 10;
      },
      {}, true);
}

TEST(Preflight, K2ThreeChannelInterleavingMustBeDisabled) {
  ExpectOnKunpeng(
      [](Case& c) { c.host.File("sys/firmware/dmi/entries/17-3/raw", RawDimm("DIMM030 J3", false)); },
      {"K2 warning"}, true);
  ExpectOnKunpeng(
      [](Case& c) {
        for (int i = 0; i < 8; ++i)
          c.host.WithoutFile("sys/firmware/dmi/entries/17-" + std::to_string(i) + "/raw");
      },
      {"K2 info"}, true);
}

TEST(Preflight, K3UseOpenEuler2403LtsSp2ForHosts) {
  ExpectOnKunpeng(
      [](Case& c) { c.host.File("etc/os-release", "PRETTY_NAME=\"openEuler 24.03 (LTS-SP1)\"\n"); },
      {"K3 error"}, false);
  ExpectOnKunpeng(
      [](Case& c) {
        c.host.File("etc/os-release", "PRETTY_NAME=\"openEuler 24.03 (LTS-SP1)\"\n");
        c.config.required_os.clear();
      },
      {}, true);
}

TEST(Preflight, K5TheSwiotlbBufferOccupiesNonSecureMemory) {
  ExpectOnKunpeng(
      [](Case& c) {
        for (uint32_t node = 0; node < 4; ++node) c.host.Node(node).Memory(MiB(640));
      },
      {"K5 error", "K5 warning", "K5 warning", "K5 warning"}, false);
}

TEST(Preflight, K6TheMinimumSecureMemorySpaceOfACvmIs1Gb) {
  ExpectOnKunpeng(
      [](Case& c) {
        std::string memory;
        for (uint32_t node = 0; node < 4; ++node) memory += TmmNodeLines(node, 1000, 0, 8);
        c.host.File("sys/kernel/tmm/memory_info", memory);
      },
      {"K6 error", "K6 warning", "K6 warning", "K6 warning", "K6 warning"}, false);
}

TEST(Preflight, K7TheNumaNodesOfTheCpusMustBeTheSameAsTheNodesAffinitiveToTheNic) {
  ExpectOnKunpeng([](Case& c) { c.host.RemoveDevice("0000:13:00.0"); }, {"K7 warning"}, true);
}

TEST(Preflight, K8EnsureThatSysctlOvercommitMemoryIsSetTo1) {
  ExpectOnKunpeng([](Case& c) { c.host.OvercommitMemory(0); }, {"K8 error"}, false);
  Case c;
  MakeKunpeng(c.host);
  c.host.OvercommitMemory(2);
  EXPECT_EQ(Repair(c.Check(), "K8"),
            "sysctl -w vm.overcommit_memory=1; to keep it: echo vm.overcommit_memory=1 > "
            "/etc/sysctl.d/90-berth.conf");
  // Less secure than ordinary memory: a recommendation.
  ExpectOnKunpeng(
      [](Case& d) {
        d.host.OvercommitMemory(0);
        for (uint32_t node = 0; node < 4; ++node) d.host.Node(node).Memory(GiB(64));
      },
      {"K8 warning"}, true);
}

TEST(Preflight, K9ItIsRecommendedToDeployOnSystemsWithSmtDisabled) {
  ExpectOnKunpeng([](Case& c) { c.host.File("sys/devices/system/cpu/smt/active", "1\n"); }, {"K9 warning"},
                  true);
  Case c;
  MakeKunpeng(c.host);
  c.host.File("sys/devices/system/cpu/smt/active", "1\n");
  EXPECT_EQ(Repair(c.Check(), "K9"),
            "BIOS: Advanced > Power And Performance Configuration > CPU PM Control > SMT2: Disabled");
}

TEST(Preflight, K10CpuOrMemoryOvercommitmentIsNotSupported) {
  ExpectOnKunpeng([](Case& c) { c.cpu_ratio = 4.0; }, {"K10 error"}, false);
  ExpectOnKunpeng([](Case& c) { c.ram_ratio = 1.5; }, {"K10 error"}, false);
}

TEST(Preflight, KvmIommuVfioMemlockAndDmaEntryLimitAreChecked) {
  ExpectOnKunpeng([](Case& c) { c.host.Kvm(false); }, {"kvm error"}, false);
  ExpectOnKunpeng([](Case& c) { c.host.WithoutFile("sys/bus/pci/drivers/vfio-pci"); }, {"vfio_pci error"},
                  true);
  ExpectOnKunpeng([](Case& c) { c.host.WithoutFile("dev/vfio/vfio"); }, {"vfio error"}, true);
  ExpectOnKunpeng(
      [](Case& c) {
        c.host.File("sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "65535\n");
        c.host.File("proc/self/limits",
                    "Max locked memory         8388608              8388608              bytes\n");
      },
      {"memlock warning", "dma_entry_limit warning"}, true);
  ExpectOnKunpeng([](Case& c) { c.host.KernelCommandLine("virtcca_cvm_host=1 vfio_pci.disable_idle_d3=1"); },
                  {"kernel_options warning"}, true);
}

TEST(Preflight, ATdxHostNeedsMemorySetAside) {
  Case c;
  MakeTdxHost(c.host);
  PreflightReport without = c.Check();
  EXPECT_EQ(Bad(without), Lines{"K6 error"});
  EXPECT_FALSE(without.Passed(Scope::kConfidential));
  c.config.secure_memory = {{0, uint64_t{32} << 30}, {1, uint64_t{32} << 30}};

  PreflightReport report = c.Check();

  EXPECT_EQ(Bad(report), Lines());
  EXPECT_EQ(report.kind, ConfidentialKind::kTdx);
  EXPECT_TRUE(report.secure.from_ordinary);
  EXPECT_TRUE(report.Passed(Scope::kConfidential));
}

TEST(Preflight, AnSnpHostNeedsItsDeviceAndKeys) {
  Case c;
  MakeSnpHost(c.host);
  c.config.secure_memory = {{0, uint64_t{32} << 30}, {1, uint64_t{32} << 30}};
  EXPECT_EQ(Bad(c.Check()), Lines());
  c.host.File("sys/fs/cgroup/misc.capacity", "sev 410\nsev_es 0\n");
  EXPECT_EQ(Bad(c.Check()), Lines{"guest_limit error"});
  c.host.WithoutFile("dev/sev");
  c.config.kind = ConfidentialKind::kSevSnp;
  PreflightReport report = c.Check();
  EXPECT_EQ(Bad(report), (Lines{"technique error", "guest_limit error"}));
  EXPECT_FALSE(report.Passed(Scope::kConfidential));
}

TEST(Preflight, AConfiguredTechniqueThatTheHostDoesNotShowIsAnErrorWithTheWayToSwitchItOn) {
  Case c;
  MakeTdxHost(c.host);
  c.host.File("sys/module/kvm_intel/parameters/tdx", "N\n");
  EXPECT_EQ(c.Check().kind, ConfidentialKind::kNone);  // auto
  c.config.kind = ConfidentialKind::kTdx;
  c.config.secure_memory = {{0, uint64_t{1} << 30}, {1, uint64_t{1} << 30}};
  EXPECT_EQ(Bad(c.Check()), Lines{"technique error"});
  EXPECT_NE(Repair(c.Check(), "technique").find("kvm_intel.tdx=1"), std::string::npos);
  c.config.kind = ConfidentialKind::kVirtcca;
  EXPECT_NE(Repair(c.Check(), "technique").find("virtcca_cvm_host=1"), std::string::npos);
}

TEST(Preflight, AnOrdinaryHostIsCheckedForGuestsAndDevicesOnly) {
  Case c;
  c.host.Node(0).Cpus("0-3").Memory(GiB(8));
  c.devices = false;
  PreflightReport report = c.Check();
  EXPECT_EQ(Bad(report), (Lines{"huge_pages info", "iommu info", "vfio_pci info", "vfio info"}));
  EXPECT_EQ(report.kind, ConfidentialKind::kNone);
  c.devices = true;
  EXPECT_FALSE(c.Check().Passed(Scope::kDevices));
  EXPECT_TRUE(c.Check().Passed(Scope::kGuests));
}

TEST(SecureMemory, IsAlignedTo2MiBAndLeavesRoomForTheMonitorsMetadata) {
  ConfidentialState state;
  state.secure_nodes = {{0, (uint64_t{4} << 30) + 4096, 0, 0, 0},
                        {1, uint64_t{4} << 30, 0, 0, uint64_t{100} << 20},
                        {2, (uint64_t{1} << 30) + (uint64_t{63} << 20), 0, 0, 0}};
  SecureMemory secure = FindSecureMemory(ConfidentialKind::kVirtcca, {}, state);
  EXPECT_EQ(secure.bytes,
            (std::map<placement::NumaNode, uint64_t>{{0, (uint64_t{4} << 30) - (uint64_t{64} << 20)},
                                                     {1, (uint64_t{4} << 30) - (uint64_t{100} << 20)}}));
  EXPECT_EQ(secure.warnings.size(), 1u);
  EXPECT_FALSE(secure.from_ordinary);
  EXPECT_TRUE(FindSecureMemory(ConfidentialKind::kNone, {}, state).bytes.empty());
}

TEST(HostSettings, DimmsAndLimitsAreReadAsTheKernelWritesThem) {
  EXPECT_EQ(*ParseDimmSlot(RawDimm("DIMM000 J5", true)), (DimmSlot{"DIMM000 J5", true}));
  EXPECT_FALSE(ParseDimmSlot(RawDimm("A", true).substr(0, 0x20)).has_value());
  EXPECT_FALSE(ParseDimmSlot("").has_value());
  EXPECT_EQ(ParseDimmSlot(RawDimm("", false).substr(0, 0x28))->locator, "");
  EXPECT_EQ(*ParseMemlock("Max locked memory         65536  65536 bytes\n"), 65536u);
  EXPECT_EQ(*ParseMemlock("Max locked memory         unlimited unlimited bytes\n"), UINT64_MAX);
  EXPECT_FALSE(ParseMemlock("Max cpu time unlimited\n").has_value());
  EXPECT_FALSE(ParseMemlock("Max locked memory").has_value());
}

}  // namespace
}  // namespace berth::agent
