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
