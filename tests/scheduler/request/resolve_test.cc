#include "scheduler/request/resolve.h"

#include <gtest/gtest.h>

namespace berth::scheduler {
namespace {

Flavor MakeFlavor(uint32_t vcpus, uint64_t memory_mib, Properties specs) {
  return {"f", vcpus, memory_mib, std::move(specs)};
}

AliasTable Aliases() {
  AliasTable table;
  EXPECT_TRUE(
      AddAliasEntry(
          *MakeAliasEntry(
              {{"name", "gpu"}, {"vendor_id", "10DE"}, {"product_id", "1db4"}, {"numa_policy", "required"}}),
          table)
          .ok());
  EXPECT_TRUE(
      AddAliasEntry(
          *MakeAliasEntry(
              {{"name", "vf"}, {"vendor_id", "8086"}, {"product_id", "154c"}, {"device_type", "type-VF"}}),
          table)
          .ok());
  EXPECT_TRUE(
      AddAliasEntry(
          *MakeAliasEntry(
              {{"name", "vf"}, {"vendor_id", "15b3"}, {"product_id", "1018"}, {"device_type", "type-VF"}}),
          table)
          .ok());
  return table;
}

Result<RequestSpec> Resolve(Properties specs, Properties image = {}, std::vector<PortRequest> ports = {},
                            uint32_t vcpus = 4, uint64_t memory_mib = 4096) {
  return ResolveRequest(MakeFlavor(vcpus, memory_mib, std::move(specs)), image, ports, Aliases());
}

// Expects the error's name, field and a part of its message.
void ExpectError(const Result<RequestSpec>& result, const std::string& name, const std::string& field) {
  ASSERT_FALSE(result.has_value()) << "expected " << name;
  EXPECT_EQ(result.error().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(result.error().message().starts_with(name)) << result.error().ToString();
  EXPECT_EQ(result.error().field(), field);
}

TEST(ResolveTopology, PlainFlavorHasNone) {
  auto spec = Resolve({});
  ASSERT_TRUE(spec.has_value());
  EXPECT_TRUE(spec->cells.empty());
  EXPECT_EQ(spec->vcpus, 4u);
  EXPECT_EQ(spec->memory_bytes, uint64_t{4} << 30);
}

TEST(ResolveTopology, NodesSplitCpusInConsecutiveBlocksAndMemoryEvenly) {
  auto spec = Resolve({{"hw:numa_nodes", "2"}});
  ASSERT_TRUE(spec.has_value());
  ASSERT_EQ(spec->cells.size(), 2u);
  EXPECT_EQ(spec->cells[0].vcpus.ToString(), "0-1");
  EXPECT_EQ(spec->cells[1].vcpus.ToString(), "2-3");
  EXPECT_EQ(spec->cells[1].memory_bytes, uint64_t{2} << 30);
  EXPECT_TRUE(spec->cells[0].pinned.empty());
}

TEST(ResolveTopology, PageSizeOrPinningAloneMakesOneCell) {
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "any"}})->cells.size(), 1u);
  EXPECT_EQ(Resolve({{"hw:cpu_policy", "dedicated"}})->cells[0].pinned.ToString(), "0-3");
  EXPECT_EQ(Resolve({{"resources:PCPU", "4"}})->cpu_policy, CpuPolicy::kDedicated);
}

TEST(ResolveTopology, WrittenCellsMayBeUneven) {
  auto spec = Resolve({{"hw:numa_nodes", "2"},
                       {"hw:numa_cpus.0", "0,2-3"},
                       {"hw:numa_mem.0", "3072"},
                       {"hw:numa_cpus.1", "1"},
                       {"hw:numa_mem.1", "1024"}});
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  EXPECT_EQ(spec->cells[0].vcpus.ToString(), "0,2-3");
  EXPECT_EQ(spec->cells[1].memory_bytes, uint64_t{1} << 30);
}

TEST(ResolveTopology, EveryContradictionHasNovasName) {
  ExpectError(Resolve({{"hw:numa_nodes", "0"}}), "InvalidNUMANodesNumber", "extra_specs.hw:numa_nodes");
  ExpectError(Resolve({{"hw:numa_nodes", "two"}}), "InvalidNUMANodesNumber", "extra_specs.hw:numa_nodes");
  ExpectError(Resolve({{"hw:numa_nodes", "3"}}), "ImageNUMATopologyAsymmetric", "extra_specs.hw:numa_nodes");
  ExpectError(Resolve({{"hw:numa_nodes", "2"}}, {{"hw_numa_nodes", "2"}}), "ImageNUMATopologyForbidden",
              "image_properties.hw_numa_nodes");
  ExpectError(Resolve({{"hw:numa_nodes", "2"}, {"hw:numa_cpus.0", "0-3"}}), "ImageNUMATopologyIncomplete",
              "extra_specs.hw:numa_mem.0");
  Properties two = {{"hw:numa_nodes", "2"},
                    {"hw:numa_mem.0", "2048"},
                    {"hw:numa_mem.1", "2048"},
                    {"hw:numa_cpus.0", "0-1"},
                    {"hw:numa_cpus.1", "2-3"}};
  two["hw:numa_cpus.1"] = "2-4";
  ExpectError(Resolve(two), "ImageNUMATopologyCPUOutOfRange", "extra_specs.hw:numa_cpus.1");
  two["hw:numa_cpus.1"] = "1-3";
  ExpectError(Resolve(two), "ImageNUMATopologyCPUDuplicates", "extra_specs.hw:numa_cpus.1");
  two["hw:numa_cpus.1"] = "2";
  ExpectError(Resolve(two), "ImageNUMATopologyCPUsUnassigned", "extra_specs.hw:numa_cpus.0");
  two["hw:numa_cpus.1"] = "2-3";
  two["hw:numa_mem.1"] = "1024";
  ExpectError(Resolve(two), "ImageNUMATopologyMemoryOutOfRange", "extra_specs.hw:numa_mem.0");
  two["hw:numa_mem.1"] = "2048";
  two["hw:numa_cpus.2"] = "3";
  ExpectError(Resolve(two), "ImageNUMATopologyIncomplete", "extra_specs.hw:numa_cpus.2");
}

TEST(ResolveTopology, NumberedKeysWithoutTopologyAreToldToHaveNoEffect) {
  Flavor flavor = MakeFlavor(1, 512,
                             {{"hw:numa_cpus.0", "0"},
                              {"hw:pci_numa_affinity_policy", "required"},
                              {"pci_passthrough:alias", "gpu:1"}});
  auto spec = ResolveRequest(flavor, {}, {}, Aliases());
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  EXPECT_TRUE(spec->cells.empty());
  EXPECT_EQ(ExplainIneffective(flavor, *spec).size(), 2u);
}

TEST(ResolveCpuPolicy, MixedPinsTheMask) {
  auto spec = Resolve({{"hw:cpu_policy", "mixed"}, {"hw:cpu_dedicated_mask", "^0"}, {"hw:numa_nodes", "2"}});
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  EXPECT_EQ(spec->cells[0].pinned.ToString(), "1");
  EXPECT_EQ(spec->cells[1].pinned.ToString(), "2-3");
}

TEST(ResolveCpuPolicy, EveryContradictionHasNovasName) {
  ExpectError(Resolve({{"hw:cpu_policy", "dedicate"}}), "InvalidCPUAllocationPolicy",
              "extra_specs.hw:cpu_policy");
  ExpectError(Resolve({{"hw:cpu_policy", "shared"}}, {{"hw_cpu_policy", "dedicated"}}),
              "ImageCPUPinningForbidden", "image_properties.hw_cpu_policy");
  ExpectError(Resolve({{"hw:cpu_policy", "mixed"}}), "RequiredMixedOrRealtimeCPUMask",
              "extra_specs.hw:cpu_dedicated_mask");
  ExpectError(Resolve({{"hw:cpu_policy", "dedicated"}, {"hw:cpu_dedicated_mask", "0"}}),
              "RequiredMixedInstancePolicy", "extra_specs.hw:cpu_dedicated_mask");
  for (const char* mask : {"0-3", "^0-3", "4", "a", "0-9"}) {
    ExpectError(Resolve({{"hw:cpu_policy", "mixed"}, {"hw:cpu_dedicated_mask", mask}}),
                "InvalidMixedInstanceDedicatedMask", "extra_specs.hw:cpu_dedicated_mask");
  }
  ExpectError(Resolve({{"hw:cpu_thread_policy", "isolate"}}), "CPUThreadPolicyConfigurationInvalid",
              "extra_specs.hw:cpu_thread_policy");
  ExpectError(Resolve({{"hw:cpu_policy", "dedicated"}, {"hw:cpu_thread_policy", "require"}},
                      {{"hw_cpu_thread_policy", "isolate"}}),
              "ImageCPUThreadPolicyForbidden", "image_properties.hw_cpu_thread_policy");
  ExpectError(Resolve({{"hw:emulator_threads_policy", "isolate"}}), "BadRequirementEmulatorThreadsPolicy",
              "extra_specs.hw:emulator_threads_policy");
  ExpectError(Resolve({{"hw:emulator_threads_policy", "own"}}), "InvalidEmulatorThreadsPolicy",
              "extra_specs.hw:emulator_threads_policy");
  ExpectError(Resolve({{"resources:PCPU", "4"}, {"hw:cpu_policy", "dedicated"}}), "InvalidRequest",
              "extra_specs.resources:PCPU");
  ExpectError(Resolve({{"resources:PCPU", "3"}}), "InvalidRequest", "extra_specs.resources:PCPU");
}

TEST(ResolvePages, SizesAndWords) {
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "2048"}})->pages.size_bytes, uint64_t{2} << 20);
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "1GB"}})->pages.size_bytes, uint64_t{1} << 30);
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "4KiB"}})->pages.size_bytes, 4096u);
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "large"}})->pages.kind, PageRequest::Kind::kLarge);
  EXPECT_EQ(Resolve({{"hw:mem_page_size", "any"}}, {{"hw_mem_page_size", "2MB"}})->pages.size_bytes,
            uint64_t{2} << 20);
  for (const char* bad : {"", "0", "-1", "big", "2XB", "MB", "1.5G"}) {
    ExpectError(Resolve({{"hw:mem_page_size", bad}}), "MemoryPageSizeInvalid",
                "extra_specs.hw:mem_page_size");
  }
  ExpectError(Resolve({}, {{"hw_mem_page_size", "2MB"}}), "MemoryPageSizeForbidden",
              "image_properties.hw_mem_page_size");
}

TEST(ResolvePciRequests, AliasItemsFromLeftToRightThenPorts) {
  PortRequest port;
  port.id = "p0";
  port.vnic_type = "direct";
  port.physical_network = "physnet0";
  PortRequest plain;
  plain.id = "p1";
  plain.vnic_type = "normal";
  auto spec = Resolve({{"pci_passthrough:alias", "vf:2, gpu:1"}}, {}, {plain, port});
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  ASSERT_EQ(spec->pci.size(), 3u);
  EXPECT_EQ(spec->pci[0].name, "vf");
  EXPECT_EQ(spec->pci[0].count, 2u);
  EXPECT_EQ(spec->pci[0].alternatives.size(), 2u);
  EXPECT_EQ(spec->pci[1].alternatives[0].vendor_id, "10de");
  EXPECT_EQ(spec->pci[2].name, "p0");
  EXPECT_TRUE(spec->pci[2].from_port);
}

TEST(ResolvePciRequests, PolicyOfPortThenFlavorThenAliasThenLegacy) {
  PortRequest port;
  port.id = "p0";
  port.vnic_type = "direct";
  auto none = Resolve({{"pci_passthrough:alias", "gpu:1,vf:1"}}, {}, {port});
  EXPECT_EQ(none->pci[0].policy, AffinityPolicy::kRequired);  // the alias's
  EXPECT_EQ(none->pci[1].policy, AffinityPolicy::kLegacy);
  EXPECT_EQ(none->pci[2].policy, AffinityPolicy::kLegacy);
  port.numa_policy = "preferred";
  auto flavor =
      Resolve({{"pci_passthrough:alias", "gpu:1"}, {"hw:pci_numa_affinity_policy", "socket"}}, {}, {port});
  EXPECT_EQ(flavor->pci[0].policy, AffinityPolicy::kSocket);
  EXPECT_EQ(flavor->pci[1].policy, AffinityPolicy::kPreferred);
}

TEST(ResolvePciRequests, BadOnesAreNamed) {
  const std::string field = "extra_specs.pci_passthrough:alias";
  ExpectError(Resolve({{"pci_passthrough:alias", "gpx:1"}}), "PciRequestAliasNotDefined: alias \"gpx\"",
              field);
  for (const char* bad : {"gpu", "gpu:", ":1", "gpu:0", "gpu:x", "gpu:1,", "gpu:-1", "gpu:99999"}) {
    ExpectError(Resolve({{"pci_passthrough:alias", bad}}), "InvalidInput", field);
  }
  ExpectError(Resolve({{"hw:pci_numa_affinity_policy", "near"}}), "InvalidPCINUMAAffinity",
              "extra_specs.hw:pci_numa_affinity_policy");
  ExpectError(
      Resolve({{"hw:pci_numa_affinity_policy", "socket"}}, {{"hw_pci_numa_affinity_policy", "legacy"}}),
      "ImagePCINUMAPolicyForbidden", "image_properties.hw_pci_numa_affinity_policy");
  PortRequest port;
  port.vnic_type = "dirct";
  ExpectError(Resolve({}, {}, {port}), "InvalidInput", "ports[0].vnic_type");
  ExpectError(Resolve({{"group_policy", "apart"}}), "group_policy", "extra_specs.group_policy");
}

TEST(ResolveNames, UnknownExtraSpecIsRefusedWithNameValueAndNearest) {
  auto result = Resolve({{"hw:cpu_polcy", "dedicated"}});
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().field(), "extra_specs.hw:cpu_polcy");
  EXPECT_EQ(result.error().message(), "unknown name \"hw:cpu_polcy\" with value \"dedicated\"");
  EXPECT_EQ(result.error().hint(), "did you mean \"hw:cpu_policy\"?");
}

TEST(ResolveNames, KnownButUnsupportedOnesAreRefusedByName) {
  for (const char* name : {"hw:locked_memory", "resources1:VCPU", "quota:cpu_shares", "hw:cpu_realtime",
                           "accel:device_profile"}) {
    auto result = Resolve({{name, "true"}});
    ASSERT_FALSE(result.has_value()) << name;
    EXPECT_EQ(result.error().message(),
              "\"" + std::string(name) + "\" with value \"true\" is not supported by this version");
    EXPECT_EQ(result.error().field(), "extra_specs." + std::string(name));
  }
  EXPECT_TRUE(Resolve({}, {{"os_distro", "debian"}}).has_value());
}

TEST(ResolveViommu, TheFourModelsAreCarriedAndTheFlavorWins) {
  for (const char* model : {"virtio", "intel", "smmuv3", "auto"}) {
    EXPECT_STREQ(ViommuModelName(Resolve({{"hw:viommu_model", model}})->viommu), model);
    EXPECT_STREQ(ViommuModelName(Resolve({}, {{"hw_viommu_model", model}})->viommu), model);
  }
  EXPECT_EQ(Resolve({})->viommu, ViommuModel::kNone);
  EXPECT_EQ(Resolve({{"hw:viommu_model", "intel"}}, {{"hw_viommu_model", "auto"}})->viommu,
            ViommuModel::kIntel);
  ExpectError(Resolve({{"hw:viommu_model", "none"}}),
              "InvalidInput: the vIOMMU model is \"none\", must be virtio, intel, smmuv3 or auto",
              "extra_specs.hw:viommu_model");
  ExpectError(Resolve({}, {{"hw_viommu_model", "amd"}}), "InvalidInput: the vIOMMU model is \"amd\"",
              "image_properties.hw_viommu_model");
  Flavor flavor = MakeFlavor(1, 512, {{"hw:viommu_model", "virtio"}});
  EXPECT_TRUE(ExplainIneffective(flavor, *ResolveRequest(flavor, {}, {}, {})).empty());
  flavor = MakeFlavor(1, 512, {{"hw:viommu_model", "intel"}});
  EXPECT_TRUE(ExplainIneffective(flavor, *ResolveRequest(flavor, {}, {}, {})).empty());
  flavor = MakeFlavor(1, 512, {{"hw:viommu_model", "smmuv3"}});
  EXPECT_EQ(ExplainIneffective(flavor, *ResolveRequest(flavor, {}, {}, {})).size(), 1u);
}

TEST(ResolveGroups, AGroupOfResourcesAndTraitsAsksForOneDeviceOfThatClass) {
  auto spec = Resolve({{"pci_passthrough:alias", "gpu:1"},
                       {"resources2:custom_nic", "1"},
                       {"trait2:CUSTOM_FAST", "required"},
                       {"trait2:CUSTOM_OLD", "forbidden"},
                       {"required2", "blue,!red"},
                       {"resources:CUSTOM_QAT", "1"},
                       {"hw:pci_numa_affinity_policy", "socket"}});
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  ASSERT_EQ(spec->pci.size(), 3u);
  EXPECT_EQ(spec->pci[0].name, "gpu");
  EXPECT_EQ(spec->pci[1].name, "resources2:custom_nic");
  EXPECT_EQ(spec->pci[2].name, "resources:CUSTOM_QAT");
  const DeviceMatch& nic = spec->pci[1].alternatives[0];
  EXPECT_EQ(nic.resource_class, "CUSTOM_NIC");
  EXPECT_EQ(nic.traits, (std::vector<std::string>{"CUSTOM_BLUE", "CUSTOM_FAST"}));
  EXPECT_EQ(nic.forbidden_traits, (std::vector<std::string>{"CUSTOM_OLD", "CUSTOM_RED"}));
  EXPECT_EQ(spec->pci[1].policy, AffinityPolicy::kSocket);
  EXPECT_FALSE(spec->pci[1].from_port);  // group_policy=isolate counts it
}

TEST(ResolveGroups, AClassWithoutSuffixMayBeAskedForSeveralTimes) {
  auto spec = Resolve({{"resources:CUSTOM_QAT", "3"}});
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  ASSERT_EQ(spec->pci.size(), 1u);
  EXPECT_EQ(spec->pci[0].count, 3u);
  EXPECT_EQ(spec->pci[0].alternatives[0].resource_class, "CUSTOM_QAT");
  for (const char* bad : {"0", "-1", "1025", "2x", ""})
    ExpectError(Resolve({{"resources:CUSTOM_QAT", bad}}),
                "InvalidInput: resources:CUSTOM_QAT is \"" + std::string(bad) + "\", must be 1 to 1024",
                "extra_specs.resources:CUSTOM_QAT");
}

TEST(ResolveGroups, GroupsThatCanNotBeMeantAreRefused) {
  ExpectError(Resolve({{"resources1:CUSTOM_X", "2"}}),
              "InvalidInput: resources1:CUSTOM_X is \"2\", must be 1", "extra_specs.resources1:CUSTOM_X");
  ExpectError(Resolve({{"resources1:CUSTOM_X", "1"}, {"resources1:CUSTOM_Y", "1"}}),
              "InvalidInput: resources1:CUSTOM_Y and resources1:CUSTOM_X stand in one group",
              "extra_specs.resources1:CUSTOM_Y");
  ExpectError(Resolve({{"trait1:CUSTOM_X", "required"}}),
              "InvalidInput: trait1:CUSTOM_X belongs to no resources1:CLASS=1",
              "extra_specs.trait1:CUSTOM_X");
  ExpectError(Resolve({{"resources1:CUSTOM_X", "1"}, {"trait1:CUSTOM_Y", "wanted"}}),
              "InvalidInput: trait1:CUSTOM_Y is \"wanted\", must be required or forbidden",
              "extra_specs.trait1:CUSTOM_Y");
  ExpectError(Resolve({{"resources1:CUSTOM_X", "1"}, {"required1", "a"}, {"trait1:a", "forbidden"}}),
              "InvalidInput: trait1:a: trait CUSTOM_A is both required and forbidden",
              "extra_specs.trait1:a");
  EXPECT_FALSE(Resolve({{"resources1:CUSTOM_X", "1"}, {"required1", "a,,b"}}).has_value());
}

TEST(ResolveGroups, MemoryOfResourcesMustBeTheFlavors) {
  EXPECT_TRUE(Resolve({{"resources:MEMORY_MB", "4096"}}).has_value());
  ExpectError(Resolve({{"resources:MEMORY_MB", "1024"}}),
              "InvalidRequest: resources:MEMORY_MB is \"1024\", must be 4096",
              "extra_specs.resources:MEMORY_MB");
}

TEST(ResolveTopology, TheImageMayWriteTheCellsWhenTheFlavorDoesNot) {
  Properties image = {{"hw_numa_cpus.0", "0"},
                      {"hw_numa_mem.0", "1024"},
                      {"hw_numa_cpus.1", "1-3"},
                      {"hw_numa_mem.1", "3072"}};
  auto spec = Resolve({{"hw:numa_nodes", "2"}}, image);
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  EXPECT_EQ(spec->cells[1].vcpus.ToString(), "1-3");
  EXPECT_EQ(spec->cells[0].memory_bytes, uint64_t{1} << 30);
  Properties both = {{"hw:numa_nodes", "2"}, {"hw:numa_cpus.0", "0-3"}};
  ExpectError(Resolve(both, image), "ImageNUMATopologyForbidden: hw_numa_cpus.0",
              "image_properties.hw_numa_cpus.0");
  image["hw_numa_cpus.1"] = "1-4";
  ExpectError(Resolve({{"hw:numa_nodes", "2"}}, image), "ImageNUMATopologyCPUOutOfRange",
              "image_properties.hw_numa_cpus.1");
}

TEST(ResolveEncryption, ModelOfFlavorAndImageMustAgree) {
  Properties encrypted = {{"hw:mem_encryption", "true"}};
  EXPECT_EQ(Resolve(encrypted, {{"hw_mem_encryption_model", "intel-tdx"}})->encryption,
            Encryption::kIntelTdx);
  ExpectError(Resolve({}, {{"hw_mem_encryption_model", "amd-sev"}}),
              "InvalidInput: encryption model \"amd-sev\"", "image_properties.hw_mem_encryption_model");
  encrypted["hw:mem_encryption_model"] = "amd-sev-snp";
  ExpectError(Resolve(encrypted, {{"hw_mem_encryption_model", "amd-sev"}}), "FlavorImageConflict",
              "image_properties.hw_mem_encryption_model");
}

TEST(ResolveAlias, LiveMigratableAsksForTheTraitOrForbidsIt) {
  for (auto [text, wanted] : {std::pair("yes", true), std::pair("true", true), std::pair("no", false)}) {
    AliasTable table;
    auto entry = MakeAliasEntry(
        {{"name", "m"}, {"vendor_id", "8086"}, {"product_id", "1"}, {"live_migratable", text}});
    ASSERT_TRUE(entry.has_value()) << entry.error().ToString();
    ASSERT_TRUE(AddAliasEntry(*entry, table).ok());
    auto spec = ResolveRequest(MakeFlavor(1, 64, {{"pci_passthrough:alias", "m:1"}}), {}, {}, table);
    const DeviceMatch& match = spec->pci[0].alternatives[0];
    std::vector<std::string> trait = {kLiveMigratableTrait};
    EXPECT_EQ(match.traits, wanted ? trait : std::vector<std::string>());
    EXPECT_EQ(match.forbidden_traits, wanted ? std::vector<std::string>() : trait);
  }
  auto bad = MakeAliasEntry({{"name", "m"}, {"live_migratable", "maybe"}});
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().message(), "PciInvalidAlias: live_migratable is \"maybe\", must be yes or no");
}

TEST(ResolveAlias, EntriesAreCheckedAndNormalised) {
  auto good =
      MakeAliasEntry({{"name", "q"}, {"vendor_id", "0x8086"}, {"product_id", "43"}, {"traits", "blue, big"}});
  ASSERT_TRUE(good.has_value());
  EXPECT_EQ(good->product_id, "0043");
  EXPECT_EQ(good->traits, (std::vector<std::string>{"CUSTOM_BIG", "CUSTOM_BLUE"}));
  struct Bad {
    std::vector<AliasField> fields;
    std::string field;
  };
  const Bad bads[] = {{{{"vendor_id", "8086"}, {"product_id", "1"}}, "name"},
                      {{{"name", "a"}, {"vendor_id", "80861"}}, "vendor_id"},
                      {{{"name", "a"}, {"vendor_id", "8086"}, {"product_id", "xyz"}}, "product_id"},
                      {{{"name", "a"}, {"vendor_id", "8086"}}, "product_id"},
                      {{{"name", "a"}, {"device_type", "type-XF"}}, "device_type"},
                      {{{"name", "a"}, {"numa_policy", "strict"}}, "numa_policy"},
                      {{{"name", "a"}, {"vendr_id", "8086"}}, "vendr_id"}};
  for (const Bad& bad : bads) {
    auto result = MakeAliasEntry(bad.fields);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().field(), bad.field);
    EXPECT_TRUE(result.error().message().starts_with("PciInvalidAlias"));
  }
}

TEST(ResolveAlias, AlternativesMustAgreeInTypeAndPolicy) {
  AliasTable table = Aliases();
  auto other = MakeAliasEntry(
      {{"name", "vf"}, {"vendor_id", "8086"}, {"product_id", "1"}, {"device_type", "type-PF"}});
  EXPECT_EQ(AddAliasEntry(*other, table).field(), "device_type");
}

}  // namespace
}  // namespace berth::scheduler
