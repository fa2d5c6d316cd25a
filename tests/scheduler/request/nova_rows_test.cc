// The rows of Nova's behaviour that concern what a request is (docs/scheduling.md, "Nova's rows"): one test a
// row, under the row's name.
#include <gtest/gtest.h>

#include "scheduler/request/catalogue.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

AliasTable Table(const std::vector<std::vector<AliasField>>& entries) {
  AliasTable table;
  for (const auto& fields : entries) {
    auto entry = MakeAliasEntry(fields);
    EXPECT_TRUE(entry.has_value()) << entry.error().ToString();
    EXPECT_TRUE(AddAliasEntry(*entry, table).ok());
  }
  return table;
}

AliasTable Gpu(std::vector<AliasField> more = {}) {
  std::vector<AliasField> fields = {{"name", "gpu"}, {"vendor_id", "10de"}, {"product_id", "2330"}};
  fields.insert(fields.end(), more.begin(), more.end());
  return Table({fields});
}

Result<RequestSpec> Resolve(Properties specs, Properties image = {},
                            const std::vector<PortRequest>& ports = {}, const AliasTable& aliases = Gpu(),
                            uint32_t vcpus = 4, uint64_t memory_mib = 4096) {
  return ResolveRequest({"f", vcpus, memory_mib, std::move(specs)}, image, ports, aliases);
}

std::string ErrorOf(const Result<RequestSpec>& result) {
  return result.has_value() ? "" : result.error().message();
}

void ExpectNamed(const Result<RequestSpec>& result, const std::string& name) {
  ASSERT_FALSE(result.has_value()) << "expected " << name;
  EXPECT_TRUE(result.error().message().starts_with(name)) << result.error().ToString();
  EXPECT_FALSE(result.error().field().empty());
}

PortRequest Port(const std::string& type) {
  PortRequest port;
  port.id = "p";
  port.vnic_type = type;
  return port;
}

TEST(NovaRow, AL01_FieldsOfAnAliasAreCheckedAndUnknownOnesRefused) {
  auto error = [](std::vector<AliasField> more) {
    std::vector<AliasField> fields = {{"name", "a"}, {"vendor_id", "8086"}, {"product_id", "154c"}};
    fields.insert(fields.end(), more.begin(), more.end());
    auto entry = MakeAliasEntry(fields);
    return entry.has_value() ? "" : entry.error().message();
  };
  EXPECT_EQ(error({{"capability_type", "pci"}, {"device_type", "type-PF"}, {"numa_policy", "socket"}}), "");
  for (auto [key, value] : std::vector<std::pair<std::string, std::string>>{{"device_type", "vdpa"},
                                                                            {"numa_policy", "strict"},
                                                                            {"capability_type", "usb"},
                                                                            {"live_migratable", "maybe"},
                                                                            {"colour", "red"}}) {
    EXPECT_TRUE(error({{key, value}}).starts_with("PciInvalidAlias")) << key;
  }
}

TEST(NovaRow, AL02_ARepeatedNameMeansAlternativesThatAgreeInTypeAndPolicy) {
  AliasTable table = Table({{{"name", "a"}, {"vendor_id", "8086"}, {"product_id", "154c"}},
                            {{"name", "a"}, {"vendor_id", "15b3"}, {"product_id", "1018"}}});
  auto spec = Resolve({{"pci_passthrough:alias", "a:2"}}, {}, {}, table);
  ASSERT_TRUE(spec.has_value());
  ASSERT_EQ(spec->pci.size(), 1u);
  EXPECT_EQ(spec->pci[0].alternatives.size(), 2u);
  AliasTable differ = Table({{{"name", "a"}, {"vendor_id", "8086"}, {"product_id", "154c"}}});
  auto other = MakeAliasEntry(
      {{"name", "a"}, {"vendor_id", "8086"}, {"product_id", "1572"}, {"device_type", "type-PF"}});
  EXPECT_TRUE(AddAliasEntry(*other, differ).message().starts_with("PciInvalidAlias"));
}

TEST(NovaRow, AL03_WithoutDeviceTypeVfsMatchAndPfsDoNot) {
  auto spec = Resolve({{"pci_passthrough:alias", "gpu:1"}});
  EXPECT_FALSE(
      spec->pci[0].alternatives[0].kind.has_value());  // see DeviceTypes.WithoutDeviceTypeAPfIsNeverGiven
}

TEST(NovaRow, AL04_AnAliasNamesDevicesOrAResourceClass) {
  EXPECT_FALSE(MakeAliasEntry({{"name", "a"}}).has_value());
  EXPECT_FALSE(MakeAliasEntry({{"name", "a"}, {"vendor_id", "8086"}}).has_value());
  EXPECT_FALSE(MakeAliasEntry({{"name", "a"}, {"traits", "CUSTOM_X"}}).has_value());
  EXPECT_TRUE(MakeAliasEntry({{"name", "a"}, {"resource_class", "CUSTOM_GPU"}}).has_value());
}

TEST(NovaRow, AL05_ItemsAddUpAndCountZeroIsRefused) {
  auto spec = Resolve({{"pci_passthrough:alias", "gpu:1 , gpu:2"}});
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  uint32_t count = 0;
  for (const PciRequest& request : spec->pci) count += request.count;
  EXPECT_EQ(count, 3u);
  ExpectNamed(Resolve({{"pci_passthrough:alias", "gpx:1"}}), "PciRequestAliasNotDefined");
  ExpectNamed(Resolve({{"pci_passthrough:alias", "gpu:0"}}), "InvalidInput");
  ExpectNamed(Resolve({{"pci_passthrough:alias", "gpu"}}), "InvalidInput");
}

TEST(NovaRow, AL06_AliasesAreInOnePlaceAndAFlavorThatNamesNoneIsRefusedAtLoad) {
  auto catalogue = ParseCatalogue(
      "flavors: [{name: f, vcpus: 1, memory_mib: 1, extra_specs: {pci_passthrough:alias: \"gpu:1\"}}]",
      "f.yaml");
  EXPECT_FALSE(catalogue.has_value());
}

TEST(NovaRow, AL07_MatchingIsByVendorProductTypeAndTags) {
  auto spec = Resolve({{"pci_passthrough:alias", "gpu:1"}}, {}, {}, Gpu({{"device_type", "type-VF"}}));
  const DeviceMatch& match = spec->pci[0].alternatives[0];
  EXPECT_EQ(match.vendor_id, "10de");
  EXPECT_EQ(match.product_id, "2330");
  EXPECT_EQ(match.kind, DeviceKind::kVf);
}

TEST(NovaRow, AL08_PolicyOfPortThenFlavorThenAliasThenLegacy) {
  PortRequest port = Port("direct");
  port.numa_policy = "socket";
  auto all = Resolve({{"hw:pci_numa_affinity_policy", "required"}, {"pci_passthrough:alias", "gpu:1"}}, {},
                     {port}, Gpu({{"numa_policy", "preferred"}}));
  ASSERT_TRUE(all.has_value()) << all.error().ToString();
  EXPECT_EQ(all->pci[0].policy, AffinityPolicy::kRequired);
  EXPECT_EQ(all->pci[1].policy, AffinityPolicy::kSocket);
  auto of_alias = Resolve({{"pci_passthrough:alias", "gpu:1"}}, {}, {Port("direct")},
                          Gpu({{"numa_policy", "preferred"}}));
  EXPECT_EQ(of_alias->pci[0].policy, AffinityPolicy::kPreferred);
  EXPECT_EQ(of_alias->pci[1].policy, AffinityPolicy::kLegacy);
}

TEST(NovaRow, NP06_FlavorAndImageAgreeOrAreRefused) {
  Properties flavor = {{"hw:pci_numa_affinity_policy", "required"}};
  EXPECT_EQ(ErrorOf(Resolve(flavor, {{"hw_pci_numa_affinity_policy", "required"}})), "");
  ExpectNamed(Resolve(flavor, {{"hw_pci_numa_affinity_policy", "legacy"}}), "ImagePCINUMAPolicyForbidden");
  ExpectNamed(Resolve({{"hw:pci_numa_affinity_policy", "near"}}), "InvalidPCINUMAAffinity");
}

TEST(NovaRow, NP07_APortsPolicyMakesNoTopology) {
  PortRequest port = Port("direct");
  port.numa_policy = "required";
  auto spec = Resolve({}, {}, {port});
  ASSERT_TRUE(spec.has_value());
  EXPECT_TRUE(spec->cells.empty());
  EXPECT_EQ(spec->pci[0].policy, AffinityPolicy::kRequired);
}

TEST(NovaRow, NU01_NodesAreAWholeNumberOnceInFlavorOrImage) {
  ExpectNamed(Resolve({{"hw:numa_nodes", "0"}}), "InvalidNUMANodesNumber");
  ExpectNamed(Resolve({{"hw:numa_nodes", "two"}}), "InvalidNUMANodesNumber");
  ExpectNamed(Resolve({{"hw:numa_nodes", "2"}}, {{"hw_numa_nodes", "2"}}), "ImageNUMATopologyForbidden");
}

TEST(NovaRow, NU02_WithoutListsTheSplitIsEvenOrRefused) {
  auto spec = Resolve({{"hw:numa_nodes", "2"}});
  EXPECT_EQ(spec->cells[0].vcpus.ToString(), "0-1");
  ExpectNamed(Resolve({{"hw:numa_nodes", "3"}}), "ImageNUMATopologyAsymmetric");
}

TEST(NovaRow, NU03_ListsAreCompleteDisjointAndInRange) {
  auto lists = [](const char* cpus0, const char* cpus1, const char* mem0, const char* mem1) {
    Properties specs = {{"hw:numa_nodes", "2"}};
    auto add = [&](const char* name, const char* value) {
      if (*value != 0) specs[name] = value;
    };
    add("hw:numa_cpus.0", cpus0);
    add("hw:numa_cpus.1", cpus1);
    add("hw:numa_mem.0", mem0);
    add("hw:numa_mem.1", mem1);
    return Resolve(std::move(specs));
  };
  EXPECT_EQ(ErrorOf(lists("0", "1-3", "1024", "3072")), "");
  ExpectNamed(lists("0", "1-3", "1024", ""), "ImageNUMATopologyIncomplete");
  ExpectNamed(lists("0", "1-4", "1024", "3072"), "ImageNUMATopologyCPUOutOfRange");
  ExpectNamed(lists("0-1", "1-3", "1024", "3072"), "ImageNUMATopologyCPUDuplicates");
  ExpectNamed(lists("0", "1-2", "1024", "3072"), "ImageNUMATopologyCPUsUnassigned");
  ExpectNamed(lists("0", "1-3", "1024", "1024"), "ImageNUMATopologyMemoryOutOfRange");
}

TEST(NovaRow, CP01_PoliciesOfFlavorImageAndResources) {
  ExpectNamed(Resolve({{"hw:cpu_policy", "shared"}}, {{"hw_cpu_policy", "dedicated"}}),
              "ImageCPUPinningForbidden");
  EXPECT_EQ(Resolve({{"hw:cpu_policy", "dedicated"}}, {{"hw_cpu_policy", "shared"}})->cpu_policy,
            CpuPolicy::kDedicated);
  EXPECT_EQ(Resolve({{"resources:PCPU", "4"}})->cpu_policy, CpuPolicy::kDedicated);
  ExpectNamed(Resolve({{"resources:PCPU", "4"}, {"hw:cpu_policy", "dedicated"}}), "InvalidRequest");
  ExpectNamed(Resolve({{"resources:PCPU", "2"}, {"resources:VCPU", "2"}}), "InvalidRequest");
}

TEST(NovaRow, CP02_MixedNeedsAMaskThatIsAProperPart) {
  auto mixed = [](const char* mask) {
    return Resolve({{"hw:cpu_policy", "mixed"}, {"hw:cpu_dedicated_mask", mask}});
  };
  EXPECT_EQ(mixed("0-1")->cells[0].pinned.ToString(), "0-1");
  EXPECT_EQ(mixed("^0")->cells[0].pinned.ToString(), "1-3");
  EXPECT_FALSE(mixed("0-3").has_value());
  EXPECT_FALSE(Resolve({{"hw:cpu_policy", "mixed"}}).has_value());
  ExpectNamed(Resolve({{"hw:cpu_policy", "dedicated"}, {"hw:cpu_dedicated_mask", "0"}}),
              "RequiredMixedInstancePolicy");
}

TEST(NovaRow, CP04_ThreadPolicyNeedsPinning) {
  ExpectNamed(Resolve({{"hw:cpu_thread_policy", "require"}}), "CPUThreadPolicyConfigurationInvalid");
  EXPECT_EQ(Resolve({{"hw:cpu_policy", "dedicated"}, {"hw:cpu_thread_policy", "isolate"}})->thread_policy,
            ThreadPolicy::kIsolate);
  ExpectNamed(Resolve({{"hw:cpu_policy", "dedicated"}, {"hw:cpu_thread_policy", "require"}},
                      {{"hw_cpu_thread_policy", "isolate"}}),
              "ImageCPUThreadPolicyForbidden");
}

TEST(NovaRow, CP05_AnIsolatedEmulatorNeedsPinning) {
  ExpectNamed(Resolve({{"hw:emulator_threads_policy", "isolate"}}), "BadRequirementEmulatorThreadsPolicy");
  EXPECT_EQ(
      Resolve({{"hw:cpu_policy", "dedicated"}, {"hw:emulator_threads_policy", "isolate"}})->emulator_policy,
      EmulatorPolicy::kIsolate);
}

TEST(NovaRow, PG01_PageSizesAreWordsNumbersOrSizesAndTheImageMayRefineOnly) {
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "2MB"}})->pages.size_bytes, uint64_t{2} << 20);
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "2048"}})->pages.size_bytes, uint64_t{2} << 20);
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "large"}}, {{"hw_mem_page_size", "1GB"}})->pages.size_bytes,
            uint64_t{1} << 30);
  ExpectNamed(Resolve({{"hw:mem_page_size", "huge"}}), "MemoryPageSizeInvalid");
  ExpectNamed(Resolve({}, {{"hw_mem_page_size", "2MB"}}), "MemoryPageSizeForbidden");
  ExpectNamed(Resolve({{"hw:mem_page_size", "small"}}, {{"hw_mem_page_size", "2MB"}}),
              "MemoryPageSizeForbidden");
}

TEST(NovaRow, PG04_LockedMemoryIsRefusedByNameInsteadOfIgnored) {
  EXPECT_NE(ErrorOf(Resolve({{"hw:locked_memory", "true"}})).find("not supported by this version"),
            std::string::npos);
}

TEST(NovaRow, PO01_TypesThatNeedADeviceAskForOneEach) {
  for (auto [type, devices] : std::vector<std::pair<const char*, size_t>>{{"normal", 0},
                                                                          {"direct", 1},
                                                                          {"macvtap", 1},
                                                                          {"virtio-forwarder", 1},
                                                                          {"direct-physical", 1},
                                                                          {"vdpa", 1},
                                                                          {"remote-managed", 1}}) {
    auto spec = Resolve({}, {}, {Port(type)});
    ASSERT_TRUE(spec.has_value()) << type;
    EXPECT_EQ(spec->pci.size(), devices) << type;
  }
  EXPECT_FALSE(Resolve({}, {}, {Port("smart-nic")}).has_value());
}

TEST(NovaRow, PO02_APortAsksForNetworkManagementTypeAndTrust) {
  PortRequest port = Port("direct-physical");
  port.physical_network = "net0";
  auto physical = Resolve({}, {}, {port});
  const DeviceMatch& pf = physical->pci[0].alternatives[0];
  EXPECT_EQ(pf.kind, DeviceKind::kPf);
  EXPECT_EQ(pf.network->name, "net0");
  EXPECT_EQ(pf.remote_managed, false);
  EXPECT_FALSE(pf.trusted.has_value());
  EXPECT_EQ(Resolve({}, {}, {Port("vdpa")})->pci[0].alternatives[0].kind, DeviceKind::kVdpa);
  EXPECT_EQ(Resolve({}, {}, {Port("remote-managed")})->pci[0].alternatives[0].remote_managed, true);
  EXPECT_TRUE(pf.vendor_id.empty() && pf.product_id.empty());
}

TEST(NovaRow, PO05_TrustIsAskedForOnlyWhenThePortSaysSo) {
  PortRequest port = Port("direct");
  EXPECT_FALSE(Resolve({}, {}, {port})->pci[0].alternatives[0].trusted.has_value());
  port.trusted = true;
  EXPECT_EQ(Resolve({}, {}, {port})->pci[0].alternatives[0].trusted, true);
  port.trusted = false;
  EXPECT_EQ(Resolve({}, {}, {port})->pci[0].alternatives[0].trusted, false);
}

TEST(NovaRow, PL08_GroupPolicyIsNoneOrIsolateAndNothingElse) {
  EXPECT_FALSE(Resolve({{"group_policy", "none"}})->isolate_groups);
  EXPECT_TRUE(Resolve({{"group_policy", "isolate"}})->isolate_groups);
  EXPECT_FALSE(Resolve({{"group_policy", "apart"}}).has_value());
}

TEST(NovaRow, PL10_AnAliasWithoutClassHasTheDefaultOneInPlacement) {
  auto spec = ResolveRequest({"f", 1, 64, {{"pci_passthrough:alias", "gpu:1"}}}, {}, {},
                             Gpu({{"traits", "blue, big"}}), PciTracking::kNovaInPlacement);
  ASSERT_TRUE(spec.has_value());
  EXPECT_EQ(spec->pci[0].alternatives[0].resource_class, "CUSTOM_PCI_10DE_2330");
  EXPECT_EQ(spec->pci[0].alternatives[0].traits, (std::vector<std::string>{"CUSTOM_BIG", "CUSTOM_BLUE"}));
}

TEST(NovaRow, VI01_FourModelsAndTheFlavorWins) {
  EXPECT_EQ(Resolve({{"hw:viommu_model", "intel"}}, {{"hw_viommu_model", "virtio"}})->viommu,
            ViommuModel::kIntel);
  EXPECT_EQ(Resolve({})->viommu, ViommuModel::kNone);
  ExpectNamed(Resolve({{"hw:viommu_model", "amd"}}), "InvalidInput");
}

TEST(NovaRow, SE01_EncryptionOfFlavorAndImageMustAgree) {
  EXPECT_TRUE(Resolve({{"hw:mem_encryption", "true"}})->encrypted());
  EXPECT_FALSE(Resolve({{"hw:mem_encryption", "true"}}, {{"hw_mem_encryption", "false"}}).has_value());
}

TEST(NovaRow, SE03_EncryptedGuestsHaveTheirMinimumAlignmentAndRequiredDevices) {
  auto small = Resolve({{"hw:mem_encryption", "true"}}, {}, {}, Gpu(), 4, 512);
  EXPECT_FALSE(small.has_value());
  auto odd = Resolve({{"hw:mem_encryption", "true"}}, {}, {}, Gpu(), 4, 2049);
  EXPECT_FALSE(odd.has_value());
  auto good = Resolve({{"hw:mem_encryption", "true"}, {"pci_passthrough:alias", "gpu:1"}});
  ASSERT_TRUE(good.has_value()) << good.error().ToString();
  EXPECT_EQ(good->pci[0].policy, AffinityPolicy::kRequired);
  EXPECT_GE(good->swiotlb_bytes, uint64_t{64} << 20);
}

TEST(UnsuffixedNames, ResourcesTraitsRequiredAndForbiddenAreOfTheHost) {
  auto spec = Resolve({{"resources:DISK_GB", "20"},
                       {"resources:VGPU", "1"},
                       {"trait:COMPUTE_NODE", "required"},
                       {"trait:CUSTOM_SLOW", "forbidden"},
                       {"required", "HW_CPU_X86_AVX2,!CUSTOM_OLD"},
                       {"forbidden", "CUSTOM_NEW"},
                       {"aggregate_instance_extra_specs:ssd", "true"}});
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  EXPECT_EQ(spec->disk_bytes, uint64_t{20} << 30);
  EXPECT_EQ(spec->host.traits, (std::vector<std::string>{"COMPUTE_NODE", "HW_CPU_X86_AVX2"}));
  EXPECT_EQ(spec->host.forbidden_traits,
            (std::vector<std::string>{"CUSTOM_NEW", "CUSTOM_OLD", "CUSTOM_SLOW"}));
  EXPECT_EQ(spec->host.aggregate_specs, (HostRules::Values{{"ssd", "true"}}));
  ASSERT_EQ(spec->pci.size(), 1u);
  EXPECT_EQ(spec->pci[0].alternatives[0].resource_class, "VGPU");
}

TEST(UnsuffixedNames, ContradictionsAndBadValuesAreRefusedByName) {
  for (const Properties& specs : std::vector<Properties>{
           {{"trait:CUSTOM_A", "required"}, {"required", "!CUSTOM_A"}},
           {{"trait:CUSTOM_A", "wanted"}},
           {{"forbidden", "!CUSTOM_A"}},
           {{"required", "CUSTOM_A,"}},
           {{"resources:DISK_GB", "-1"}},
           {{"resources:MEM_ENCRYPTION_CONTEXT", "1"}},
       }) {
    auto spec = Resolve(specs);
    ASSERT_FALSE(spec.has_value()) << specs.begin()->first;
    EXPECT_TRUE(spec.error().field().starts_with("extra_specs.")) << spec.error().ToString();
  }
  EXPECT_FALSE(Resolve({{"trait:CUSTOM_A", "forbidden"}}, {{"trait:CUSTOM_A", "required"}}).has_value());
  EXPECT_EQ(ErrorOf(Resolve({{"hw:mem_encryption", "true"}, {"resources:MEM_ENCRYPTION_CONTEXT", "1"}})), "");
}

TEST(Disk, IsTheFlavorsUnlessResourcesSayOtherwise) {
  Flavor flavor{"f", 1, 64, {}, 40};
  EXPECT_EQ(ResolveRequest(flavor, {}, {}, {})->disk_bytes, uint64_t{40} << 30);
  flavor.extra_specs["resources:DISK_GB"] = "0";
  EXPECT_EQ(ResolveRequest(flavor, {}, {}, {})->disk_bytes, 0u);
}

}  // namespace
}  // namespace berth::scheduler
