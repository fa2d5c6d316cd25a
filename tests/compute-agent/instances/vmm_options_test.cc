#include "compute-agent/instances/vmm_options.h"

#include <gtest/gtest.h>

#include "tests/compute-agent/instances/claims.h"
#include "vmm/config/command_line.h"

namespace berth::agent {
namespace {

constexpr uint64_t kMi = uint64_t{1} << 20;
const VmmPaths kPaths{"/s/api.sock", "/s/serial.sock"};

// Two guest cells on two host cells: vCPUs 0 and 1 pinned, 2 and 3 floating.
placement::Claim TwoCells() {
  placement::Claim claim = TestClaim("vm", 4, 320 * kMi);
  claim.cells = {TestBinding(0, 1, "0-1", 64 * kMi), TestBinding(1, 0, "2-3", 256 * kMi)};
  claim.cells[0].pinning = {{0, 5}, {1, 6}};
  claim.cells[1].page_size_bytes = 2 * kMi;
  return claim;
}

std::string Text(const Result<std::vector<std::string>>& arguments) {
  if (!arguments.has_value()) return arguments.error().ToString();
  std::string text;
  for (const std::string& argument : *arguments) text += argument + "\n";
  return text;
}

TEST(VmmOptions, EveryGuestCellIsAZoneOnItsHostNodeAndAGuestNode) {
  placement::Claim claim = TwoCells();
  claim.spec.initramfs = "/boot/initrd";
  claim.spec.cmdline = "console=ttyS0 --quiet";
  claim.spec.disks = {"path=/d,readonly=on"};
  claim.spec.nets = {"tap=tap0"};

  auto arguments = VmmArguments(claim, TestHost(), ExclusiveCpus({claim}), kPaths);

  EXPECT_EQ(Text(arguments),
            "--api-socket=/s/api.sock\n"
            "--serial=socket=/s/serial.sock\n"
            "--kernel=/proc/version\n"
            "--initramfs=/boot/initrd\n"
            "--cmdline=console=ttyS0 --quiet\n"
            "--cpus=boot=4,affinity=[0@[5],1@[6],2@[0-3],3@[0-3]]\n"
            "--memory=size=0\n"
            "--memory-zone=id=mem0,size=67108864,host_numa_node=1,prefault=on\n"
            "--numa=guest_numa_id=0,cpus=[0-1],memory_zones=[mem0],distances=[1@21]\n"
            "--memory-zone=id=mem1,size=268435456,host_numa_node=0,hugepages=on,hugepage_size=2M,shared=on,"
            "prefault=on\n"
            "--numa=guest_numa_id=1,cpus=[2-3],memory_zones=[mem1],distances=[0@21]\n"
            "--disk=path=/d,readonly=on\n"
            "--net=tap=tap0\n");
}

TEST(VmmOptions, DevicesOfTheHostAreBehindTheIommuThatTheFlavorAsksFor) {
  placement::Claim claim = TwoCells();
  claim.devices = {{0, *PciAddress::Parse("0000:21:10.0"), "vf", 1}};
  claim.spec.disks = {"path=/d"};
  for (const char* model : {"virtio", "auto"}) {
    claim.spec.viommu = model;
    const std::string text = Text(VmmArguments(claim, TestHost(), ExclusiveCpus({claim}), kPaths));
    EXPECT_NE(text.find("--device=path=/sys/bus/pci/devices/0000:21:10.0,id=pci-0000:21:10.0,iommu=on\n"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("--disk=path=/d\n"), std::string::npos) << text;
  }
  claim.devices.clear();
  EXPECT_NE(Text(VmmArguments(claim, TestHost(), {}, kPaths)).find("--rng=src=/dev/urandom,iommu=on\n"),
            std::string::npos);
  claim.spec.viommu = "intel";
  claim.devices = {{0, *PciAddress::Parse("0000:21:10.0"), "vf", 1}};
  const std::string intel = Text(VmmArguments(claim, TestHost(), {}, kPaths));
  EXPECT_NE(intel.find("--platform=iommu_model=intel\n"), std::string::npos) << intel;
  EXPECT_NE(intel.find("id=pci-0000:21:10.0,iommu=on\n"), std::string::npos) << intel;
  claim.devices.clear();
  const std::string alone = Text(VmmArguments(claim, TestHost(), {}, kPaths));
  EXPECT_NE(alone.find("--platform=iommu_model=intel\n"), std::string::npos) << alone;
  EXPECT_EQ(alone.find("--rng"), std::string::npos) << alone;
  for (const char* model : {"smmuv3", "amd"}) {
    claim.spec.viommu = model;
    auto refused = VmmArguments(claim, TestHost(), {}, kPaths);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().field(), "hw:viommu_model");
    EXPECT_NE(refused.error().message().find(model), std::string::npos);
  }
}

TEST(VmmOptions, TheVmmUnderstandsThem) {
  placement::Claim claim = TwoCells();
  claim.spec.cmdline = "--check";
  auto arguments = VmmArguments(claim, TestHost(), ExclusiveCpus({claim}), kPaths);
  ASSERT_TRUE(arguments.has_value());

  auto line = vmm::ParseCommandLine(*arguments);

  ASSERT_TRUE(line.has_value()) << vmm::ToText(line.error());
  EXPECT_EQ(line->action, vmm::CommandLine::Action::kRun);
  EXPECT_EQ(line->config.cmdline, "--check");
  EXPECT_EQ(line->config.cpus.affinity.at(0), (CpuSet{5}));
  EXPECT_EQ(line->config.memory_zones.at(1).host_numa_node, 0u);
  EXPECT_EQ(line->config.numa.at(0).distances.at(1), 21);
  EXPECT_EQ(line->config.serial.path, "/s/serial.sock");
}

TEST(VmmOptions, AClaimWithoutTopologyFloatsOverAllSharedCpusThatNobodyOwns) {
  placement::Claim claim = TestClaim("vm", 2, 512 * kMi);
  placement::Claim other = TwoCells();

  auto arguments = VmmArguments(claim, TestHost(), ExclusiveCpus({claim, other}), kPaths);

  EXPECT_EQ(Text(arguments),
            "--api-socket=/s/api.sock\n--serial=socket=/s/serial.sock\n--kernel=/proc/version\n"
            "--cpus=boot=2,affinity=[0@[0-4,7],1@[0-4,7]]\n--memory=size=536870912\n");
}

TEST(VmmOptions, ReservedCpusAreExclusiveToo) {
  placement::Claim claim = TwoCells();
  claim.cells[0].reserved = CpuSet{7};
  EXPECT_EQ(ExclusiveCpus({claim}).ToString(), "5-7");
}

TEST(VmmOptions, AFloatingVcpuKeepsTheSharedSetWhenNothingElseIsLeft) {
  placement::Claim claim = TestClaim("vm", 1, 2 * kMi);
  claim.cells = {TestBinding(0, 0, "0", 64 * kMi)};
  EXPECT_EQ(VcpuAffinity(claim, TestHost(), CpuSet::Range(0, 3)).at(0).ToString(), "0-3");
}

TEST(VmmOptions, DistancesOutsideOfWhatAcpiKnowsAreMadeToFit) {
  placement::HostReport host = TestHost();
  host.cells[0].distances = {10, 10};
  host.cells[1].distances = {255, 10};
  auto arguments = VmmArguments(TwoCells(), host, {}, kPaths);
  EXPECT_NE(Text(arguments).find("distances=[1@254]"), std::string::npos);
  EXPECT_NE(Text(arguments).find("distances=[0@11]"), std::string::npos);
  host.cells[0].distances.clear();
  EXPECT_EQ(Text(VmmArguments(TwoCells(), host, {}, kPaths)).find("distances=[0@"), std::string::npos);
}

TEST(VmmOptions, ADeviceSitsInASegmentOfTheGuestNodeThatIsOnItsHostNode) {
  placement::Claim claim = TwoCells();  // guest cell 0 on host cell 1, guest cell 1 on host cell 0
  claim.devices = {{0, *PciAddress::Parse("0000:21:10.0"), "vf", 0},
                   {0, *PciAddress::Parse("0000:61:10.0"), "vf", 1},
                   {1, *PciAddress::Parse("0000:21:10.2"), "vf", 0},
                   {2, *PciAddress::Parse("0000:05:00.0"), "disk", std::nullopt}};

  auto arguments = VmmArguments(claim, TestHost(), ExclusiveCpus({claim}), kPaths);

  ASSERT_TRUE(arguments.has_value());
  const std::string text = Text(arguments);
  EXPECT_NE(text.find("--platform=num_pci_segments=2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("memory_zones=[mem0],pci_segments=[0],"), std::string::npos);
  EXPECT_NE(text.find("memory_zones=[mem1],pci_segments=[1],"), std::string::npos);
  EXPECT_NE(text.find("--device=path=/sys/bus/pci/devices/0000:21:10.0,id=pci-0000:21:10.0,pci_segment=1\n"
                      "--device=path=/sys/bus/pci/devices/0000:61:10.0,id=pci-0000:61:10.0\n"
                      "--device=path=/sys/bus/pci/devices/0000:21:10.2,id=pci-0000:21:10.2,pci_segment=1\n"
                      "--device=path=/sys/bus/pci/devices/0000:05:00.0,id=pci-0000:05:00.0\n"),
            std::string::npos)
      << text;
  auto line = vmm::ParseCommandLine(*arguments);
  ASSERT_TRUE(line.has_value()) << vmm::ToText(line.error());
  EXPECT_EQ(line->config.devices.size(), 4u);
  EXPECT_TRUE(line->config.numa.at(1).pci_segments.Contains(1));
}

TEST(VmmOptions, ADeviceOfAnotherNodeSitsWithTheNearestGuestNode) {
  placement::HostReport host = TestHost();
  host.cells.push_back(TestCell(2, "8-9"));
  host.cells[0].distances = {10, 21, 12};
  host.cells[1].distances = {21, 10, 32};
  placement::Claim claim = TwoCells();
  claim.devices = {{0, *PciAddress::Parse("0000:61:00.0"), "vf", 2}};

  auto arguments = VmmArguments(claim, host, {}, kPaths);

  EXPECT_NE(Text(arguments).find("id=pci-0000:61:00.0,pci_segment=1"), std::string::npos) << Text(arguments);
}

TEST(VmmOptions, ADeviceOfAClaimWithoutCellsNeedsNoSegment) {
  placement::Claim claim = TestClaim("vm", 1, 2 * kMi);
  claim.devices = {{0, *PciAddress::Parse("0000:61:00.0"), "vf", 1}};
  const std::string text = Text(VmmArguments(claim, TestHost(), {}, kPaths));
  EXPECT_NE(text.find("--device=path=/sys/bus/pci/devices/0000:61:00.0,id=pci-0000:61:00.0\n"),
            std::string::npos);
  EXPECT_EQ(text.find("platform"), std::string::npos);
}

TEST(VmmOptions, RelativePathsAndUnknownCellsAreRefused) {
  placement::Claim claim = TwoCells();
  claim.spec.kernel = "vmlinuz";
  EXPECT_EQ(Text(VmmArguments(claim, TestHost(), {}, kPaths)),
            "INVALID_ARGUMENT: kernel: kernel \"vmlinuz\" is not an absolute path (a path on the host that "
            "runs the "
            "instance)");
  claim = TwoCells();
  claim.cells[0].host_cell = 9;
  EXPECT_EQ(Text(VmmArguments(claim, TestHost(), {}, kPaths)),
            "FAILED_PRECONDITION: cells: the claim names cell 9, which this host does not have");
}

TEST(VmmOptions, NameWhatKeepsTheMemoryFromTheHost) {
  auto arguments = VmmArguments(TwoCells(), TestHost(), {}, kPaths, "sw-protected");

  EXPECT_NE(Text(arguments).find("confidential=sw-protected"), std::string::npos) << Text(arguments);
  EXPECT_EQ(Text(VmmArguments(TwoCells(), TestHost(), {}, kPaths)).find("confidential="), std::string::npos);
}

}  // namespace
}  // namespace berth::agent
