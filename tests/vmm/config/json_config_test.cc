#include "vmm/config/json_config.h"

#include <gtest/gtest.h>

#include "vmm/config/command_line.h"
#include "vmm/config/resolved_machine.h"

namespace berth::vmm {
namespace {

VmConfig FullConfig() {
  ConfigResult<CommandLine> line =
      ParseCommandLine({"--kernel",
                        "k",
                        "--initramfs",
                        "i",
                        "--cmdline",
                        "console=ttyS0",
                        "--cpus",
                        "boot=3,max=4,affinity=[0@[0,2-3]]",
                        "--memory",
                        "size=0",
                        "--memory-zone",
                        "id=a,size=1G,host_numa_node=1,prefault=on,hugepages=on,hugepage_size=2M",
                        "id=b,size=4G,file=/f,mergeable=on",
                        "--numa",
                        "guest_numa_id=0,cpus=[0-1],memory_zones=a,distances=[5@15]",
                        "guest_numa_id=5,cpus=[2,3],memory_zones=[b]",
                        "--disk",
                        "path=d,readonly=on,direct=on",
                        "--net",
                        "tap=t,mac=52:54:00:00:00:01",
                        "--rng",
                        "off",
                        "--serial",
                        "file=/s"});
  EXPECT_TRUE(line.has_value()) << ToText(line.error());
  return line->config;
}

ConfigErrors Refused(std::string_view text) {
  ConfigResult<VmConfig> config = ConfigFromJson(text);
  EXPECT_FALSE(config.has_value()) << text;
  return config.has_value() ? ConfigErrors() : config.error();
}

TEST(JsonConfig, AMachineSurvivesTheWayThroughJson) {
  VmConfig config = FullConfig();

  ConfigResult<VmConfig> again = ConfigFromJson(ConfigToJson(config));

  ASSERT_TRUE(again.has_value()) << ToText(again.error());
  EXPECT_EQ(*again, config);
}

TEST(JsonConfig, HasTheLayoutOfVmCreate) {
  EXPECT_EQ(
      ConfigToJson(FullConfig()),
      R"({"payload":{"kernel":"k","cmdline":"console=ttyS0","initramfs":"i"},)"
      R"("cpus":{"boot_vcpus":3,"max_vcpus":4,"affinity":[{"vcpu":0,"host_cpus":[0,2,3]}]},)"
      R"("memory":{"size":0,"mergeable":false,"shared":false,"hugepages":false,"prefault":false,"reserve":true,"thp":true,)"
      R"("hotplug_method":"Acpi","zones":[)"
      R"({"id":"a","size":1073741824,"mergeable":false,"shared":false,"hugepages":true,"hugepage_size":2097152,)"
      R"("prefault":true,"reserve":true,"host_numa_node":1},)"
      R"({"id":"b","size":4294967296,"mergeable":true,"shared":false,"hugepages":false,"prefault":false,"reserve":true,)"
      R"("file":"/f"}]},)"
      R"("numa":[{"guest_numa_id":0,"cpus":[0,1],"distances":[{"destination":5,"distance":15}],)"
      R"("memory_zones":["a"]},{"guest_numa_id":5,"cpus":[2,3],"memory_zones":["b"]}],)"
      R"("platform":{"num_pci_segments":1},)"
      R"("disks":[{"path":"d","readonly":true,"direct":true,"id":"disk0","num_queues":1,)"
      R"("queue_size":256,"pci_segment":0}],)"
      R"("net":[{"tap":"t","id":"net0","pci_segment":0,"queue_size":256,"mac":"52:54:00:00:00:01"}],)"
      R"("rng":null,"serial":{"mode":"File","file":"/s"},"console":{"mode":"Off"}})");
}

TEST(JsonConfig, DefaultsAreThoseOfTheCommandLine) {
  ConfigResult<VmConfig> config = ConfigFromJson(R"({"payload":{"kernel":"k"},"cpus":null,"fs":null})");

  ASSERT_TRUE(config.has_value()) << ToText(config.error());
  EXPECT_EQ(config->memory.size, MiB(512));
  EXPECT_EQ(config->rng, "/dev/urandom");
}

TEST(JsonConfig, ReportsAllErrorsTogether) {
  ConfigErrors errors = Refused(
      R"({"payload":{"kernel":1},"cpus":{"boot_vcpus":-1,"kvm_hyperv":true},"memory":{"size":"1G","colour":1},)"
      R"("numa":[{"cpus":[]}],"disks":[3],"tpm":{"socket":"x"},"spam":1,"serial":{"mode":"Loud"}})");

  std::vector<std::string> found;
  for (const ConfigError& error : errors) found.push_back(error.code + " " + error.option + " " + error.key);
  EXPECT_EQ(found, (std::vector<std::string>{
                       "InvalidValue cpus boot", "NotSupported cpus kvm_hyperv", "InvalidValue disk[0] ",
                       "UnknownOption memory colour", "InvalidValue memory size", "InvalidValue numa[0] cpus",
                       "MissingKey numa[0] guest_numa_id", "InvalidValue kernel ", "InvalidValue serial mode",
                       "UnknownOption spam ", "NotSupported tpm "}))
      << ToText(errors);
}

TEST(JsonConfig, ReadsWhatItWritesOfHotplugTopologyAndSegments) {
  const std::string text =
      R"({"payload":{"kernel":"k"},"cpus":{"boot_vcpus":2,"max_vcpus":8,"topology":{"threads_per_core":2,)"
      R"("cores_per_die":2,"dies_per_package":1,"packages":2},"max_phys_bits":40},"memory":{"size":0,)"
      R"("hotplug_method":"VirtioMem","thp":false,"zones":[{"id":"a","size":1073741824,)"
      R"("hotplug_size":1073741824,"hotplugged_size":134217728,"reserve":false}]},"numa":[{"guest_numa_id":0,)"
      R"("cpus":[0,1,2,3,4,5,6,7],"memory_zones":["a"],"pci_segments":[1],"sgx_epc_sections":["e"]}],)"
      R"("platform":{"num_pci_segments":2,"iommu_segments":[1],"iommu_address_width_bits":48},)"
      R"("disks":[{"path":"/d","iommu":true}],"net":[{"tap":"t","iommu":true}],"rng":{"src":"/r","iommu":true},)"
      R"("pci_segments":[{"pci_segment":1,"mmio64_aperture_weight":3}],)"
      R"("sgx_epc":[{"id":"e","size":4096,"prefault":true}],"console":{"mode":"Socket","socket":"/c"},)"
      R"("balloon":{"size":4096,"free_page_reporting":true},"pvpanic":true,)"
      R"("vsock":{"cid":7,"socket":"/v","id":"v","iommu":true}})";
  ConfigResult<VmConfig> config = ConfigFromJson(text);
  ASSERT_TRUE(config.has_value()) << ToText(config.error());
  EXPECT_EQ(config->cpus.topology, (CpuTopologyConfig{2, 2, 1, 2}));
  EXPECT_EQ(config->memory.hotplug_method, HotplugMethod::kVirtioMem);
  EXPECT_EQ(config->memory_zones[0].hotplugged_size, MiB(128));
  EXPECT_EQ(config->pci_segments[0].mmio64_weight, 3u);
  EXPECT_EQ(DevicesBehindIommu(*config), (std::vector<std::string>{"disk0", "net0", "v", "rng0"}));

  ConfigResult<VmConfig> again = ConfigFromJson(ConfigToJson(*config));
  ASSERT_TRUE(again.has_value()) << ToText(again.error());
  EXPECT_EQ(*again, *config);
}

TEST(JsonConfig, AModeTakesNoPathOfAnother) {
  for (const char* mode : {"Off", "Null", "Tty"}) {
    const ConfigErrors errors =
        Refused(std::string(R"({"payload":{"kernel":"k"},"serial":{"mode":")") + mode + R"(","file":"/x"}})");
    ASSERT_EQ(errors.size(), 1u) << ToText(errors);
    EXPECT_EQ(errors[0].option + " " + errors[0].key + ": " + errors[0].message,
              "serial file: does not go with the mode");
  }
}

TEST(JsonConfig, ReadsWhatOlderSnapshotsCallTheWidthOfAddresses) {
  ConfigResult<VmConfig> config =
      ConfigFromJson(R"({"payload":{"kernel":"k"},"platform":{"iommu_address_width":48},)"
                     R"("disks":[{"path":"/d","iommu":true}]})");
  ASSERT_TRUE(config.has_value()) << ToText(config.error());
  EXPECT_EQ(config->platform.iommu_address_width, 48u);
  EXPECT_NE(ConfigToJson(*config).find(R"("iommu_address_width_bits":48)"), std::string::npos);

  const ConfigErrors errors = Refused(
      R"({"payload":{"kernel":"k"},"platform":{"iommu_address_width":48,"iommu_address_width_bits":39},)"
      R"("disks":[{"path":"/d","iommu":true}]})");
  ASSERT_EQ(errors.size(), 1u) << ToText(errors);
  EXPECT_EQ(errors[0].code + " " + errors[0].key, "DuplicateKey iommu_address_width");
}

TEST(JsonConfig, ReadsLimitsAsCloudHypervisorWritesThem) {
  ConfigResult<VmConfig> config = ConfigFromJson(
      R"({"payload":{"kernel":"k"},"cpus":{"boot_vcpus":1,"max_vcpus":1},"disks":[{"path":"d","num_queues":2,"serial":"s","rate_limiter_config":)"
      R"({"bandwidth":{"size":1000,"one_time_burst":5,"refill_time":100}}}],"net":[{"tap":"t","mtu":1400,)"
      R"("rate_limiter_config":{"ops":{"size":10,"refill_time":1}}}]})");
  ASSERT_TRUE(config.has_value()) << ToText(config.error());
  EXPECT_EQ(config->disks[0].limits.bandwidth, (RateLimit{1000, 5, 100}));
  EXPECT_EQ(config->nets[0].limits.operations, (RateLimit{10, 0, 1}));
  EXPECT_EQ(*ConfigFromJson(ConfigToJson(*config)), *config);
  EXPECT_EQ(
      Refused(R"({"payload":{"kernel":"k"},"disks":[{"path":"d","rate_limiter_config":{"speed":{}}}]})")[0]
          .key,
      "rate_limiter_config");
}

TEST(JsonConfig, RefusesATopologyWithoutALevel) {
  ConfigErrors errors =
      Refused(R"({"payload":{"kernel":"k"},"cpus":{"topology":{"threads_per_core":1,"packages":1}}})");
  EXPECT_EQ(errors[0].key, "topology") << ToText(errors);
}

TEST(JsonConfig, RefusesWhatIsNotADocument) {
  for (const char* text : {"", "{", "[]", "3", "null", "{}x", "\"\xff\"", "{\"a\":1e999}"})
    EXPECT_EQ(Refused(text)[0].code == "SyntaxError" || Refused(text)[0].code == "UnknownOption", true)
        << text;
}

TEST(JsonConfig, RefusesKeysThatStandTwice) {
  EXPECT_EQ(Refused(R"({"payload":{"kernel":"a","kernel":"b"}})")[0].message,
            "key \"kernel\" stands twice in an object");
}

TEST(JsonConfig, RefusesDeepNestingWithoutFollowingIt) {
  EXPECT_EQ(Refused(std::string(500000, '['))[0].message, "nested deeper than 16");
}

TEST(JsonConfig, RefusesTooLargeADocument) {
  EXPECT_EQ(Refused(std::string(kMaxJsonConfig + 1, ' '))[0].message, "larger than 1048576 bytes");
}

TEST(JsonConfig, NumbersNeverWrap) {
  EXPECT_EQ(Refused(R"({"payload":{"kernel":"k"},"cpus":{"boot_vcpus":4294967297}})")[0].code,
            "InvalidValue");
  EXPECT_EQ(Refused(R"({"payload":{"kernel":"k"},"cpus":{"boot_vcpus":1.5}})")[0].code, "InvalidValue");
  ConfigErrors errors = Refused(
      R"({"payload":{"kernel":"k"},"numa":[{"guest_numa_id":0,"cpus":[0],"distances":[{"destination":0,"distance":300}]}]})");
  EXPECT_EQ(errors[0].code, "InvalidDistance") << ToText(errors);
}

}  // namespace
}  // namespace berth::vmm
