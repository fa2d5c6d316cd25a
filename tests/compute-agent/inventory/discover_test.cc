#include "compute-agent/inventory/discover.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "tests/fakes/fake_sysfs.h"

namespace berth::agent {
namespace {

namespace fs = std::filesystem;
using fakes::FakeSysfs;
using placement::DeviceType;

constexpr const char* kPci = "sys/bus/pci/devices/";

const PciDeviceInfo* Find(const HostInventory& inventory, std::string_view address) {
  for (const PciDeviceInfo& device : inventory.pci_devices) {
    if (device.address.ToString() == address) return &device;
  }
  return nullptr;
}

bool Warns(const HostInventory& inventory, std::string_view part) {
  return std::any_of(inventory.warnings.begin(), inventory.warnings.end(),
                     [&](const std::string& w) { return w.find(part) != std::string::npos; });
}

void DescribeOneNode(FakeSysfs& host) {
  host.Node(0).Cpus("0-3").Memory(GiB(4));
}

TEST(Discover, TellsCoresPagesAndDistancesOfEachNode) {
  FakeSysfs host;
  host.Node(0).Socket(0).Cpus("0-1,4-5").ThreadsPerCore(2).Memory(GiB(4)).Distances({10, 21});
  host.Node(3).Socket(1).Cpus("2-3,6-7").ThreadsPerCore(2).Memory(GiB(8)).HugePages(MiB(2), 1024, 1000);

  HostInventory inventory = Discover(host.Open());

  ASSERT_EQ(inventory.numa_nodes.size(), 2u);
  EXPECT_EQ(inventory.numa_nodes[0].siblings, (std::vector<CpuSet>{{0, 4}, {1, 5}}));
  EXPECT_EQ(inventory.numa_nodes[0].distances, (std::vector<uint32_t>{10, 21}));
  const NumaNodeInfo& second = inventory.numa_nodes[1];
  EXPECT_EQ(second.id, 3u);
  EXPECT_EQ(second.socket, 1u);
  EXPECT_EQ(second.memory_bytes, GiB(8).bytes());
  // 8 GiB less 1024 pages of 2 MiB are 6 GiB in base pages.
  EXPECT_EQ(second.pages, (std::vector<PageCount>{{4096, 1572864, 1572864}, {MiB(2).bytes(), 1024, 1000}}));
  EXPECT_EQ(inventory.facts.smt.active, true);
  EXPECT_EQ(inventory.warnings, std::vector<std::string>());
}

TEST(Discover, LinksVfsAndTheirPf) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.Device("0000:41:00.0")
      .Id("8086", "1572")
      .OnNode(0)
      .Driver("i40e")
      .IommuGroup(7)
      .Netdev("ens1")
      .TotalVfs(64)
      .Vfs(2, "154c", "iavf");

  HostInventory inventory = Discover(host.Open());

  const PciDeviceInfo* pf = Find(inventory, "0000:41:00.0");
  ASSERT_NE(pf, nullptr);
  EXPECT_EQ(pf->type, DeviceType::kPf);
  EXPECT_EQ(pf->driver, "i40e");
  EXPECT_EQ(pf->iommu_group, 7u);
  EXPECT_EQ(pf->netdevs, std::vector<std::string>{"ens1"});
  EXPECT_EQ(pf->sriov_total_vfs, 64u);
  EXPECT_EQ(pf->sriov_num_vfs, 2u);
  ASSERT_EQ(pf->virtual_functions.size(), 2u);
  EXPECT_EQ(pf->virtual_functions[1].ToString(), "0000:41:02.1");
  const PciDeviceInfo* vf = Find(inventory, "0000:41:02.1");
  ASSERT_NE(vf, nullptr);
  EXPECT_EQ(vf->type, DeviceType::kVf);
  EXPECT_EQ(vf->parent, pf->address);
  EXPECT_EQ(vf->numa_node, 0u);
  EXPECT_EQ(vf->product_id, "154c");
}

TEST(Discover, ReadsTheFactsOfTheHost) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.Hostname("node-7")
      .KernelRelease("6.12.1")
      .KernelCommandLine("ro iommu=pt")
      .OvercommitMemory(2)
      .Iommu();
  host.Device("0000:00:02.0");
  host.File("sys/module/kvm_intel/parameters/nested", "Y\n");

  HostFacts facts = Discover(host.Open()).facts;

  EXPECT_EQ(facts.hostname, "node-7");
  EXPECT_EQ(facts.kernel_release, "6.12.1");
  EXPECT_EQ(facts.kernel_command_line, "ro iommu=pt");
  EXPECT_EQ(facts.os_id, "debian");
  EXPECT_EQ(facts.overcommit_memory, 2u);
  EXPECT_TRUE(facts.kvm.present);
  EXPECT_EQ(facts.kvm.nested, true);
  EXPECT_TRUE(facts.vfio.container);
  EXPECT_TRUE(facts.vfio.pci_driver);
  EXPECT_EQ(facts.iommu.groups, 1u);
}

TEST(Discover, OfflineCpusAreInNoNode) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.OfflineCpus("0,3");

  HostInventory inventory = Discover(host.Open());

  EXPECT_EQ(inventory.numa_nodes[0].cpus.ToString(), "1-2");
  EXPECT_EQ(inventory.facts.offline_cpus.ToString(), "0,3");
}

TEST(Discover, WithoutNumaSupportThereIsOneNode) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.WithoutFile("sys/devices/system/node");
  host.File("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "5\n");
  host.File("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "4\n");

  HostInventory inventory = Discover(host.Open());

  ASSERT_EQ(inventory.numa_nodes.size(), 1u);
  EXPECT_EQ(inventory.numa_nodes[0].id, 0u);
  EXPECT_EQ(inventory.numa_nodes[0].cpus.ToString(), "0-3");
  EXPECT_EQ(inventory.numa_nodes[0].memory_bytes, GiB(4).bytes());
  EXPECT_EQ(inventory.numa_nodes[0].pages[1], (PageCount{MiB(2).bytes(), 5, 4}));
}

TEST(Discover, AddressesBeyondTheLimitsAreIgnoredWithAWarning) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.File(std::string(kPci) + "10000:00:00.0/vendor", "0x8086\n");
  host.File(std::string(kPci) + "not an address/vendor", "0x8086\n");

  HostInventory inventory = Discover(host.Open());

  EXPECT_TRUE(inventory.pci_devices.empty());
  EXPECT_TRUE(Warns(inventory, "/sys/bus/pci/devices/10000:00:00.0: device ignored"));
  EXPECT_TRUE(Warns(inventory, "domain"));
  EXPECT_TRUE(Warns(inventory, "not an address"));
}

TEST(Discover, BrokenDevicesAreWarningsAndTheOthersStay) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.Device("0000:01:00.0");
  std::string devices = kPci;
  host.Link(devices + "0000:02:00.0", "../../../devices/gone");
  host.Link(devices + "0000:03:00.0", "0000:03:00.0");  // a loop
  host.File(devices + "0000:04:00.0/vendor", std::string(1 << 20, 'x'));
  host.File(devices + "0000:05:00.0/vendor", std::string("\x00\xff\x01 0x8086", 10));
  host.File(devices + "0000:06:00.0/vendor/file", "a folder in place of a file");

  HostInventory inventory = Discover(host.Open());

  ASSERT_EQ(inventory.pci_devices.size(), 1u);
  for (const char* address :
       {"0000:02:00.0", "0000:03:00.0", "0000:04:00.0", "0000:05:00.0", "0000:06:00.0"}) {
    EXPECT_TRUE(Warns(inventory, std::string("PCI device ") + address + " ignored")) << address;
  }
  EXPECT_TRUE(Warns(inventory, "0000:04:00.0/vendor is larger than 65536 bytes"));
}

TEST(Discover, WrongAttributesAreWarningsThatNameThePath) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.Device("0000:01:00.0").TotalVfs(8);
  std::string device = std::string(kPci) + "0000:01:00.0/";
  host.File(device + "numa_node", "many\n").File(device + "sriov_numvfs", "-3\n");
  host.Link(device + "physfn", "../nonsense");
  host.Link(device + "iommu_group", "../x");
  host.File("sys/devices/system/node/node0/distance", "10 x\n");
  host.File("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "5-2\n");
  host.File("proc/sys/vm/overcommit_memory", "9\n");

  HostInventory inventory = Discover(host.Open());

  ASSERT_EQ(inventory.pci_devices.size(), 1u);
  EXPECT_EQ(inventory.pci_devices[0].numa_node, std::nullopt);
  for (const char* path : {"0000:01:00.0/numa_node: \"many\"", "0000:01:00.0/sriov_numvfs",
                           "0000:01:00.0/physfn", "0000:01:00.0/iommu_group", "node0/distance",
                           "cpu1/topology/thread_siblings_list", "/proc/sys/vm/overcommit_memory"}) {
    EXPECT_TRUE(Warns(inventory, path)) << path;
  }
}

TEST(Discover, ADeviceOffTheBusAndFatalErrorsAreSeen) {
  FakeSysfs host;
  DescribeOneNode(host);
  for (const char* address : {"0000:41:00.0", "0000:42:00.0", "0000:43:00.0"}) host.Device(address).OnNode(0);
  host.File(std::string(kPci) + "0000:41:00.0/config", std::string(64, '\xff'));
  // A VF that is well: only its identification reads as ones.
  host.File(std::string(kPci) + "0000:42:00.0/config", "\xff\xff\xff\xff" + std::string(60, '\x01'));
  host.File(std::string(kPci) + "0000:43:00.0/aer_dev_fatal",
            "Undefined 0\nDLP 0\nSDES 1\nTLP 0\nTOTAL_ERR_FATAL 1\n");

  HostInventory inventory = Discover(host.Open());

  EXPECT_TRUE(Find(inventory, "0000:41:00.0")->off_bus);
  EXPECT_FALSE(Find(inventory, "0000:42:00.0")->off_bus);
  EXPECT_FALSE(Find(inventory, "0000:43:00.0")->off_bus);
  EXPECT_EQ(Find(inventory, "0000:43:00.0")->fatal_errors, 1u);
  EXPECT_EQ(Find(inventory, "0000:41:00.0")->fatal_errors, 0u);
  EXPECT_EQ(inventory.warnings, std::vector<std::string>());
}

TEST(Discover, AVfWithoutItsPfIsKeptAndTold) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.Device("0000:41:00.0").Vfs(2, "154c");
  host.WithoutFile(std::string(kPci) + "0000:41:00.0");

  HostInventory inventory = Discover(host.Open());

  ASSERT_EQ(inventory.pci_devices.size(), 2u);
  EXPECT_EQ(inventory.pci_devices[0].parent->ToString(), "0000:41:00.0");
  EXPECT_TRUE(Warns(inventory, "0000:41:02.0/physfn: the VF's PF 0000:41:00.0 was not found"));
}

TEST(Discover, AnEmptyTreeIsAnEmptyInventoryWithWarnings) {
  fakes::TempFolder folder;

  HostInventory inventory = Discover(*Root::Open(folder.path().string()));

  EXPECT_TRUE(inventory.facts.online_cpus.empty());
  EXPECT_TRUE(inventory.pci_devices.empty());
  EXPECT_EQ(inventory.numa_nodes.size(), 1u);
  EXPECT_TRUE(Warns(inventory, "/sys/devices/system/cpu"));
  EXPECT_TRUE(Warns(inventory, "/proc/meminfo"));
}

TEST(Discover, LinksOfARecordedTreeDoNotLeaveIt) {
  FakeSysfs host;
  DescribeOneNode(host);
  fakes::TempFolder outside;
  std::string secret = (outside.path() / "secret").string();
  host.Link("etc/machine-id", secret);
  host.Link("proc/cmdline", "../../../../../../../../.." + secret);
  Root root = host.Open();
  ASSERT_TRUE(fs::exists(host.path()));
  std::FILE* file = std::fopen(secret.c_str(), "w");
  std::fputs("secret", file);
  std::fclose(file);

  HostFacts facts = Discover(root).facts;

  EXPECT_EQ(facts.machine_id, "");
  EXPECT_EQ(facts.kernel_command_line, "");
}

TEST(Discover, APipeInPlaceOfAFileDoesNotHang) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.WithoutFile("proc/meminfo");
  Root root = host.Open();
  ASSERT_EQ(::mkfifo((host.path() / "proc/meminfo").c_str(), 0600), 0);

  HostInventory inventory = Discover(root);

  EXPECT_TRUE(Warns(inventory, "/proc/meminfo is not a regular file"));
}

TEST(Discover, WarningsAreBounded) {
  FakeSysfs host;
  DescribeOneNode(host);
  for (int i = 0; i < 1500; ++i) host.File(std::string(kPci) + "bad" + std::to_string(i), "");

  HostInventory inventory = Discover(host.Open());

  EXPECT_EQ(inventory.warnings.size(), HostInventory::kMaxWarnings);
  EXPECT_EQ(inventory.warnings.back(), "and 501 more");
}

TEST(Discover, FindsFourThousandVfs) {
  FakeSysfs host;
  DescribeOneNode(host);
  for (int i = 0; i < 16; ++i) {
    std::string domain = std::to_string(1000 + i);
    host.Device(domain + ":01:00.0").OnNode(0).Vfs(256, "154c", "iavf", 256, 1);
  }

  const Root root = host.Open();
  const size_t before = ::mallinfo2().uordblks;

  HostInventory inventory = Discover(root);

  EXPECT_EQ(inventory.pci_devices.size(), 16u + 4096u);
  EXPECT_EQ(inventory.warnings, std::vector<std::string>());
  // What stays of it; the peak and the time are those of bench/discovery_bench.
  EXPECT_LT(::mallinfo2().uordblks - before, size_t{50} << 20);
}

TEST(Discover, BrokenSymlinksAreWarningsAndTheRestOfTheHostIsThere) {
  FakeSysfs host;
  DescribeOneNode(host);
  host.Device("0000:41:00.0").Id("8086", "1572").OnNode(0).Vfs(2, "154c", "iavf");
  host.Device("0000:51:00.0").OnNode(0);
  host.Device("0000:61:00.0").OnNode(0);
  const std::string card = std::string(kPci) + "0000:41:00.0/";
  host.WithoutFile(card + "virtfn1").Link(card + "virtfn7", "../0000:41:1f.7");    // leads to nothing
  host.Link(card + "virtfn8", "virtfn8");                                          // to itself
  host.Link(std::string(kPci) + "0000:51:00.0/driver", "../../nowhere/at/all");    // a driver that is gone
  host.Link(std::string(kPci) + "0000:61:00.0/iommu_group", "/../../../etc");      // to no group
  host.Link(std::string(kPci) + "0000:71:00.0", "../../../devices/0000:71:00.0");  // the device itself
  host.Link("sys/devices/system/node/node7", "node8");

  HostInventory inventory = Discover(host.Open());

  for (const char* there : {"0000:41:00.0", "0000:41:02.0", "0000:41:02.1", "0000:51:00.0", "0000:61:00.0"})
    EXPECT_NE(Find(inventory, there), nullptr) << there;
  EXPECT_EQ(Find(inventory, "0000:71:00.0"), nullptr);
  EXPECT_EQ(Find(inventory, "0000:61:00.0")->iommu_group, std::nullopt);
  EXPECT_EQ(Find(inventory, "0000:51:00.0")->driver, "all");  // what the kernel calls it, wherever it leads
  ASSERT_EQ(inventory.numa_nodes.size(), 1u);
  for (const char* part :
       {"0000:41:1f.7 was not found", "virtfn8", "0000:61:00.0/iommu_group", "0000:71:00.0", "node7"})
    EXPECT_TRUE(Warns(inventory, part)) << part;
}

TEST(Discover, ReadsThisMachine) {
  Result<Root> root = Root::Open();
  ASSERT_TRUE(root.has_value());
  EXPECT_TRUE(root->is_live());

  HostInventory inventory = Discover(*root);

  EXPECT_FALSE(inventory.facts.online_cpus.empty());
  ASSERT_FALSE(inventory.numa_nodes.empty());
  EXPECT_GT(inventory.numa_nodes[0].memory_bytes, 0u);
  EXPECT_NE(inventory.facts.kernel_release, "");
}

TEST(Root, WhatIsNoFolderIsRefused) {
  EXPECT_EQ(Root::Open("/nonexistent").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Root::Open("/proc/self/stat").status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace berth::agent
