// What Nova answers wrongly (LIM-xx of the research page on Nova), as scenarios: the right answers.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "scheduler/whatif/answer.h"
#include "tests/scheduler/whatif/judge_answer.h"

namespace berth::scheduler::whatif {
namespace {

using Json = nlohmann::json;

Json Cell(uint32_t id, uint32_t socket = 0) {
  uint32_t first = id * 10;
  return {{"id", id},
          {"socket", socket},
          {"cpuset", Json::array({first, first + 1})},
          {"pcpuset", Json::array({first + 2, first + 3})},
          {"memory_mb", 4096},
          {"mempages", {{{"size_kb", 4}, {"total", 1048576}}, {{"size_kb", 2048}, {"total", 512}}}}};
}

Json Device(const std::string& address, const std::string& product, const std::string& type, Json node) {
  Json device = {{"address", address}, {"vendor_id", "8086"}, {"product_id", product},
                 {"dev_type", type},   {"numa_node", node},   {"status", "available"}};
  if (type == "type-VF") device["parent_addr"] = address.substr(0, 8) + "00.0";
  return device;
}

// A PF with `count` VFs, on bus 10, 11, ...
Json Card(const std::string& bus, uint32_t count, Json node) {
  Json out = {Device("0000:" + bus + ":00.0", "1572", "type-PF", node)};
  for (uint32_t i = 0; i < count; ++i) {
    out.push_back(Device("0000:" + bus + ":02." + std::to_string(i), "154c", "type-VF", node));
  }
  return out;
}

Json Scenario(Json specs, Json cells, Json device_spec, Json devices) {
  Json alias = [](const char* name, const char* product) {
    return Json{{"name", name}, {"vendor_id", "8086"}, {"product_id", product}};
  }("vf", "154c");
  Json acc = alias;
  acc["name"] = "acc";
  acc["product_id"] = "0443";
  Json any = acc;
  any["name"] = "any";
  Json other = any;
  other["product_id"] = "0442";
  return {{"schema", "whatif/1"},
          {"id", "s"},
          {"config", {{"aliases", {alias, acc, any, other}}, {"refuse_pf_and_vf", false}}},
          {"flavor", {{"vcpus", 2}, {"memory_mb", 512}, {"extra_specs", std::move(specs)}}},
          {"hosts",
           {{{"name", "h"},
             {"numa_cells", std::move(cells)},
             {"device_spec", std::move(device_spec)},
             {"pci_devices", std::move(devices)}}}}};
}

// The answer for the host, judged by the naive rules as well.
Json Ask(const Json& scenario) {
  Answerer answerer;
  std::string out;
  std::string line = scenario.dump();
  EXPECT_TRUE(answerer.Answer(line, 1, out));
  Tally tally;
  EXPECT_EQ(JudgeAnswer(line, out, true, tally), "") << out;
  return Json::parse(out)["hosts"]["h"];
}

TEST(Lim01, NoNumberingOfTheNodesChangesTheAnswer) {
  // A big guest cell and a small one; only one host cell is big. Every order of the host's cells.
  std::vector<uint32_t> ids = {0, 1, 2};
  do {
    Json cells = {Cell(ids[0]), Cell(ids[1]), Cell(ids[2])};
    cells[2]["mempages"] = {{{"size_kb", 4}, {"total", 2097152}}};
    cells[2]["memory_mb"] = 8192;
    Json scenario = Scenario({{"hw:numa_nodes", "2"},
                              {"hw:numa_cpus.0", "0"},
                              {"hw:numa_mem.0", "512"},
                              {"hw:numa_cpus.1", "1"},
                              {"hw:numa_mem.1", "6144"},
                              {"hw:cpu_policy", "dedicated"}},
                             cells, Json::array(), Json::array());
    scenario["flavor"]["memory_mb"] = 6656;
    Json host = Ask(scenario);
    EXPECT_EQ(host["pass"], true);
    EXPECT_EQ(host["cells"][1]["host"], ids[2]);
  } while (std::next_permutation(ids.begin(), ids.end()));
}

TEST(Lim06Lim12, ManyDevicesAndImpossibleRequestsAreDecidedAtOnce) {
  Json devices = Json::array();
  for (uint32_t bus = 0; bus < 8; ++bus) {
    for (Json& one : Card("1" + std::to_string(bus), 8, bus)) devices.push_back(one);
  }
  Json cells = Json::array();
  for (uint32_t id = 0; id < 8; ++id) cells.push_back(Cell(id, id / 2));
  Json scenario = Scenario({{"hw:numa_nodes", "4"},
                            {"hw:cpu_policy", "dedicated"},
                            {"hw:pci_numa_affinity_policy", "required"},
                            {"group_policy", "isolate"},
                            {"pci_passthrough:alias", "vf:5"}},
                           cells, {{{"product_id", "154c"}}}, devices);
  scenario["flavor"]["vcpus"] = 4;
  scenario["config"]["pci_in_placement"] = true;
  Answerer answerer;
  std::string out;
  ASSERT_TRUE(answerer.Answer(scenario.dump(), 1, out));
  EXPECT_EQ(Json::parse(out)["hosts"]["h"]["reasons"][0]["code"], "pci_numa");  // 4 nodes, 4 PFs
  EXPECT_EQ(answerer.undecided(), 0u);
}

TEST(Lim07, NodesAreLookedAtTogetherWithPlacementsRules) {
  Json devices = Card("10", 1, 0);
  for (Json& one : Card("11", 1, 1)) devices.push_back(one);
  Json scenario =
      Scenario({{"hw:numa_nodes", "1"},
                {"hw:cpu_policy", "dedicated"},
                {"hw:pci_numa_affinity_policy", "required"},
                {"pci_passthrough:alias", "vf:1"}},
               {Cell(0), Cell(1)},
               {{{"address", "0000:11:02.0"}, {"traits", "fast"}}, {{"product_id", "154c"}}}, devices);
  scenario["config"]["pci_in_placement"] = true;
  scenario["config"]["aliases"][0]["traits"] = "fast";
  EXPECT_EQ(Ask(scenario)["cells"][0]["host"], 1);
}

TEST(Lim09, APfAndItsVfThatAreBothListedAreNeverGivenTogether) {
  Json scenario =
      Scenario({{"hw:numa_nodes", "1"}}, {Cell(0)}, {{{"address", "0000:10:00.0"}}}, Card("10", 1, 0));
  scenario["ports"] = {{{"id", "a"}, {"vnic_type", "direct"}},
                       {{"id", "b"}, {"vnic_type", "direct-physical"}}};
  EXPECT_EQ(Ask(scenario)["pass"], false);
  for (Json& one : Card("11", 0, 0)) scenario["hosts"][0]["pci_devices"].push_back(one);
  scenario["hosts"][0]["device_spec"].push_back({{"address", "0000:11:00.0"}});
  EXPECT_EQ(Ask(scenario)["pass"], true);
}

TEST(Lim15, PortsAreCountedLikeAliases) {
  Json scenario = Scenario({{"hw:numa_nodes", "1"}, {"pci_passthrough:alias", "vf:1"}}, {Cell(0)},
                           {{{"product_id", "154c"}, {"physical_network", "red"}}}, Card("10", 1, 0));
  scenario["ports"] = {{{"id", "a"}, {"vnic_type", "direct"}, {"physical_network", "red"}}};
  EXPECT_EQ(Ask(scenario)["pass"], false);
  scenario["hosts"][0]["pci_devices"] = Card("10", 2, 0);
  EXPECT_EQ(Ask(scenario)["pass"], true);
}

TEST(Lim16, AlternativesAndMixedVfsWorkWithPciInPlacement) {
  Json devices = {Device("0000:40:00.0", "0442", "type-PCI", 0)};
  Json scenario =
      Scenario({{"pci_passthrough:alias", "any:1"}}, {Cell(0)}, {{{"vendor_id", "8086"}}}, devices);
  scenario["config"]["pci_in_placement"] = true;
  EXPECT_EQ(Ask(scenario)["pass"], true);

  scenario = Scenario({{"pci_passthrough:alias", "vf:2"}}, {Cell(0)},
                      {{{"address", "0000:10:02.0"}, {"traits", "slow"}}, {{"product_id", "154c"}}},
                      Card("10", 2, 0));
  scenario["config"]["pci_in_placement"] = true;
  EXPECT_EQ(Ask(scenario)["pass"], true);
}

TEST(Lim17, RemoteManagedWithThePfsAddressAndTheVfsProductAppliesToTheVfs) {
  Json devices = Card("10", 1, 0);
  devices[1]["card_serial_number"] = "SN";
  Json scenario =
      Scenario({{"hw:numa_nodes", "1"}}, {Cell(0)},
               {{{"address", "0000:10:00.0"}, {"product_id", "154c"}, {"remote_managed", "true"}}}, devices);
  scenario["ports"] = {{{"id", "a"}, {"vnic_type", "remote-managed"}}};
  EXPECT_EQ(Ask(scenario)["devices"][0]["address"], "0000:10:02.0");
  scenario["ports"][0]["vnic_type"] = "direct";
  EXPECT_EQ(Ask(scenario)["pass"], false);
}

TEST(Lim18, BooleanTagsAndBlanksBetweenTraitsMeanWhatTheySay) {
  Json scenario =
      Scenario({{"pci_passthrough:alias", "vf:1"}}, {Cell(0)},
               {{{"product_id", "154c"}, {"trusted", true}, {"traits", "blue, big"}}}, Card("10", 2, 0));
  scenario["config"]["pci_in_placement"] = true;
  scenario["config"]["aliases"][0]["traits"] = "CUSTOM_BIG,blue";
  scenario["ports"] = {{{"id", "a"}, {"vnic_type", "direct"}, {"trusted", true}}};
  EXPECT_EQ(Ask(scenario)["pass"], true);
}

TEST(Form, SpecsThatOnlyTheSchedulerKnowsAreIgnored) {
  Json scenario = Scenario({{"hw:numa_nodes", "1"},
                            {"hw:viommu_model", "nonsense"},
                            {"resources1:CUSTOM_X", "7"},
                            {"trait1:CUSTOM_Y", "required"},
                            {"resources:MEMORY_MB", "1"}},
                           {Cell(0)}, Json::array(), Json::array());
  scenario["image_properties"] = {{"hw_viommu_model", "nonsense"}, {"hw_numa_cpus.0", "0"}};
  Answerer answerer;
  std::string out;
  ASSERT_TRUE(answerer.Answer(scenario.dump(), 1, out));
  EXPECT_EQ(Json::parse(out)["hosts"]["h"]["pass"], true) << out;
}

TEST(Form, AnAliasMayAskForDevicesThatAreLiveMigratable) {
  Json scenario =
      Scenario({{"pci_passthrough:alias", "vf:1"}}, {Cell(0)},
               {{{"address", "0000:10:02.1"}, {"live_migratable", "yes"}}, {{"product_id", "154c"}}},
               Card("10", 2, 0));
  Answerer answerer;
  for (auto [wanted, address] : {std::pair("yes", "0000:10:02.1"), std::pair("no", "0000:10:02.0")}) {
    scenario["config"]["aliases"][0]["live_migratable"] = wanted;
    std::string out;
    ASSERT_TRUE(answerer.Answer(scenario.dump(), 1, out));
    EXPECT_EQ(Json::parse(out)["hosts"]["h"]["devices"][0]["address"], address) << out;
  }
}

TEST(Lim27, ACellWithoutPageCountsIsUsable) {
  Json cell = Cell(0);
  cell.erase("mempages");
  EXPECT_EQ(Ask(Scenario({{"hw:numa_nodes", "1"}}, {cell}, Json::array(), Json::array()))["pass"], true);
}

}  // namespace
}  // namespace berth::scheduler::whatif
