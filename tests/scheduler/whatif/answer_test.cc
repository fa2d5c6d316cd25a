#include "scheduler/whatif/answer.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace berth::scheduler::whatif {
namespace {

using Json = nlohmann::json;

// One host with two cells of 4 shared and 4 dedicated CPUs, 8 GiB and a GPU each.
Json TwoCells() {
  return Json::parse(R"({"name": "h0", "device_spec": [{"vendor_id": "10de"}], "numa_cells": [
    {"id": 0, "socket": 0, "cpuset": "0-3", "pcpuset": "4-7", "memory_mb": 8192,
     "mempages": [{"size_kb": 4, "total": 2097152}, {"size_kb": 2048, "total": 2048}]},
    {"id": 3, "socket": 1, "cpuset": [10, 11, 12, 13], "pcpuset": "14-17", "memory_mb": 8192,
     "mempages": [{"size_kb": 4, "total": 2097152}, {"size_kb": 2048, "total": 2048}]}],
    "pci_devices": [
      {"address": "0000:80:00.0", "vendor_id": "10de", "product_id": "1db4", "dev_type": "type-PCI",
       "numa_node": 0, "status": "available"},
      {"address": "0000:90:00.0", "vendor_id": "10DE", "product_id": "1DB4", "dev_type": "type-PCI",
       "numa_node": 3, "status": "available"}]})");
}

Json Scenario(Json extra_specs, Json host = TwoCells()) {
  return {
      {"schema", "whatif/1"},
      {"id", "s"},
      {"config",
       {{"aliases",
         {{{"name", "gpu"}, {"vendor_id", "10de"}, {"product_id", "1db4"}, {"device_type", "type-PCI"}}}}}},
      {"flavor", {{"vcpus", 2}, {"memory_mb", 2048}, {"extra_specs", std::move(extra_specs)}}},
      {"hosts", {std::move(host)}}};
}

Json Ask(const Json& scenario) {
  Answerer answerer;
  std::string out;
  answerer.Answer(scenario.dump(), 7, out);
  return Json::parse(out);
}

Json AskHost(const Json& scenario) {
  Json answer = Ask(scenario);
  EXPECT_TRUE(answer.contains("hosts")) << answer;
  return answer["hosts"]["h0"];
}

TEST(WhatifAnswer, HasTheFormOfTheDesign) {
  Json answer = Ask(Scenario({{"hw:numa_nodes", "2"},
                              {"hw:cpu_policy", "dedicated"},
                              {"hw:mem_page_size", "2048"},
                              {"hw:emulator_threads_policy", "isolate"},
                              {"pci_passthrough:alias", "gpu:2"}}));

  EXPECT_EQ(answer, Json::parse(R"({"id": "s", "hosts": {"h0": {"pass": true, "cells": [
      {"guest": 0, "host": 0, "pagesize_kb": 2048, "pinning": {"0": 4}, "reserved": [5]},
      {"guest": 1, "host": 3, "pagesize_kb": 2048, "pinning": {"1": 14}, "reserved": []}],
    "devices": [{"request": 0, "address": "0000:80:00.0", "numa_node": 0},
                {"request": 0, "address": "0000:90:00.0", "numa_node": 3}], "non_affine": 0}}})"));
}

TEST(WhatifAnswer, ANoTellsTheFirstMissingThing) {
  Json host = AskHost(Scenario({{"hw:cpu_policy", "dedicated"}, {"pci_passthrough:alias", "gpu:3"}}));

  EXPECT_EQ(host["pass"], false);
  EXPECT_EQ(host["reasons"],
            Json::parse(R"([{"code": "devices", "have": 2, "need": 3, "where": "alias gpu"}])"));
  EXPECT_FALSE(host["why"].get<std::string>().empty());
}

TEST(WhatifAnswer, ARejectedRequestNamesErrorFieldAndAllowedValues) {
  Json answer = Ask(Scenario({{"hw:pci_numa_affinity_policy", "close"}}));

  std::string error = answer["request_error"];
  EXPECT_TRUE(error.starts_with("InvalidPCINUMAAffinity: ")) << error;
  EXPECT_NE(error.find("close"), std::string::npos);
  EXPECT_NE(error.find("extra_specs.hw:pci_numa_affinity_policy"), std::string::npos);
  EXPECT_EQ(answer["id"], "s");
  EXPECT_FALSE(answer.contains("hosts"));
}

TEST(WhatifAnswer, UnknownKeysExtraSpecsAndPropertiesAreIgnored) {
  Json scenario = Scenario({{"hw:numa_nodes", "1"}, {"hw:cpu_sockets", "1"}, {"quota:cpu_shares", "5"}});
  scenario["more"] = {{"a", 1}};
  scenario["hosts"][0]["numa_cells"][0]["colour"] = "red";
  scenario["image_properties"] = {{"hw_disk_bus", "virtio"}, {"os_type", "linux"}};

  EXPECT_EQ(AskHost(scenario)["pass"], true);
}

TEST(WhatifAnswer, NumbersMayBeTextAndListsMayBeEmpty) {
  Json scenario = Scenario({{"hw:numa_nodes", 1}});
  scenario["flavor"]["vcpus"] = "2";
  scenario["flavor"]["memory_mb"] = 2048.0;
  scenario["ports"] = Json::array();
  scenario["hosts"][0]["pci_devices"] = Json::array();
  scenario["hosts"][0]["device_spec"] = Json::array();
  scenario["hosts"][0]["numa_cells"][0]["id"] = "5";
  EXPECT_EQ(AskHost(scenario)["cells"][0]["host"], 3);

  scenario["hosts"][0]["numa_cells"] = Json::array();
  EXPECT_EQ(AskHost(scenario)["reasons"][0]["code"], "cells");
  scenario["hosts"] = Json::array();
  EXPECT_EQ(Ask(scenario), Json::parse(R"({"id": "s", "hosts": {}})"));
}

TEST(WhatifAnswer, WithoutMempagesMemoryIsInBasePages) {
  Json scenario = Scenario({{"hw:numa_nodes", "1"}});
  for (Json& cell : scenario["hosts"][0]["numa_cells"]) cell.erase("mempages");
  EXPECT_EQ(AskHost(scenario)["pass"], true);

  scenario["flavor"]["memory_mb"] = 10000;
  scenario["hosts"][0]["ram_allocation_ratio"] = 4;
  EXPECT_EQ(AskHost(scenario)["reasons"][0]["code"], "pages");  // no guest overcommits against itself

  scenario["flavor"]["memory_mb"] = 2048;
  scenario["flavor"]["extra_specs"]["hw:mem_page_size"] = "any";
  EXPECT_EQ(AskHost(scenario)["pass"], false);  // nobody knows of any size
}

TEST(WhatifAnswer, PfTogetherWithItsVfIsRefusedUnlessTolerated) {
  Json scenario = Scenario({{"hw:numa_nodes", "1"}});
  scenario["hosts"][0]["device_spec"] = Json::parse(R"([{"address": "0000:18:00.0"}])");
  scenario["hosts"][0]["pci_devices"] = Json::parse(R"([
    {"address": "0000:18:00.0", "vendor_id": "8086", "product_id": "1572", "dev_type": "type-PF", "numa_node": 0},
    {"address": "0000:18:02.0", "vendor_id": "8086", "product_id": "154c", "dev_type": "type-VF", "numa_node": 0,
     "parent_addr": "0000:18:00.0"}])");
  EXPECT_EQ(AskHost(scenario)["refused"], "DependentDevices");

  scenario["config"]["refuse_pf_and_vf"] = false;
  scenario["ports"] = Json::parse(R"([{"id": "a", "vnic_type": "direct"}])");
  EXPECT_EQ(AskHost(scenario)["devices"][0]["address"], "0000:18:02.0");
  scenario["ports"].push_back({{"id", "b"}, {"vnic_type", "direct-physical"}});
  EXPECT_EQ(AskHost(scenario)["reasons"][0]["code"], "devices_together");
  scenario["hosts"][0]["pci_devices"][1]["status"] = "allocated";  // an allocated VF blocks its PF
  scenario["ports"].erase(0);
  EXPECT_EQ(AskHost(scenario)["reasons"][0]["code"], "devices");
}

TEST(WhatifAnswer, DevnameAndMalformedEntriesRefuseTheHost) {
  Json scenario = Scenario({});
  scenario["hosts"][0]["device_spec"] = Json::parse(R"([{"devname": "eth0"}])");
  EXPECT_EQ(AskHost(scenario)["refused"], "PciDeviceInvalidDeviceName");
  scenario["hosts"][0]["device_spec"] = Json::parse(R"([{"address": "0000:4*:00.0"}])");
  EXPECT_EQ(AskHost(scenario)["refused"], "PciConfigInvalidSpec");
}

TEST(WhatifAnswer, DevicesBeyondTheAddressLimitsAreIgnored) {
  Json scenario = Scenario({{"pci_passthrough:alias", "gpu:3"}});
  Json vmd = scenario["hosts"][0]["pci_devices"][0];
  vmd["address"] = "10000:e1:00.0";
  scenario["hosts"][0]["pci_devices"].push_back(vmd);

  EXPECT_EQ(AskHost(scenario)["reasons"][0]["have"], 2);
}

// R11.
TEST(WhatifAnswer, EncryptedGuestsTakeSecureMemoryAndTheirBounceBuffer) {
  Json scenario = Scenario({{"hw:mem_encryption", "true"}, {"pci_passthrough:alias", "gpu:1"}});
  EXPECT_EQ(
      AskHost(scenario)["reasons"][0],
      Json::parse(
          R"({"code": "secure_memory", "have": "0 MiB", "need": "2048 MiB", "where": "guest cell 0"})"));

  Json& cell = scenario["hosts"][0]["numa_cells"][1];
  cell["secure_memory_mb"] = 4096;
  cell["secure_memory_used_mb"] = 2048;
  cell["nonsecure_memory_mb"] = 127;  // 6 % of 2 GiB make 128 MiB
  EXPECT_EQ(
      AskHost(scenario)["reasons"][0],
      Json::parse(
          R"({"code": "nonsecure_memory", "have": "127 MiB", "need": "128 MiB", "where": "guest cell 0"})"));
  cell["nonsecure_memory_mb"] = 128;
  Json host = AskHost(scenario);
  EXPECT_EQ(host["cells"][0]["host"], 3);
  EXPECT_EQ(host["devices"][0]["address"], "0000:90:00.0");  // policy required

  scenario["hosts"][0]["pci_devices"].erase(1);
  EXPECT_EQ(AskHost(scenario)["reasons"][0]["code"], "pci_numa");
  scenario["flavor"]["extra_specs"]["hw:pci_numa_affinity_policy"] = "preferred";
  EXPECT_EQ(AskHost(scenario)["non_affine"], 1);
}

TEST(WhatifAnswer, EncryptedGuestsNeedOneGibibyteInStepsOfTwoMebibytes) {
  Json scenario = Scenario({{"hw:mem_encryption", "true"}});
  scenario["flavor"]["memory_mb"] = 1022;
  EXPECT_TRUE(Ask(scenario)["request_error"].get<std::string>().starts_with("InvalidSecureMemory: "));
  scenario["flavor"]["memory_mb"] = 1025;
  EXPECT_TRUE(Ask(scenario)["request_error"].get<std::string>().starts_with("InvalidSecureMemory: "));
}

// PO-09: NUMA-aware switches.
TEST(WhatifAnswer, AGuestSitsWhereTheNetworksOfItsPortsAreTied) {
  Json scenario = Scenario({{"hw:numa_nodes", "1"}});
  scenario["ports"] = Json::parse(R"([{"id": "a", "vnic_type": "normal", "physical_network": "red"}])");
  scenario["hosts"][0]["numa_cells"][1]["network"] = {{"physnets", {"red"}}, {"tunneled", false}};
  EXPECT_EQ(AskHost(scenario)["cells"][0]["host"], 3);

  scenario["ports"].push_back({{"id", "b"}, {"vnic_type", "normal"}, {"tunneled", true}});
  EXPECT_EQ(AskHost(scenario)["cells"][0]["host"], 3);  // tunnels are tied to no cell
  scenario["hosts"][0]["numa_cells"][0]["network"] = {{"physnets", Json::array()}, {"tunneled", true}};
  EXPECT_EQ(AskHost(scenario)["reasons"][0]["code"], "network");
}

TEST(WhatifAnswer, DevicesCanBeAskedToShareADomain) {
  Json scenario = Scenario({{"pci_passthrough:alias", "gpu:2"}, {"berth:same_domain", "clique:gpu"}});
  Json& devices = scenario["hosts"][0]["pci_devices"];
  devices[0]["domains"] = {"clique:0", "switch:1"};
  devices[1]["domains"] = {"clique:1", "switch:1"};
  EXPECT_EQ(AskHost(scenario)["reasons"][0]["code"], "domain");

  scenario["flavor"]["extra_specs"]["berth:same_domain"] = "switch:gpu";
  EXPECT_EQ(AskHost(scenario)["pass"], true);
  scenario["flavor"]["extra_specs"]["berth:same_domain"] = "switch:nic";
  EXPECT_TRUE(Ask(scenario)["request_error"].get<std::string>().starts_with("InvalidInput: "));
}

TEST(WhatifAnswer, HostileTextIsEscapedAndDeepNestingIsHarmless) {
  Json scenario = Scenario({});
  scenario["id"] = "a\"b\\c\n\x01é";
  EXPECT_EQ(Ask(scenario)["id"], scenario["id"]);

  Answerer answerer;
  std::string out;
  EXPECT_FALSE(answerer.Answer(std::string(2'000'000, '['), 1, out));
  EXPECT_FALSE(answerer.Answer("{\"a\":\"\xff\"}", 2, out));
  EXPECT_TRUE(answerer.Answer(Scenario({}).dump(), 3, out));
}

}  // namespace
}  // namespace berth::scheduler::whatif
