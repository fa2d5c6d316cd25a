#include "cli/nova_conf.h"

#include <gtest/gtest.h>

#include <fstream>

#include "compute-agent/devices/device_spec.h"
#include "scheduler/request/catalogue.h"
#include "tests/cli/command_line.h"
#include "tests/fakes/temp_folder.h"

namespace berth::cli {
namespace {

constexpr const char* kNovaConf = R"(# a comment
[DEFAULT]
debug = true
[pci]
device_spec = { "address": "0000:41:00.0" }
; another comment
device_spec = [{ "vendor_id": "8086", "product_id": "154d", "trusted": "true" },
               { "address": {"bus": "4[0-1]"}, "physical_network": null }]
report_in_placement = True
alias = { "vendor_id":"8086", "product_id":"154d", "device_type":"type-PF", "name":"a1" }
alias: {"name": "m1", "resource_class": "CUSTOM_GPU", "live_migratable": "yes", "traits": "blue"}
[libvirt]
alias = not for us
)";

std::string ErrorOf(std::string_view text) {
  Result<NovaConf> conf = ConvertNovaConf(text, "nova.conf");
  return conf.has_value() ? "accepted" : conf.error().ToString();
}

TEST(NovaConf, DeviceSpecAndAliasBecomeYamlThatAgentAndSchedulerAccept) {
  Result<NovaConf> conf = ConvertNovaConf(kNovaConf, "nova.conf");
  ASSERT_TRUE(conf.has_value()) << conf.error().ToString();
  std::string agent = ToYamlText({{"device_spec", conf->device_spec}});
  EXPECT_EQ(agent, R"(device_spec:
- address: "0000:41:00.0"
- vendor_id: "8086"
  product_id: "154d"
  trusted: "true"
- address:
    bus: "4[0-1]"
  physical_network: null
)");
  Result<YamlNode> node = ParseYaml(agent, "agent.yaml");
  ASSERT_TRUE(node.has_value()) << node.error().ToString();
  Result<agent::DeviceSpec> spec = agent::ParseDeviceSpec(*node->Find("device_spec"), "device_spec");
  ASSERT_TRUE(spec.has_value()) << spec.error().ToString();
  EXPECT_EQ(spec->entries.size(), 3u);
  EXPECT_EQ(spec->entries[1].trusted, true);

  std::string aliases = ToYamlText({{"aliases", conf->aliases}});
  Result<scheduler::Catalogue> catalogue = scheduler::ParseCatalogue(aliases, "aliases.yaml");
  ASSERT_TRUE(catalogue.has_value()) << catalogue.error().ToString();
  EXPECT_EQ(catalogue->aliases.at("m1")[0].traits,
            (std::vector<std::string>{"CUSTOM_BLUE", agent::kLiveMigratableTrait}));
  EXPECT_EQ(catalogue->aliases.at("a1")[0].vendor_id, "8086");
  EXPECT_EQ(conf->notes,
            (std::vector<std::string>{"nova.conf:9: report_in_placement is left out: devices are "
                                      "always tracked in placement"}));
}

TEST(NovaConf, OldNamesAreTakenOver) {
  Result<NovaConf> conf = ConvertNovaConf(
      "[pci]\npassthrough_whitelist = {\"vendor_id\": \"8086\"}\n[DEFAULT]\npci_passthrough_whitelist = "
      "{\"vendor_id\": \"15b3\"}\npci_alias = {\"name\": \"a\", \"vendor_id\": \"15b3\", \"product_id\": "
      "\"1018\"}\n",
      "nova.conf");
  ASSERT_TRUE(conf.has_value()) << conf.error().ToString();
  EXPECT_EQ(conf->device_spec.size(), 2u);
  EXPECT_EQ(conf->aliases.size(), 1u);
}

TEST(NovaConf, AllErrorsAreToldAtOnceWithLineAndKey) {
  EXPECT_EQ(
      ErrorOf("[pci]\ndevice_spec = {\"vendor_id\": \"80867\", \"devname\": \"eth0\"}\n"
              "device_spec = {'vendor_id': '8086'}\n"
              "alias = {\"name\": \"a\", \"vendor_id\": \"8086\", \"product_id\": \"1\", \"device_type\": "
              "\"type-XX\"}\n"
              "what\n"),
      "INVALID_ARGUMENT: 5 errors:\n"
      "  nova.conf:5: \"what\" is no assignment\n"
      "  nova.conf:2: device_spec.devname: devname is refused: the name of a network device may change at "
      "a reboot (use the PCI address of the device)\n"
      "  nova.conf:2: device_spec.vendor_id: \"80867\" is no PCI id (0 to ffff in hexadecimal, or \"*\")\n"
      "  nova.conf:3: device_spec: is not JSON (for example {\"vendor_id\": \"8086\", \"product_id\": "
      "\"154d\"}, with double quotes and true, false or null in lower case)\n"
      "  nova.conf:4: alias.device_type: PciInvalidAlias: device_type is \"type-XX\", must be type-PCI, "
      "type-PF or type-VF");
}

TEST(NovaConf, AlternativesOfAnAliasMustAgree) {
  EXPECT_EQ(
      ErrorOf(
          "[pci]\nalias = {\"name\":\"a\",\"vendor_id\":\"1\",\"product_id\":\"1\"}\n"
          "alias = {\"name\":\"a\",\"vendor_id\":\"1\",\"product_id\":\"2\",\"numa_policy\":\"socket\"}\n"),
      "INVALID_ARGUMENT: nova.conf:3: alias.numa_policy: PciInvalidAlias: entries of alias \"a\" differ in "
      "numa_policy (alternatives must have the same numa_policy)");
}

TEST(NovaConf, WhatNovaWouldReplaceOrCannotBeOneValueIsRefused) {
  EXPECT_NE(ErrorOf("[pci]\nalias = {\"name\": \"$x\"}\n").find("nova.conf:2: alias: contains \"$\""),
            std::string::npos);
  EXPECT_NE(
      ErrorOf("[pci]\nalias = {\"name\": [\"x\"]}\n").find("nova.conf:2: alias.name: is not a single value"),
      std::string::npos);
  EXPECT_NE(ErrorOf("[pci]\nalias = 7\n").find("nova.conf:2: alias: is not a map"), std::string::npos);
  EXPECT_NE(ErrorOf("[pci]\ndevice_spec = 7\n").find("nova.conf:2: device_spec: is not a map"),
            std::string::npos);
  EXPECT_NE(ErrorOf("  {\"a\": 1}\n").find("nova.conf:1: \"{\"a\": 1}\" continues no option"),
            std::string::npos);
  EXPECT_NE(ErrorOf("[pci\n").find("nova.conf:1: \"[pci\" is no section header"), std::string::npos);
}

TEST(NovaConf, TheCommandPrintsEitherPartOrBoth) {
  fakes::TempFolder folder;
  std::string path = (folder.path() / "nova.conf").string();
  std::ofstream(path) << "[pci]\ndevice_spec = {\"vendor_id\": \"8086\"}\nalias = {\"name\": \"a\", "
                         "\"vendor_id\": \"8086\", \"product_id\": \"154d\"}\n";
  EXPECT_EQ(RunCommand({"import", "nova-conf", "--part", "agent", path}).out,
            "device_spec:\n- vendor_id: \"8086\"\n");
  EXPECT_EQ(RunCommand({"import", "nova-conf", path}).out,
            "# agent.yaml\ndevice_spec:\n- vendor_id: \"8086\"\n---\n# aliases.yaml\naliases:\n- name: a\n  "
            "vendor_id: \"8086\"\n  product_id: \"154d\"\n");
  std::ofstream(path) << "[pci]\n";
  Outcome outcome = RunCommand({"import", "nova-conf", path});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "berthctl: NOT_FOUND: file: no device_spec and no alias in " + path + "\n");
}

}  // namespace
}  // namespace berth::cli
