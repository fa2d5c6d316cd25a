// From /sys to the report that placement accepts.
#include <gtest/gtest.h>

#include "compute-agent/devices/report_builder.h"
#include "compute-agent/inventory/discover.h"
#include "placement/model/usage.h"
#include "tests/fakes/fake_sysfs.h"

namespace berth::agent {
namespace {

TEST(DiscoveredReport, ATwoSocketHostWithAnSriovCardIsReportedWhole) {
  fakes::FakeSysfs host;
  host.Node(0).Socket(0).Cpus("0-3,8-11").ThreadsPerCore(2).Memory(GiB(16)).HugePages(MiB(2), 512, 500);
  host.Node(1).Socket(1).Cpus("4-7,12-15").ThreadsPerCore(2).Memory(GiB(16)).HugePages(MiB(2), 512, 512);
  host.Device("0000:41:00.0").Id("8086", "1572").OnNode(1).Driver("i40e").Vfs(4, "154c", "iavf");
  host.Device("0000:00:1f.0").Id("8086", "0001");
  host.Iommu();
  HostInventory inventory = Discover(host.Open());
  Result<YamlNode> yaml = ParseYaml("{device_spec: [{vendor_id: \"8086\", product_id: \"154c\"}]}", "test");
  ASSERT_TRUE(yaml.has_value());
  ErrorList errors;
  HostConfig config = ParseHostConfig(*yaml, errors);
  ASSERT_TRUE(errors.empty());

  Result<BuiltReport> built = BuildReport(inventory, config, {Uuid::Random(), "host1", ""},
                                          {.foreign = ForeignHugePages(inventory, {}), .used = {}});

  ASSERT_TRUE(built.has_value());
  EXPECT_EQ(placement::ValidateReport(built->report), OkStatus());
  ASSERT_EQ(built->report.cells.size(), 2u);
  EXPECT_EQ(built->report.cells[0].siblings.size(), 4u);
  EXPECT_EQ(built->report.cells[0].pages[1], (placement::PagePool{2 << 20, 512, 12}));
  ASSERT_EQ(built->report.devices.size(), 5u);
  EXPECT_FALSE(built->report.devices[0].assignable);
  EXPECT_EQ(built->report.devices[4].resource_class, "CUSTOM_PCI_8086_154C");
  EXPECT_EQ(built->report.devices[4].numa_node, 1u);
  EXPECT_EQ(built->report.devices[4].driver, "iavf");
}

TEST(DiscoveredReport, RemoteManagedVfsOfADpuAreReportedAndItsPfsAreNot) {
  fakes::FakeSysfs host;
  host.Node(0).Socket(0).Cpus("0-3").Memory(GiB(16));
  host.Device("0000:81:00.0").Id("15b3", "a2d6").OnNode(0).Driver("mlx5_core").Vfs(4, "101e");
  host.Iommu();
  HostInventory inventory = Discover(host.Open());
  ErrorList errors;
  HostConfig config =
      ParseHostConfig(*ParseYaml("{device_spec: [{vendor_id: 15b3, product_id: 101e, address: \"*:81:*.*\", "
                                 "physical_network: null, remote_managed: \"true\"}]}",
                                 "test"),
                      errors);
  ASSERT_TRUE(errors.empty());

  Result<BuiltReport> built = BuildReport(inventory, config, {Uuid::Random(), "host1", ""}, {});

  ASSERT_TRUE(built.has_value()) << built.error().ToString();
  ASSERT_EQ(built->report.devices.size(), 5u);
  EXPECT_FALSE(built->report.devices[0].assignable);
  for (size_t i = 1; i < 5; ++i) {
    EXPECT_TRUE(built->report.devices[i].assignable);
    EXPECT_EQ(built->report.devices[i].remote_managed, true);
    EXPECT_EQ(built->report.devices[i].physical_network, std::nullopt);
  }
}

TEST(DiscoveredReport, AHostWithoutAnyInformationIsReportedWithWarnings) {
  fakes::FakeSysfs host;
  HostInventory inventory = Discover(host.Open());

  Result<BuiltReport> built = BuildReport(inventory, HostConfig{}, {Uuid::Random(), "host1", ""}, {});

  ASSERT_TRUE(built.has_value());
  EXPECT_TRUE(built->report.cells.empty());
  EXPECT_EQ(built->report.warnings.back(), "no NUMA node with CPUs was found: no guest can be placed");
}

}  // namespace
}  // namespace berth::agent
