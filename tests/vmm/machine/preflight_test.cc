#include "vmm/machine/preflight.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/vmm/boot/kernel_image.h"
#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {
namespace {

// A host in a directory: nodes 0 and 1 with CPUs 0-1 and 2-3, no huge pages.
class PreflightTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "preflight_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
    Put("sys/devices/system/cpu/online", "0-3\n");
    for (int node : {0, 1}) {
      const std::string folder = "sys/devices/system/node/node" + std::to_string(node);
      Put(folder + "/meminfo", "x");
      Put(folder + "/cpulist", node == 0 ? "0-1\n" : "2-3\n");
    }
    KernelImage image;
    std::ofstream(root_ + "/vmlinuz", std::ios::binary)
        .write(reinterpret_cast<const char*>(image.bytes().data()), static_cast<long>(image.bytes().size()));
    config_.kernel = root_ + "/vmlinuz";
    config_.memory.size = ByteSize();
    config_.memory_zones.resize(2);
    for (uint32_t i : {0u, 1u}) {
      config_.memory_zones[i].id = "m" + std::to_string(i);
      config_.memory_zones[i].size = MiB(64);
      config_.memory_zones[i].host_numa_node = i;
    }
    config_.cpus.boot = 2;
    config_.cpus.affinity = {{0, {0}}, {1, {2, 3}}};
    config_.numa = {{0, {0}, {}, {"m0"}}, {1, {1}, {}, {"m1"}}};
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Put(const std::string& path, const std::string& text) {
    std::filesystem::path full = root_ + "/" + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  std::vector<std::string> Codes() {
    std::vector<std::string> codes;
    for (const Finding& finding : Preflight(config_, &kvm_, root_)) codes.push_back(finding.code);
    return codes;
  }
  using List = std::vector<std::string>;

  std::string root_;
  VmConfig config_;
  FakeKvm kvm_;
};

TEST_F(PreflightTest, FindsNothingOnAGoodHost) {
  EXPECT_EQ(Codes(), List());
}

TEST_F(PreflightTest, FindsEverythingThatIsMissingAtOnce) {
  config_.kernel = "/nonexistent/vmlinuz";
  config_.initramfs = "/nonexistent/initrd";
  config_.memory_zones[0].hugepages = true;
  config_.memory_zones[0].hugepage_size = MiB(2);
  config_.memory_zones[1].host_numa_node = 7;
  config_.cpus.affinity[1] = {9};
  config_.sgx_epc = {{"e", MiB(1), false}};
  config_.disks.emplace_back();
  config_.disks[0].path = "/nonexistent/disk";
  config_.disks[0].id = "disk0";
  config_.rng = "/nonexistent/rng";

  EXPECT_EQ(Codes(), (List{"KernelUnreadable", "InitramfsUnreadable", "MemoryMissing", "HostNodeMissing",
                           "SgxMissing", "HostCpuMissing", "DiskUnusable", "RngUnreadable"}));
  EXPECT_TRUE(HasErrors(Preflight(config_, &kvm_, root_)));
}

TEST_F(PreflightTest, LooksAtTheDevicesOfTheHost) {
  config_.devices = {{.path = "/sys/bus/pci/devices/0000:21:10.0", .id = "vf"}};
  VfioSource vfio;
  VfioDemand asked;
  vfio.check = [&asked](const VfioDemand& demand) {
    asked = demand;
    return FailedPrecondition("device 0000:21:10.0 is bound to igbvf", "device", "bind it to vfio-pci");
  };

  const std::vector<Finding> findings = Preflight(config_, &kvm_, root_, vfio);

  ASSERT_EQ(findings.size(), 1u) << ToText(findings);
  EXPECT_EQ(findings[0], (Finding{Finding::Severity::kError, "DeviceUnusable", "device vf",
                                  "device 0000:21:10.0 is bound to igbvf", "bind it to vfio-pci"}));
  EXPECT_EQ(asked.addresses, (std::vector<std::string>{"0000:21:10.0"}));
}

TEST_F(PreflightTest, FindsEveryDeviceThatIsUnusable) {
  config_.devices = {{.path = "/sys/bus/pci/devices/0000:21:10.0", .id = "a"},
                     {.path = "/sys/bus/pci/devices/0000:21:10.2", .id = "good"},
                     {.path = "/sys/bus/pci/devices/0000:21:10.4", .id = "b"}};
  VfioSource vfio;
  vfio.check = [](const VfioDemand& demand) {
    for (const std::string& address : demand.addresses) {
      if (!address.ends_with("2")) return NotFound("there is no PCI device " + address);
    }
    return OkStatus();
  };
  std::vector<std::string> options;
  for (const Finding& finding : Preflight(config_, &kvm_, root_, vfio)) options.push_back(finding.option);
  EXPECT_EQ(options, (List{"device a", "device b"}));

  vfio.check = [](const VfioDemand& demand) {
    return demand.addresses.size() > 2 ? ResourceExhausted("too much memory to lock") : OkStatus();
  };
  options.clear();
  for (const Finding& finding : Preflight(config_, &kvm_, root_, vfio)) options.push_back(finding.option);
  EXPECT_EQ(options, List{"device"});
}

TEST_F(PreflightTest, APrivateFileBesideADeviceTakesItsMemoryTwice) {
  config_.devices = {{.path = "/sys/bus/pci/devices/0000:21:10.0", .id = "vf"}};
  config_.memory_zones[1].host_numa_node.reset();
  config_.memory_zones[1].file = root_ + "/ram";
  VfioSource vfio;
  vfio.check = [](const VfioDemand&) { return OkStatus(); };
  EXPECT_EQ(
      AssignedDevices::Check(config_, vfio).message(),
      "memory zone m1 maps its file privately: beside a device of the host it would take its memory twice");
  vfio.check = [](const VfioDemand&) { return NotFound("there is no PCI device 0000:21:10.0"); };
  List options;
  for (const Finding& finding : Preflight(config_, &kvm_, root_, vfio)) options.push_back(finding.option);
  EXPECT_EQ(options, (List{"memory-zone[1]", "memory-zone[1]", "device vf"})) << "the first: it will be made";
  vfio.check = [](const VfioDemand&) { return OkStatus(); };
  config_.memory_zones[1].shared = true;
  EXPECT_EQ(AssignedDevices::Check(config_, vfio), OkStatus());
  config_.memory_zones[1].shared = false;
  config_.memory_zones[1].file = root_;  // a directory
  EXPECT_EQ(AssignedDevices::Check(config_, vfio), OkStatus());
}

TEST_F(PreflightTest, FindsEveryZoneThatLacksHugePages) {
  for (int node : {0, 1}) {
    for (const char* size : {"2048", "1048576"}) {
      const std::string pool = std::string("hugepages/hugepages-") + size + "kB/free_hugepages";
      Put("sys/kernel/mm/" + pool, "0\n");
      Put("sys/devices/system/node/node" + std::to_string(node) + "/" + pool, "0\n");
    }
  }
  for (uint32_t i : {0u, 1u}) {
    config_.memory_zones[i].hugepages = true;
    config_.memory_zones[i].size = GiB(1);
    config_.memory_zones[i].hugepage_size = i == 0 ? MiB(2) : GiB(1);
  }

  const std::vector<Finding> findings = Preflight(config_, &kvm_, root_);

  ASSERT_EQ(findings.size(), 2u) << ToText(findings);
  EXPECT_EQ(findings[0].option, "memory-zone[0]");
  EXPECT_EQ(findings[0].message, "memory zones m0 need 512 huge pages of 2M, host NUMA node 0 has 0 free");
  EXPECT_EQ(findings[1].option, "memory-zone[1]");
  EXPECT_EQ(findings[1].message, "memory zones m1 need 1 huge pages of 1G, host NUMA node 1 has 0 free");
}

TEST_F(PreflightTest, MeasuresByTheHostsHugePages) {
  Put("proc/meminfo", "Hugepagesize:       2048 kB\n");
  Put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "100\n");
  config_.memory_zones.clear();
  config_.numa.clear();
  config_.memory.size = KiB(3076);
  config_.memory.hugepages = true;

  const std::vector<Finding> findings = Preflight(config_, &kvm_, root_);

  ASSERT_EQ(findings.size(), 1u) << ToText(findings);
  EXPECT_EQ(findings[0].option, "memory");
  EXPECT_EQ(findings[0].message,
            "size=3076K of zone mem0 is not a multiple of 2M, as pages of 2M need on this host");
}

TEST_F(PreflightTest, LooksAtTheFilesOfZones) {
  Put("ram", "abc");
  for (MemoryZoneConfig& zone : config_.memory_zones) zone.host_numa_node.reset();
  config_.memory_zones[0].file = root_ + "/ram";
  config_.memory_zones[1].file = root_ + "/../" + std::filesystem::path(root_).filename().string() + "/ram";
  EXPECT_EQ(Codes(), (List{"MemoryFileUnusable", "MemoryFileUnusable", "DuplicateDevicePath"}));

  config_.memory_zones[0].file = root_ + "/new";
  config_.memory_zones[1].file = "/nonexistent/d/f";
  const std::vector<Finding> findings = Preflight(config_, &kvm_, root_);
  ASSERT_EQ(findings.size(), 3u) << ToText(findings);
  EXPECT_EQ(findings[0].severity, Finding::Severity::kWarning);
  EXPECT_EQ(findings[0].message, root_ + "/new does not exist and will be made, with 64M");
  EXPECT_EQ(findings[1].option, "memory-zone[1]");
  EXPECT_EQ(findings[1].message, "make /nonexistent/d/f in /nonexistent/d: No such file or directory");

  for (MemoryZoneConfig& zone : config_.memory_zones) zone.file = root_;  // each has a file of its own in it
  EXPECT_EQ(Codes(), List());
}

TEST_F(PreflightTest, LooksAtWhatIsToBeWritten) {
  Put("file", "");
  config_.serial = {SerialConfig::Mode::kFile, "/nope/y"};
  config_.console = {SerialConfig::Mode::kSocket, root_ + "/file"};
  config_.vsock.emplace();
  config_.vsock->socket = "/nope/x";

  std::vector<std::string> found;
  for (const Finding& finding : Preflight(config_, &kvm_, root_)) {
    found.push_back(finding.code + " " + finding.option + ": " + finding.message);
  }
  EXPECT_EQ(found, (List{"PathUnusable serial: make /nope/y in /nope: No such file or directory",
                         "PathUnusable console: " + root_ + "/file exists and is no socket",
                         "PathUnusable vsock: make /nope/x in /nope: No such file or directory"}));
  EXPECT_FALSE(CheckOutput("log-file", root_ + "/log", Output::kFile).has_value());
  EXPECT_TRUE(CheckOutput("log-file", root_, Output::kFile).has_value()) << "a directory";
}

TEST_F(PreflightTest, LooksAtTheWholeCommandLine) {
  CommandLine line;
  line.config.kernel = config_.kernel;
  line.api_socket = "/nope/s";
  line.event_path = "/nope/z";
  line.log_file = "/nope/l";

  List options;
  for (const Finding& finding : Preflight(line, &kvm_)) options.push_back(finding.option);
  EXPECT_EQ(options, (List{"api-socket", "event-monitor", "log-file"}));
}

TEST_F(PreflightTest, AFailedStartIsExplainedByAllThatIsMissing) {
  CommandLine line;
  line.config.kernel = "/nope/vmlinuz";
  line.config.disks.emplace_back();
  line.config.disks[0].path = "/nope/disk";
  line.config.disks[0].id = "disk0";
  auto codes = [&](const Status& failure) {
    List list;
    for (const Finding& finding : ExplainFailure(line, &kvm_, failure)) list.push_back(finding.code);
    return list;
  };

  const Status disk = NotFound("disk disk0: disk /nope/disk: No such file or directory");
  EXPECT_EQ(codes(disk), (List{"KernelUnreadable", "DiskUnusable"}));
  EXPECT_EQ(codes(Internal("KVM_RUN: out of luck")), (List{"KernelUnreadable", "DiskUnusable", "INTERNAL"}));
  line.restore.emplace();  // the kernel is in memory
  line.config.memory_zones = config_.memory_zones;
  line.config.memory_zones[0].host_numa_node.reset();
  line.config.memory_zones[1].host_numa_node.reset();
  line.config.memory_zones[1].file = root_ + "/ram";
  line.config.memory_zones[1].shared = true;
  EXPECT_EQ(codes(disk), (List{"DiskUnusable"})) << "the snapshot has a copy";
  line.config.memory_zones[1].restored = true;  // as ReadSnapshot has found
  EXPECT_EQ(codes(disk), (List{"MemoryFileUnusable", "DiskUnusable"}));
}

// What fails says it in other words than what looks beforehand.
TEST_F(PreflightTest, OneCauseIsToldOnce) {
  CommandLine line;
  line.config.kernel = config_.kernel;
  line.config.serial = {SerialConfig::Mode::kFile, "/nope/serial"};
  line.config.memory_zones = config_.memory_zones;
  line.config.memory_zones[0].host_numa_node = 70;
  line.config.memory_zones[1].host_numa_node.reset();
  line.config.memory.size = ByteSize();
  line.config.cpus.affinity[1] = {CpuSet::kMaxCpu};
  auto count = [&](const std::string& failure, Kvm* kvm) {
    return ExplainFailure(line, kvm, NotFound(failure)).size();
  };

  const size_t causes = Preflight(line, &kvm_).size();

  EXPECT_EQ(causes, 3u) << ToText(Preflight(line, &kvm_));
  EXPECT_EQ(count("memory zone m0: bind to host NUMA node 70: Invalid argument", &kvm_), causes);
  EXPECT_EQ(
      count("vCPU 1: run on host CPUs " + std::to_string(CpuSet::kMaxCpu) + ": Invalid argument", &kvm_),
      causes);
  EXPECT_EQ(count("serial file /nope/serial: No such file or directory", &kvm_), causes);
  EXPECT_EQ(count("open /dev/kvm: No such file or directory", nullptr), causes + 1);  // that of no KVM
  EXPECT_EQ(count("memory zone m0: bind to host NUMA node 7: Invalid argument", &kvm_), causes + 1);
  EXPECT_EQ(count("serial file /nope/serial2: No such file or directory", &kvm_), causes + 1);
}

TEST_F(PreflightTest, SaysThatThereIsNoKvm) {
  EXPECT_EQ(Preflight(config_, nullptr, root_)[0].code, "KvmMissing");
}

TEST_F(PreflightTest, WarnsOfNodesThatTheGuestDoesNotSee) {
  config_.numa.push_back({7, {}, {}, {}});
  const std::vector<Finding> findings = Preflight(config_, &kvm_, root_);
  ASSERT_EQ(findings.size(), 1u) << ToText(findings);
  EXPECT_EQ(findings[0].code, "EmptyNumaNode");
  EXPECT_EQ(findings[0].severity, Finding::Severity::kWarning);
}

TEST_F(PreflightTest, WarnsOfNodesThatAreNone) {
  config_.cpus.affinity[0] = {0, 2};
  config_.numa[0].memory_zones = {"m0", "m1"};
  config_.numa[1].memory_zones.clear();

  const std::vector<Finding> findings = Preflight(config_, &kvm_, root_);

  EXPECT_FALSE(HasErrors(findings));
  ASSERT_EQ(findings.size(), 2u) << ToText(findings);
  EXPECT_EQ(findings[0].message, "memory of guest node 0 lies on host nodes 0 and 1");
  EXPECT_EQ(findings[1].code, "VcpuFarFromMemory");
  EXPECT_NE(ToJson(findings).find(R"("severity":"warning")"), std::string::npos);
}

}  // namespace
}  // namespace berth::vmm
