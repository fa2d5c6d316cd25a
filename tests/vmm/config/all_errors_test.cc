// "All errors are reported together": an error hides another one only when that follows from it.
#include <gtest/gtest.h>

#include "vmm/config/command_line.h"
#include "vmm/config/json_config.h"

namespace berth::vmm {
namespace {

using List = std::vector<std::string>;

ConfigErrors Errors(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--kernel", "k"});
  ConfigResult<CommandLine> line = ParseCommandLine(arguments);
  return line.has_value() ? ConfigErrors() : line.error();
}

// "InvalidValue memory size=1X"
List Found(std::vector<std::string> arguments) {
  List list;
  for (const ConfigError& error : Errors(std::move(arguments)))
    list.push_back(error.code + " " + error.option + " " + error.key + "=" + error.value);
  return list;
}

// What is said to be allowed by the only error.
std::string Allowed(std::vector<std::string> arguments) {
  const ConfigErrors errors = Errors(std::move(arguments));
  EXPECT_EQ(errors.size(), 1u) << ToText(errors);
  return errors.empty() ? "" : errors[0].allowed;
}

TEST(AllErrors, AnErrorOfMemoryHidesNoneOfTheZones) {
  EXPECT_EQ(Found({"--memory", "size=0,foo=bar,hotplug_method=virtio-mem", "--memory-zone",
                   "id=m,size=0,file=/tmp,hugepages=on", "id=n,size=1G,hotplugged_size=2M"}),
            (List{"UnknownOption memory foo=bar", "InvalidMemoryParameters memory-zone[0] size=0",
                  "InvalidMemoryParameters memory-zone[0] hugepages=on",
                  "InvalidMemoryParameters memory-zone[1] hotplugged_size=2M"}));
}

TEST(AllErrors, AnUnreadMethodHidesWhatTheZonesNeedOfIt) {
  EXPECT_EQ(
      Found({"--memory", "size=0,hotplug_method=usb", "--memory-zone", "id=n,size=1G,hotplug_size=128M"}),
      (List{"InvalidValue memory hotplug_method=usb"}));
}

TEST(AllErrors, AMissingIdHidesNoNameThatDoesNotExist) {
  EXPECT_EQ(Found({"--sgx-epc", "id=epc0,size=32M", "size=1", "--numa",
                   "guest_numa_id=0,sgx_epc_sections=[epc0,epc9]"}),
            (List{"MissingKey sgx-epc[1] id=", "InvalidSgxEpcSize sgx-epc[1] size=1",
                  "UnknownSgxEpcSection numa[0] sgx_epc_sections=epc9"}));
}

TEST(AllErrors, WhatCannotBeReadHidesTheNamesInItOnly) {
  EXPECT_EQ(Found({"--memory", "size=0", "--memory-zone", "id=a,size=1G", "id=b,size=\"1G", "--numa",
                   "guest_numa_id=0,cpus=0,memory_zones=[a,b,c]"}),
            (List{"SyntaxError memory-zone[1] =id=b,size=\"1G", "UnknownMemoryZone numa[0] memory_zones=c"}));
}

TEST(AllErrors, AnEmptyPartHidesNothing) {
  EXPECT_EQ(Found({"--memory", "size=0", "--memory-zone", "id=a,size=0,,file=/f,hugepages=on"}),
            (List{"SyntaxError memory-zone[0] =", "InvalidMemoryParameters memory-zone[0] size=0",
                  "InvalidMemoryParameters memory-zone[0] hugepages=on"}));
  EXPECT_EQ(Found({"--net", "fd=x,queue_size=7"}),
            (List{"InvalidValue net[0] fd=x", "InvalidQueueSize net[0] queue_size=7"}));
}

TEST(AllErrors, ANodeWithoutNumberHidesNoDuplicateOfOthers) {
  EXPECT_EQ(Found({"--cpus", "boot=4", "--numa", "cpus=0", "guest_numa_id=1,cpus=1", "guest_numa_id=1,cpus=2",
                   "guest_numa_id=0,cpus=3"}),
            (List{"MissingKey numa[0] guest_numa_id=", "DuplicateNumaNode numa[2] guest_numa_id=1"}));
}

TEST(AllErrors, OnlyRulesThatReadTheNumberOfVcpusFollowFromIt) {
  EXPECT_EQ(
      Found({"--cpus", "boot=x,max_phys_bits=7", "--numa", "guest_numa_id=0,cpus=[0-3]",
             "guest_numa_id=1,cpus=[3]"}),
      (List{"InvalidValue cpus boot=x", "InvalidValue cpus max_phys_bits=7", "VcpuReused numa[1] cpus=3"}));
}

TEST(AllErrors, ATupleThatStandsTwiceIsOneOfSeveralErrors) {
  EXPECT_EQ(Found({"--numa", "guest_numa_id=0,distances=[1@10,0@11,7@20,1@20,8@300]", "guest_numa_id=1"}),
            (List{"DuplicateTuple numa[0] distances=1@20", "InvalidDistance numa[0] distances=8@300",
                  "InvalidDistance numa[0] distances=0@11", "InvalidDistance numa[0] distances=1@10",
                  "UnknownNumaNode numa[0] distances=7@20"}));
  EXPECT_EQ(Found({"--cpus", "boot=1,affinity=[0@[0],9@[1],0@[2]]"}),
            (List{"DuplicateTuple cpus affinity=0@[2]", "InvalidVcpu cpus affinity=9@[1]"}));
}

TEST(AllErrors, AKeyThatStandsTwiceIsOneOfSeveralErrors) {
  EXPECT_EQ(Found({"--memory", "size=1X,size=1G,shared=maybe,mergeable"}),
            (List{"SyntaxError memory mergeable=", "InvalidValue memory size=1X",
                  "DuplicateKey memory size=1G", "InvalidValue memory shared=maybe"}));
  ConfigResult<VmConfig> config =
      ConfigFromJson(R"({"payload":{"kernel":"k"},"memory":{"size":1,"size":2},"spam":1})");
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().size(), 3u) << ToText(config.error());
}

TEST(AllErrors, TellWhatIsAllowed) {
  EXPECT_EQ(Allowed({"--numa", "guest_numa_id=0,distances=[1]"}),
            "node@distance or [node@distance,...], 11 to 255 to others and 10 to itself");
  EXPECT_EQ(Allowed({"--numa", "guest_numa_id=0,cpus=[a]"}),
            "n, a-b or [a-b,n,...] with vCPUs from 0 to 253");
  EXPECT_EQ(Allowed({"--memory", "size=1G,hugepages=on,hugepage_size=4K"}),
            "a power of two above 4K, such as 2M or 1G");
  const ConfigErrors errors = Errors({"--platform", "num_pci_segments=97,iommu_segments=[0]"});
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[1].allowed, "1 to 95");
}

TEST(AllErrors, OfJsonNameTheFieldOfJson) {
  ConfigResult<VmConfig> config = ConfigFromJson(
      R"({"payload":{"kernel":"k"},"net":[{"tap":"t","fds":[-1],"rate_limiter_config":{"ops":{"foo":1,"size":-1}}}]})");
  ASSERT_FALSE(config.has_value());
  List messages;
  for (const ConfigError& error : config.error()) messages.push_back(error.key + ": " + error.message);
  EXPECT_EQ(messages, (List{"rate_limiter_config.ops.foo: unknown option: rate_limiter_config.ops.foo",
                            "ops_size: rate_limiter_config.ops.size: not an unsigned integer",
                            "fd: fds: not an unsigned integer"}));
}

}  // namespace
}  // namespace berth::vmm
