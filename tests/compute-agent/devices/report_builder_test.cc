#include "compute-agent/devices/report_builder.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "placement/model/secure_card.h"

namespace berth::agent {
namespace {

constexpr uint64_t kMi = uint64_t{1} << 20;

NumaNodeInfo Node(uint32_t id, std::string_view cpus, uint64_t memory_mib, uint64_t huge_total,
                  uint64_t huge_free) {
  NumaNodeInfo node;
  node.id = id;
  node.socket = id / 2;
  node.cpus = *CpuSet::Parse(cpus);
  for (uint32_t cpu : node.cpus.ToVector()) node.siblings.push_back(CpuSet{cpu});
  node.memory_bytes = memory_mib * kMi;
  node.pages = {{4096, (memory_mib - 2 * huge_total) * 256, 0}, {2 * kMi, huge_total, huge_free}};
  node.distances = {10, 20, 30};
  return node;
}

// Nodes 0 and 1 with four CPUs and 4 GiB each, node 2 with memory only.
HostInventory Host() {
  HostInventory inventory;
  inventory.facts.kernel_release = "6.1.0";
  inventory.facts.os_name = "Debian 12";
  inventory.facts.kvm.usable = true;
  inventory.numa_nodes = {Node(0, "0-3", 4096, 512, 512), Node(1, "4-7", 4096, 512, 448),
                          Node(2, "", 1024, 0, 0)};
  PciDeviceInfo device;
  device.address = *PciAddress::Parse("0000:41:00.0");
  device.vendor_id = "8086";
  device.product_id = "154d";
  device.numa_node = 1;
  device.driver = "ixgbe";
  inventory.pci_devices = {device};
  return inventory;
}

Result<BuiltReport> Build(std::string_view yaml, const HostState& state = {}) {
  Result<YamlNode> node = ParseYaml(yaml, "agent.yaml");
  if (!node.has_value()) return node.error();
  ErrorList errors;
  HostConfig config = ParseHostConfig(*node, errors);
  TRY(errors.ToStatus());
  HostIdentity identity{*Uuid::Parse("11111111-1111-4111-8111-111111111111"), "host1", "127.0.0.1:1"};
  return BuildReport(Host(), config, identity, state);
}

std::string ErrorOf(std::string_view yaml) {
  Result<BuiltReport> built = Build(yaml);
  return built.has_value() ? "accepted" : built.error().ToString();
}

TEST(ReportBuilder, WithoutCpuSetsEveryCpuIsSharedAndDedicated) {
  auto built = Build("");
  ASSERT_TRUE(built.has_value());
  ASSERT_EQ(built->report.cells.size(), 2u);
  EXPECT_EQ(built->report.cells[1].shared_cpus.ToString(), "4-7");
  EXPECT_EQ(built->report.cells[1].dedicated_cpus.ToString(), "4-7");
  EXPECT_EQ(built->report.name, "host1");
  EXPECT_TRUE(built->report.can_run_guests);
}

TEST(ReportBuilder, CpuSetsAreSplitByCell) {
  auto built = Build("{cpu_shared_set: \"0,4\", cpu_dedicated_set: \"1-3,6-9\"}");
  ASSERT_TRUE(built.has_value());
  EXPECT_EQ(built->report.cells[0].shared_cpus.ToString(), "0");
  EXPECT_EQ(built->report.cells[0].dedicated_cpus.ToString(), "1-3");
  EXPECT_EQ(built->report.cells[1].shared_cpus.ToString(), "4");
  EXPECT_EQ(built->report.cells[1].dedicated_cpus.ToString(), "6-7");
  EXPECT_EQ(built->report.warnings[0], "cpu_dedicated_set: CPUs 8-9 are not online on any NUMA node");
  built = Build("{cpu_dedicated_set: \"1\"}");
  ASSERT_TRUE(built.has_value());
  EXPECT_TRUE(built->report.cells[0].shared_cpus.empty());
  EXPECT_EQ(ErrorOf("{cpu_shared_set: \"0-2\", cpu_dedicated_set: \"2-3\"}"),
            "INVALID_ARGUMENT: cpu_dedicated_set: shares the CPUs 2 with cpu_shared_set (leave both out to "
            "use every "
            "CPU for both)");
}

TEST(ReportBuilder, TheReserveIsTakenOffMemoryAndBasePages) {
  auto built = Build("{reserved_memory: [{node: 0, size: 1G}, {node: 1, size: 256M}]}");
  ASSERT_TRUE(built.has_value());
  const placement::Cell& cell = built->report.cells[0];
  EXPECT_EQ(cell.memory_bytes, 3072 * kMi);
  EXPECT_EQ(cell.pages[0], (placement::PagePool{4096, 3072 * 256, 1024 * 256}));
  EXPECT_EQ(cell.pages[1], (placement::PagePool{2 * kMi, 512, 0}));
  EXPECT_EQ(built->report.cells[1].memory_bytes, 3840 * kMi);
}

TEST(ReportBuilder, ByDefaultTheFirstNodeKeeps512MiB) {
  auto built = Build("");
  ASSERT_TRUE(built.has_value());
  EXPECT_EQ(built->report.cells[0].memory_bytes, 3584 * kMi);
  EXPECT_EQ(built->report.cells[1].memory_bytes, 4096 * kMi);
}

TEST(ReportBuilder, HugePagesInUseByOthersAreReserved) {
  EXPECT_EQ(ForeignHugePages(Host(), {}), (PageCounts{{{1, 2 * kMi}, 64}}));
  EXPECT_EQ(ForeignHugePages(Host(), {{{1, 2 * kMi}, 60}}), (PageCounts{{{1, 2 * kMi}, 4}}));
  EXPECT_TRUE(ForeignHugePages(Host(), {{{1, 2 * kMi}, 100}}).empty());

  auto built = Build("{reserved_huge_pages: [{node: 1, page_size: 2M, count: 16}]}",
                     {.foreign = {{{1, 2 * kMi}, 64}}, .used = {}});
  ASSERT_TRUE(built.has_value());
  EXPECT_EQ(built->report.cells[1].pages[1], (placement::PagePool{2 * kMi, 512, 80}));
  EXPECT_EQ(built->report.cells[1].memory_bytes, (4096 - 160) * kMi);
}

TEST(ReportBuilder, MemoryOfNodesWithoutCpusIsNotOffered) {
  auto built = Build("");
  ASSERT_TRUE(built.has_value());
  EXPECT_EQ(built->report.cells[0].distances, (std::vector<uint32_t>{10, 20}));
  EXPECT_EQ(built->report.warnings,
            std::vector<std::string>{"node 2 has no CPUs: its 1.00 GiB of memory are not offered"});
}

TEST(ReportBuilder, DevicesOfDeviceSpecAreReported) {
  auto built = Build("{device_spec: [{vendor_id: \"8086\", managed: no}]}");
  ASSERT_TRUE(built.has_value());
  ASSERT_EQ(built->report.devices.size(), 1u);
  EXPECT_EQ(built->report.devices[0].resource_class, "CUSTOM_PCI_8086_154D");
  EXPECT_EQ(built->report.devices[0].driver, "ixgbe");
  EXPECT_EQ(built->report.devices[0].numa_node, 1u);
  EXPECT_EQ(built->unmanaged.size(), 1u);
}

TEST(ReportBuilder, WhatTheHostDoesNotHaveIsRefusedAllAtOnce) {
  EXPECT_EQ(ErrorOf("{reserved_memory: [{node: 0, size: 5G}, {node: 7, size: 1M}], reserved_huge_pages: "
                    "[{node: 0, page_size: 1G, count: 1}, {node: 1, page_size: 2M, count: 600}]}"),
            "INVALID_ARGUMENT: 4 errors:\n"
            "  reserved_memory: this host has no node 7\n"
            "  reserved_huge_pages: this host has no pages of 1G on node 0\n"
            "  reserved_memory: node 0 has 4.00 GiB, 5.00 GiB are to be reserved\n"
            "  reserved_huge_pages: node 1 has 512 pages of 2M, 600 are to be reserved");
}

TEST(ReportBuilder, MalformedSettingsNameTheirField) {
  EXPECT_EQ(ErrorOf("{reserved_memory: [{node: 0}]}"),
            "INVALID_ARGUMENT: reserved_memory[0].size: is missing (for example 512M)");
  EXPECT_NE(ErrorOf("{cpu_shared_set: \"0-\"}"), "accepted");
  EXPECT_NE(ErrorOf("{cpu_allocation_ratio: 0}"), "accepted");
  EXPECT_NE(ErrorOf("{reserved_huge_pages: 4}"), "accepted");
}

TEST(ReportBuilder, AOneTimeUseDeviceThatWasHandedOutIsWithheld) {
  const char* yaml = "{device_spec: [{product_id: 154d, one_time_use: true}]}";
  PciAddress address = *PciAddress::Parse("0000:41:00.0");

  auto fresh = Build(yaml);
  auto used = Build(yaml, {.foreign = {}, .used = {address}});

  ASSERT_TRUE(fresh.has_value());
  EXPECT_TRUE(fresh->report.devices[0].assignable);
  EXPECT_EQ(fresh->one_time_use, std::set<PciAddress>{address});
  ASSERT_TRUE(used.has_value());
  EXPECT_FALSE(used->report.devices[0].assignable);
  EXPECT_EQ(
      used->report.warnings.back(),
      "device 0000:41:00.0 is for one use and was handed out: it is withheld until its file in the folder "
      "used-devices is removed");
  EXPECT_TRUE(Build("{device_spec: [{product_id: 154d}]}", {.foreign = {}, .used = {address}})
                  ->report.devices[0]
                  .assignable);
}

// TDX as it shows itself, on the host of this file.
HostInventory TdxHost() {
  HostInventory inventory = Host();
  inventory.facts.overcommit_memory = 1;
  inventory.facts.smt.active = false;
  inventory.facts.iommu.groups = 1;
  inventory.confidential.tdx = true;
  inventory.confidential.guests["tdx"] = 31;
  return inventory;
}

Result<BuiltReport> BuildOn(const HostInventory& inventory, std::string_view yaml) {
  Result<YamlNode> node = ParseYaml(yaml, "agent.yaml");
  if (!node.has_value()) return node.error();
  ErrorList errors;
  HostConfig config = ParseHostConfig(*node, errors);
  TRY(errors.ToStatus());
  return BuildReport(inventory, config, {*Uuid::Parse("11111111-1111-4111-8111-111111111111"), "host1", ""},
                     {});
}

TEST(ReportBuilder, SecureMemoryThatIsSetAsideIsTakenOffTheOrdinaryMemory) {
  auto plain = BuildOn(TdxHost(), "{confidential: {type: none}}");
  auto built =
      BuildOn(TdxHost(), "{confidential: {secure_memory: [{node: 0, size: 1G}, {node: 1, size: 1026M}]}}");

  ASSERT_TRUE(built.has_value()) << built.error().ToString();
  for (size_t i : {size_t{0}, size_t{1}}) {
    const placement::Cell& cell = built->report.cells[i];
    const placement::Cell& before = plain->report.cells[i];
    EXPECT_EQ(cell.secure_memory_bytes, (i == 0 ? 1024 : 1026) * kMi);
    EXPECT_EQ(cell.memory_bytes + cell.secure_memory_bytes, before.memory_bytes);
    EXPECT_EQ(cell.pages[0].reserved - before.pages[0].reserved, cell.secure_memory_bytes / 4096);
    EXPECT_EQ(before.secure_memory_bytes, 0u);
  }
}

TEST(ReportBuilder, AHostThatFailsAHardCheckGetsNoConfidentialInventoryAndSaysWhy) {
  HostInventory host = TdxHost();
  host.confidential.guests["tdx"] = 0;
  auto built = BuildOn(host, "{confidential: {secure_memory: [{node: 0, size: 1G}, {node: 1, size: 1G}]}}");
  auto plain = BuildOn(host, "{confidential: {type: none}}");

  ASSERT_TRUE(built.has_value());
  EXPECT_EQ(built->report.cells, plain->report.cells);
  bool told = false;
  for (const std::string& warning : built->report.warnings) {
    told = told || warning.starts_with("no confidential guests: guest_limit: keys for 0 guests; needed: ");
  }
  EXPECT_TRUE(told);
  // Overcommitment on a host that only shows the technique: its inventory is refused, not the host.
  built =
      BuildOn(TdxHost(), "{cpu_allocation_ratio: 4.0, confidential: {secure_memory: [{node: 0, size: 1G}]}}");
  ASSERT_TRUE(built.has_value());
  EXPECT_EQ(built->report.cells[0].secure_memory_bytes, 0u);
}

TEST(ReportBuilder, OvercommitmentAndSecureMemoryThatCannotBeAreRefusedInTheConfiguration) {
  EXPECT_EQ(
      ErrorOf("{ram_allocation_ratio: 1.5, confidential: {type: tdx}}"),
      "INVALID_ARGUMENT: ram_allocation_ratio: is not 1.0 although confidential.type is tdx: CPU or memory "
      "overcommitment is not supported there (take it out, or set confidential.type to none)");
  EXPECT_EQ(
      ErrorOf("{confidential: {secure_memory: [{node: 0, size: 1025M}]}}"),
      "INVALID_ARGUMENT: confidential.secure_memory[0].size: secure memory of 1025M is not a multiple of 2 "
      "MiB of at least 1 GiB");
  EXPECT_NE(ErrorOf("{confidential: {secure_memory: [{node: 0, size: 512M}]}}"), "accepted");
  EXPECT_NE(ErrorOf("{confidential: {secure_memory: [{node: 7, size: 1G}]}}").find("this host has no node 7"),
            std::string::npos);
  EXPECT_NE(ErrorOf("{confidential: {type: sgx}}").find("auto, none, virtcca, tdx, sev-snp or sw-protected"),
            std::string::npos);
  EXPECT_NE(ErrorOf("{confidential: {type: virtcca, secure_memory: [{node: 0, size: 1G}]}}"), "accepted");
  EXPECT_NE(ErrorOf("{confidential: {typ: tdx}}"), "accepted");
  EXPECT_NE(
      BuildOn(TdxHost(), "{confidential: {secure_memory: [{node: 0, size: 1G}, {node: 1, size: 3328M}]}}")
          .status()
          .ToString()
          .find("are to be secure"),
      std::string::npos);
}

TEST(ReportBuilder, ADeviceWhoseIommuGroupTheHostUsesIsWithheld) {
  HostInventory host = Host();
  host.pci_devices[0].iommu_group = 7;
  PciDeviceInfo bridge = host.pci_devices[0];
  bridge.address = *PciAddress::Parse("0000:40:00.0");
  bridge.class_code = 0x060400;
  bridge.driver = "pcieport";
  PciDeviceInfo disk = host.pci_devices[0];
  disk.address = *PciAddress::Parse("0000:41:00.1");
  disk.product_id = "0001";
  disk.driver = "ahci";
  host.pci_devices.push_back(bridge);
  const char* one = "{device_spec: [{product_id: 154d, address: \"0000:41:00.0\"}]}";
  auto viable = BuildOn(host, one);
  ASSERT_TRUE(viable.has_value());
  EXPECT_TRUE(viable->report.devices[0].assignable);
  host.pci_devices.push_back(disk);

  auto built = BuildOn(host, one);

  ASSERT_TRUE(built.has_value());
  EXPECT_FALSE(built->report.devices[0].assignable);
  EXPECT_EQ(
      built->report.warnings.back(),
      "device 0000:41:00.0 is withheld: 0000:41:00.1 of the same IOMMU group 7 is held by the host's driver "
      "ahci; unbind it or bind it to vfio-pci");
  // Whoever claims one of them would find the other with its driver.
  const char* spec = "{device_spec: [{address: \"0000:41:00.*\"}]}";
  auto both = BuildOn(host, spec);
  ASSERT_TRUE(both.has_value());
  EXPECT_FALSE(both->report.devices[0].assignable);
  for (const char* driver : {"", "vfio-pci", "pci-stub"}) {
    host.pci_devices.back().driver = driver;
    auto unbound = BuildOn(host, spec);
    ASSERT_TRUE(unbound.has_value());
    EXPECT_TRUE(unbound->report.devices[0].assignable);
    // 0000:41:00.0 has a driver, which would hold the other one back: that one is withheld.
    EXPECT_FALSE(unbound->report.devices[1].assignable);
  }
  host.pci_devices[0].driver = "vfio-pci";
  EXPECT_EQ(
      BuildOn(host, spec)->report.warnings.back(),
      "devices 0000:41:00.0, 0000:41:00.1 are of one IOMMU group 7: only one guest at a time can have any "
      "of them");
}

TEST(ReportBuilder, ADeviceThatFailsIsTakenOutAloneWithItsVfs) {
  HostInventory host = Host();
  PciDeviceInfo pf = host.pci_devices[0];
  pf.address = *PciAddress::Parse("0000:51:00.0");
  pf.product_id = "1572";
  PciDeviceInfo vf = pf;
  vf.address = *PciAddress::Parse("0000:51:02.0");
  vf.type = placement::DeviceType::kVf;
  vf.product_id = "154c";
  vf.parent = pf.address;
  host.pci_devices.push_back(pf);
  host.pci_devices.push_back(vf);
  const char* config = "{device_spec: [{product_id: 154d}, {product_id: 154c}]}";
  auto assignable = [&] {
    auto built = BuildOn(host, config);
    std::string text;
    if (!built.has_value()) return built.error().ToString();
    for (const placement::Device& device : built->report.devices)
      text += device.assignable ? device.address.ToString() + " " : "";
    return text;
  };
  const std::string both = assignable();
  EXPECT_NE(both.find("0000:51:02.0 "), std::string::npos);
  EXPECT_NE(both.find("0000:41:00.0 "), std::string::npos);

  for (PciDeviceInfo& device : host.pci_devices) device.fatal_errors = device.address == pf.address ? 2 : 0;
  EXPECT_EQ(assignable().find("0000:51:02.0"), std::string::npos);
  EXPECT_NE(assignable().find("0000:41:00.0"), std::string::npos);
  EXPECT_EQ(BuildOn(host, config)->report.warnings.back(),
            "device 0000:51:02.0 is withheld: it belongs to 0000:51:00.0, which has reported 2 fatal errors "
            "(AER); to try it again: echo 1 > /sys/bus/pci/devices/0000:51:00.0/remove && echo 1 > "
            "/sys/bus/pci/rescan");
  for (PciDeviceInfo& device : host.pci_devices) {
    device.fatal_errors = 0;
    device.off_bus = device.address.ToString() == "0000:41:00.0";
  }
  EXPECT_NE(assignable().find("0000:51:02.0"), std::string::npos);
  EXPECT_EQ(assignable().find("0000:41:00.0"), std::string::npos);
}

TEST(ReportBuilder, CardsOfAVirtccaHostAreTrustDomains) {
  HostInventory host = Host();
  ErrorList errors;
  const HostConfig config = ParseHostConfig(*ParseYaml("{device_spec: [{product_id: 154d}]}", "t"), errors);
  const HostIdentity identity{*Uuid::Parse("11111111-1111-4111-8111-111111111111"), "host1", ""};
  const PciAddress card = *PciAddress::Parse("0000:41:00.0");
  const HostState state{.secure_cards = {card}};
  const std::string trait(placement::kSecureCardTrait);
  auto has = [&](const BuiltReport& built) {
    const std::vector<std::string>& traits = built.report.devices.at(0).traits;
    return std::find(traits.begin(), traits.end(), trait) != traits.end();
  };

  auto ordinary = BuildReport(host, config, identity, state);
  host.confidential.virtcca = true;
  host.confidential.secure_nodes = {{0, 4096 * kMi, 4096 * kMi, 0, 0}};
  auto kunpeng = BuildReport(host, config, identity, state);

  ASSERT_TRUE(ordinary.has_value() && kunpeng.has_value());
  EXPECT_TRUE(ordinary->cards.empty());
  EXPECT_FALSE(has(*ordinary));
  EXPECT_EQ(kunpeng->cards, (std::map<PciAddress, PciAddress>{{card, card}}));
  EXPECT_TRUE(has(*kunpeng));
  EXPECT_TRUE(kunpeng->report.devices[0].assignable);
  EXPECT_EQ(kunpeng->report.warnings.back(),
            "card 0000:41:00.0 is in the secure world until the host is rebooted: its functions are for "
            "confidential guests only");
  EXPECT_FALSE(has(*BuildReport(host, config, identity, {})));
}

TEST(ReportBuilder, DevicesCarryTheirDomainsAndTheHostItsDisk) {
  auto built = Build(R"(
device_spec: [{vendor_id: "8086", product_id: "154d"}]
domains: {"rail:1": ["0000:41:00.0"]}
disk_size: 2T
)");
  ASSERT_TRUE(built.has_value()) << built.error().ToString();
  ASSERT_EQ(built->report.devices.size(), 1u);
  EXPECT_EQ(built->report.devices[0].domains, std::vector<std::string>{"rail:1"});
  EXPECT_EQ(built->report.disk_bytes, uint64_t{2} << 40);
  EXPECT_NE(ErrorOf("domains: {rail: [\"0000:41:00.0\"]}").find("KIND:NAME"), std::string::npos);
  EXPECT_NE(ErrorOf("domains: {\"rail:1\": [nowhere]}").find("domains.rail:1"), std::string::npos);
}

}  // namespace
}  // namespace berth::agent
