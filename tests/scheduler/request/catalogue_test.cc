#include "scheduler/request/catalogue.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace berth::scheduler {
namespace {

TEST(Catalogue, ShippedExamplesAreValid) {
  const std::string folder = BERTH_SOURCE_DIR "/deploy/config/";
  auto catalogue = LoadCatalogue({folder + "aliases.example.yaml", folder + "flavors.example.yaml"});
  ASSERT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
  EXPECT_TRUE(catalogue->flavors.contains("gpu.2m"));
  EXPECT_EQ(catalogue->aliases.at("vf").size(), 2u);
}

TEST(Catalogue, AllErrorsAreToldAtOnceWithFileLineAndField) {
  const char* text =
      "aliases:\n"
      "  - {name: gpu, vendor_id: 10de, product_id: zzzz}\n"
      "flavors:\n"
      "  - name: a\n"
      "    vcpus: 0\n"
      "    memory_mib: 1\n"
      "  - name: b\n"
      "    vcpus: 3\n"
      "    memory_mib: 1024\n"
      "    extra_specs:\n"
      "      hw:numa_nodes: 2\n"
      "  - {name: c, vcpus: 1, memory_mib: 64, flavour: x}\n";

  auto catalogue = ParseCatalogue(text, "f.yaml");

  ASSERT_FALSE(catalogue.has_value());
  const std::string& message = catalogue.error().message();
  EXPECT_NE(message.find("f.yaml:2: aliases[0].product_id: PciInvalidAlias: product_id is \"zzzz\""),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("f.yaml:5: flavors[0].vcpus: "), std::string::npos) << message;
  EXPECT_NE(message.find("f.yaml:11: flavors[1].extra_specs.hw:numa_nodes: ImageNUMATopologyAsymmetric"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("f.yaml:12: flavors[2].flavour: "), std::string::npos) << message;
  EXPECT_EQ(catalogue.error().field(), "aliases[0].product_id");
}

TEST(Catalogue, AllErrorsOfOneEntryAreToldAtOnce) {
  auto catalogue = ParseCatalogue(
      "aliases:\n"
      "  - {name: gpu, vendor_id: g, product_id: zzzz, numa_policy: x, colour: red}\n"
      "  - {traits: CUSTOM_X}\n"
      "flavors:\n"
      "  - {vcpus: 0, memory_mib: 0, disk_gib: -1, disk: 1, extra_specs: {hw:numa_node: 1, hw:pmem: a}}\n"
      "flavours: []\n"
      "alias: []\n",
      "f.yaml");

  ASSERT_FALSE(catalogue.has_value());
  const std::string& message = catalogue.error().message();
  for (const char* part :
       {"f.yaml:2: aliases[0].vendor_id: ", "f.yaml:2: aliases[0].product_id: ",
        "f.yaml:2: aliases[0].numa_policy: ", "f.yaml:2: aliases[0].colour: ",
        "aliases[1].name: PciInvalidAlias: name is missing",
        "aliases[1].vendor_id: PciInvalidAlias: alias \"\" names no device",
        "f.yaml:5: flavors[0].name: is missing", "flavors[0].vcpus: expected a whole number from 1 to 4096",
        "flavors[0].memory_mib: ", "flavors[0].disk_gib: ", "flavors[0].disk: unknown key",
        "flavors[0].extra_specs.hw:numa_node: ", "flavors[0].extra_specs.hw:pmem: ",
        "f.yaml:6: flavours: unknown key", "f.yaml:7: alias: unknown key"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " is missing in:\n" << message;
  }
}

TEST(Catalogue, FamiliesOfExtraSpecsAreAmongTheSupportedOnes) {
  auto catalogue = ParseCatalogue(
      "flavors:\n  - {name: a, vcpus: 1, memory_mib: 64, extra_specs: {hw:pmem: a}}\n", "f.yaml");
  ASSERT_FALSE(catalogue.has_value());
  for (const char* family : {" trait:NAME", " resourcesN:CLASS", " aggregate_instance_extra_specs:KEY"})
    EXPECT_NE(catalogue.error().message().find(family), std::string::npos) << catalogue.error().message();
}

TEST(Catalogue, BrokenYamlIsOneErrorWithItsPlace) {
  auto catalogue = ParseCatalogue("flavors:\n  - {name: a\n  - b\n", "f.yaml");
  ASSERT_FALSE(catalogue.has_value());
  EXPECT_TRUE(catalogue.error().message().starts_with("f.yaml:")) << catalogue.error().message();
}

TEST(Catalogue, FlavorThatNamesAnUnknownAliasIsRefusedAtLoad) {
  auto catalogue = ParseCatalogue(
      "flavors:\n  - {name: a, vcpus: 1, memory_mib: 64, extra_specs: {pci_passthrough:alias: "
      "\"nosuch:1\"}}\n",
      "f.yaml");
  ASSERT_FALSE(catalogue.has_value());
  EXPECT_NE(catalogue.error().message().find("PciRequestAliasNotDefined"), std::string::npos);
}

TEST(Catalogue, DuplicateFlavorIsRefused) {
  auto catalogue = ParseCatalogue(
      "flavors: [{name: a, vcpus: 1, memory_mib: 64}, {name: a, vcpus: 2, memory_mib: 64}]", "f.yaml");
  ASSERT_FALSE(catalogue.has_value());
  EXPECT_EQ(catalogue.error().field(), "flavors[1].name");
}

TEST(Catalogue, FolderReadsOnlyFlavorAndAliasFiles) {
  std::string pattern = (std::filesystem::temp_directory_path() / "berth-cat-XXXXXX").string();
  std::filesystem::path folder = mkdtemp(pattern.data());
  std::ofstream(folder / "flavors.yaml") << "flavors: [{name: a, vcpus: 1, memory_mib: 64}]\n";
  std::ofstream(folder / "flavors.example.yaml") << "not: [valid\n";
  std::ofstream(folder / "agent.yaml") << "not: [valid\n";

  auto catalogue = LoadCatalogueFolder(folder.string());

  std::filesystem::remove_all(folder);
  ASSERT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
  EXPECT_EQ(catalogue->flavors.size(), 1u);
  EXPECT_EQ(LoadCatalogueFolder("/nonexistent/berth").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace berth::scheduler
