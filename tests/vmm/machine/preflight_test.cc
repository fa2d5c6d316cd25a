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
  EXPECT_EQ(findings[0], (Finding{Finding::Severity::kError, "DeviceUnusable", "device",
                                  "device 0000:21:10.0 is bound to igbvf", "bind it to vfio-pci"}));
  EXPECT_EQ(asked.addresses, (std::vector<std::string>{"0000:21:10.0"}));
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
