// Compares discovery with hwloc, an independent reader, on recorded machines and on generated ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "common/file.h"
#include "compute-agent/inventory/discover.h"
#include "tests/compute-agent/inventory/hwloc_view.h"
#include "tests/compute-agent/preflight/confidential_hosts.h"
#include "tests/fakes/fake_sysfs.h"
#include "tests/fakes/temp_folder.h"

namespace berth::agent {
namespace {

namespace fs = std::filesystem;
using fakes::FakeSysfs;

// What discovery says, in hwloc's terms.
HwlocView AsHwlocView(const HostInventory& inventory) {
  HwlocView view;
  for (const NumaNodeInfo& node : inventory.numa_nodes) view.memory_of_node[node.id] = node.memory_bytes;
  for (uint32_t cpu : inventory.facts.online_cpus.ToVector()) view.cpus.insert(cpu);
  for (const PciDeviceInfo& device : inventory.pci_devices) {
    char class16[5];
    std::snprintf(class16, sizeof(class16), "%04x", device.class_code >> 8 & 0xffff);
    view.pci[device.address.ToString()] = device.vendor_id + ":" + device.product_id + ":" + class16;
  }
  return view;
}

HostInventory DiscoverIn(const fs::path& path) {
  Result<Root> root = Root::Open(path.string());
  EXPECT_TRUE(root.has_value()) << root.status().ToString();
  return root.has_value() ? Discover(*root) : HostInventory();
}

void ExpectSane(const HostInventory& inventory) {
  CpuSet seen;
  for (const NumaNodeInfo& node : inventory.numa_nodes) {
    EXPECT_FALSE(seen.Intersects(node.cpus)) << "node " << node.id;
    seen |= node.cpus;
    CpuSet in_cores;
    for (const CpuSet& core : node.siblings) {
      EXPECT_FALSE(in_cores.Intersects(core));
      in_cores |= core;
    }
    EXPECT_EQ(in_cores, node.cpus) << "node " << node.id;
    EXPECT_TRUE(node.distances.empty() || node.distances.size() == inventory.numa_nodes.size());
    uint64_t in_pages = 0;
    for (const PageCount& pool : node.pages) {
      EXPECT_LE(pool.free, pool.total);
      in_pages += pool.total * pool.size_bytes;
    }
    EXPECT_LE(in_pages, node.memory_bytes);
    EXPECT_LT(node.memory_bytes - in_pages, node.pages.front().size_bytes);
  }
  EXPECT_EQ(seen | inventory.facts.cpus_without_node, inventory.facts.online_cpus);
}

bool HasWarning(const HostInventory& inventory, std::string_view begin) {
  return std::any_of(inventory.warnings.begin(), inventory.warnings.end(),
                     [&](const std::string& warning) { return warning.starts_with(begin); });
}

// hwloc drops a PCI-to-PCI bridge whose configuration space says that it leads to no bus (hwloc/plugins.h,
// hwloc_pcidisc_find_bridge_buses: "destroys obj if bridge fields are invalid"). The kernel lists it, it is a
// PCI device, and we report it.
std::vector<std::string> BridgesThatHwlocDrops(std::string_view host) {
  if (host == "32em64t-2n8c+1mic") return {"0000:00:11.0"};
  return {};
}

// PCI-to-PCI bridge architecture 1.2, 3.2.5: primary, secondary and subordinate bus number.
bool IsBridgeWithoutBuses(const fs::path& root, const std::string& address) {
  Result<std::string> config = ReadFile((root / "sys/bus/pci/devices" / address / "config").string());
  return config.has_value() && config->size() >= 64 && config->substr(0x18, 3) == std::string(3, '\0');
}

// Every PCI device of the kernel is reported, or a warning says why not.
void ExpectEveryPciDeviceAccountedFor(const HostInventory& inventory, const fs::path& root) {
  std::set<std::string> reported;
  for (const PciDeviceInfo& device : inventory.pci_devices) reported.insert(device.address.ToString());
  std::error_code no_pci;
  for (const auto& entry : fs::directory_iterator(root / "sys/bus/pci/devices", no_pci)) {
    std::string address = entry.path().filename().string();
    // Seed 002, "Limitations": only domains above FFFF are ignored.
    bool ignored = address.size() > std::string_view("0000:00:00.0").size();
    EXPECT_EQ(reported.contains(address), !ignored) << address;
    std::string warning = entry.path().string().substr(root.string().size()) + ": device ignored";
    EXPECT_EQ(HasWarning(inventory, warning), ignored) << address;
  }
}

std::string TestName(const testing::TestParamInfo<const char*>& param) {
  std::string name = param.param;
  std::replace_if(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

fs::path SharedHosts() {
  const char* shared = std::getenv("BERTH_SHARED");
  return fs::path(shared != nullptr ? shared : BERTH_SOURCE_DIR "/../shared") / "hosts";
}

class RecordedHost : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    fs::path archive = SharedHosts() / (std::string(GetParam()) + ".tar.bz2");
    if (!fs::exists(archive)) {
      GTEST_SKIP() << "the recorded hosts are not here: no " << archive << " (set BERTH_SHARED)";
    }
    // Without the memory blocks (thousands of empty folders that nobody here reads).
    std::string command = "tar -C '" + folder_.path().string() +
                          "' --exclude='*/node/node*/memory[0-9]*' -xjf '" + archive.string() + "'";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    root_ = folder_.path() / GetParam();
    ASSERT_TRUE(fs::is_directory(root_));
  }

  fakes::TempFolder folder_{"recorded_host"};
  fs::path root_;
};

TEST_P(RecordedHost, HasTheNodesCpusMemoryAndPciDevicesThatHwlocReports) {
  std::optional<HwlocView> expected = ReadWithHwloc(root_);
  ASSERT_TRUE(expected.has_value());

  HostInventory inventory = DiscoverIn(root_);

  HwlocView found = AsHwlocView(inventory);
  EXPECT_EQ(found.memory_of_node, expected->memory_of_node);
  EXPECT_EQ(found.cpus, expected->cpus);
  for (const std::string& address : BridgesThatHwlocDrops(GetParam())) {
    EXPECT_TRUE(IsBridgeWithoutBuses(root_, address)) << address;
    EXPECT_EQ(found.pci.erase(address), 1u) << address;
  }
  EXPECT_EQ(found.pci, expected->pci);
  ExpectEveryPciDeviceAccountedFor(inventory, root_);
  ExpectSane(inventory);
}

// Generated hosts with what no recorded one has: SR-IOV, GPUs, a remote-managed DPU, a Kunpeng with virtCCA.
void DescribeTwoSocketNic(FakeSysfs& host) {
  host.Iommu();
  host.Node(0).Socket(0).Cpus("0-7,16-23").ThreadsPerCore(2).Memory(GiB(64)).HugePages(MiB(2), 4096, 4000);
  host.Node(1).Socket(1).Cpus("8-15,24-31").ThreadsPerCore(2).Memory(GiB(64)).HugePages(GiB(1), 16, 16);
  host.Device("0000:00:00.0").Id("8086", "0d58").Class(0x060000);
  host.Device("0000:41:00.0").Id("8086", "1572").OnNode(0).Driver("i40e").TotalVfs(64).Vfs(8, "154c", "iavf");
  host.Device("0000:c1:00.0").Id("8086", "1572").OnNode(1).Driver("i40e").TotalVfs(64).Vfs(8, "154c", "iavf");
}
void DescribeFourNodesGpusAndSparseIds(FakeSysfs& host) {
  host.Iommu();
  for (uint32_t i = 0; i < 4; ++i) {
    std::string first = std::to_string(i * 16);
    host.Node(i * 2).Socket(i / 2).Cpus(first + "-" + std::to_string(i * 16 + 15)).Memory(GiB(128));
    std::string bus = std::to_string(2 * i + 1);
    host.Device("0000:" + bus + "1:00.0").Id("10de", "2235").Class(0x030200).OnNode(i * 2).Vfs(16, "2236");
  }
  host.Node(8).Memory(GiB(512));  // CXL memory without CPUs
}
void DescribeArmWithManyVfs(FakeSysfs& host) {
  host.Node(0).Socket(0).Cpus("0-95").Memory(GiB(256));
  host.OfflineCpus("90-95");
  host.Device("0000:7d:00.0").Id("19e5", "a221").OnNode(0).Vfs(120, "375f", "hns3", 256, 2);
  host.Device("0000:7d:00.1").Id("19e5", "a221").OnNode(0).Vfs(120, "375f", "hns3", 256, 2);
}

// A DPU: its VFs are the guests', their representors are on the card itself.
void DescribeRemoteManagedDpu(FakeSysfs& host) {
  host.Iommu();
  host.Node(0).Socket(0).Cpus("0-15").Memory(GiB(64));
  host.Node(1).Socket(1).Cpus("16-31").Memory(GiB(64));
  host.Device("0000:81:00.0").Id("15b3", "a2d6").OnNode(1).Driver("mlx5_core").Vfs(8, "101e", "", 16);
  host.Device("0000:81:00.1").Id("15b3", "a2d6").OnNode(1).Driver("mlx5_core").Vfs(8, "101e", "", 32);
  host.Device("0000:81:00.2").Id("15b3", "c2d3").Class(0x080100).OnNode(1);
}
void DescribeKunpengOfFourNodes(FakeSysfs& host) {
  MakeKunpeng(host);
}

class GeneratedHost : public testing::TestWithParam<void (*)(FakeSysfs&)> {};

TEST_P(GeneratedHost, HasTheNodesCpusMemoryAndPciDevicesThatHwlocReports) {
  FakeSysfs host;
  GetParam()(host);
  host.Write();
  std::optional<HwlocView> expected = ReadWithHwloc(host.path());
  ASSERT_TRUE(expected.has_value());

  HostInventory inventory = DiscoverIn(host.path());

  HwlocView found = AsHwlocView(inventory);
  EXPECT_EQ(found.memory_of_node, expected->memory_of_node);
  EXPECT_EQ(found.cpus, expected->cpus);
  EXPECT_EQ(found.pci, expected->pci);
  EXPECT_EQ(inventory.warnings, std::vector<std::string>());
  ExpectSane(inventory);
}

INSTANTIATE_TEST_SUITE_P(Sriov, GeneratedHost,
                         testing::Values(DescribeTwoSocketNic, DescribeFourNodesGpusAndSparseIds,
                                         DescribeArmWithManyVfs, DescribeRemoteManagedDpu,
                                         DescribeKunpengOfFourNodes));

INSTANTIATE_TEST_SUITE_P(Archives, RecordedHost,
                         testing::Values("128arm-2pa2n8cluster4co", "16amd64-8n2c", "16em64t-4s2c2t-offlines",
                                         "256ppc-8n8s4t", "2i386-2c-nohugepage", "2pa-pcidomain32bits",
                                         "32em64t-2n8c+1mic", "40intel64-2g2n4c+pci", "48amd64-4d2n6c-sparse",
                                         "64amd64-4s2n4ca2co", "64intel64-fakeKNL-SNC4-hybrid",
                                         "8em64t-2s2ca2c-buggynuma", "96em64t-4n4d3ca2co",
                                         "fakeheteromemtiers", "offline-cpu0-node0"),
                         TestName);

}  // namespace
}  // namespace berth::agent
