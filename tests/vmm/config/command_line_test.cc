#include "vmm/config/command_line.h"

#include <gtest/gtest.h>

#include "vmm/config/json_config.h"
#include "vmm/config/option_table.h"
#include "vmm/config/resolved_machine.h"

namespace berth::vmm {
namespace {

using Arguments = std::vector<std::string>;

// The arguments of a bootable machine and the given ones.
CommandLine Accepted(Arguments arguments) {
  arguments.insert(arguments.begin(), {"--kernel", "vmlinuz"});
  ConfigResult<CommandLine> line = ParseCommandLine(arguments);
  EXPECT_TRUE(line.has_value()) << ToText(line.error());
  return line.has_value() ? *line : CommandLine();
}

ConfigErrors Refused(Arguments arguments, bool kernel = true) {
  if (kernel) arguments.insert(arguments.begin(), {"--kernel", "vmlinuz"});
  ConfigResult<CommandLine> line = ParseCommandLine(arguments);
  EXPECT_FALSE(line.has_value());
  return line.has_value() ? ConfigErrors() : line.error();
}

std::vector<std::string> Codes(const ConfigErrors& errors) {
  std::vector<std::string> codes;
  for (const ConfigError& error : errors) codes.push_back(error.code);
  return codes;
}

TEST(CommandLine, AKernelAloneIsAMachineWithTheDefaults) {
  CommandLine line = Accepted({});

  EXPECT_EQ(line.action, CommandLine::Action::kRun);
  EXPECT_EQ(line.config.kernel, "vmlinuz");
  EXPECT_EQ(line.config.cpus.boot, 1u);
  EXPECT_EQ(line.config.memory.size, MiB(512));
  EXPECT_EQ(line.config.rng, "/dev/urandom");
  EXPECT_EQ(line.config.serial.mode, SerialConfig::Mode::kTty);
  EXPECT_FALSE(line.api_socket.has_value());
}

TEST(CommandLine, ReadsEveryOption) {
  CommandLine line = Accepted({"--initramfs=initrd",
                               "--cmdline",
                               "console=ttyS0 root=/dev/vda",
                               "--cpus",
                               "boot=2,max=4,affinity=[0@[0,2],1@1]",
                               "--memory",
                               "size=1G,hugepages=on,hugepage_size=2M,prefault=on",
                               "--disk",
                               "path=a.img,readonly=on",
                               "path=\"b,c.img\",direct=true,id=root",
                               "--net",
                               "tap=tap0,mac=52:54:00:12:34:56",
                               "--rng",
                               "src=/dev/random",
                               "--serial",
                               "socket=/tmp/s",
                               "--console",
                               "off",
                               "--api-socket",
                               "/tmp/api",
                               "--log-file",
                               "/tmp/log",
                               "--log-level",
                               "debug",
                               "--json"});

  const VmConfig& config = line.config;
  EXPECT_EQ(config.initramfs, "initrd");
  EXPECT_EQ(config.cmdline, "console=ttyS0 root=/dev/vda");
  EXPECT_EQ(config.cpus.boot, 2u);
  EXPECT_EQ(config.cpus.max, 4u);
  EXPECT_EQ(config.cpus.affinity, (std::map<uint32_t, CpuSet>{{0, {0, 2}}, {1, {1}}}));
  EXPECT_EQ(config.memory.size, GiB(1));
  EXPECT_TRUE(config.memory.hugepages);
  EXPECT_EQ(config.memory.hugepage_size, MiB(2));
  EXPECT_TRUE(config.memory.prefault);
  ASSERT_EQ(config.disks.size(), 2u);
  EXPECT_EQ(config.disks[0].path, "a.img");
  EXPECT_TRUE(config.disks[0].readonly);
  EXPECT_EQ(config.disks[0].id, "disk0");
  EXPECT_EQ(config.disks[1].path, "b,c.img");
  EXPECT_TRUE(config.disks[1].direct);
  EXPECT_EQ(config.disks[1].id, "root");
  ASSERT_EQ(config.nets.size(), 1u);
  EXPECT_EQ(config.nets[0].tap, "tap0");
  EXPECT_EQ(config.nets[0].mac, "52:54:00:12:34:56");
  EXPECT_EQ(config.rng, "/dev/random");
  EXPECT_EQ(config.serial.mode, SerialConfig::Mode::kSocket);
  EXPECT_EQ(config.serial.path, "/tmp/s");
  EXPECT_EQ(line.api_socket, "/tmp/api");
  EXPECT_EQ(line.log_file, "/tmp/log");
  EXPECT_EQ(line.log_level, LogLevel::kDebug);
  EXPECT_TRUE(line.json);
}

TEST(CommandLine, RepeatableOptionsTakeSeveralValuesAndSeveralOccurrences) {
  CommandLine line =
      Accepted({"--memory", "size=0", "--memory-zone", "id=mem0,size=1G", "id=mem1,size=1G", "--memory-zone",
                "id=mem2,size=1G", "--numa", "guest_numa_id=0,cpus=0,memory_zones=[mem0,mem2]",
                "guest_numa_id=1,memory_zones=mem1"});

  ASSERT_EQ(line.config.memory_zones.size(), 3u);
  EXPECT_EQ(line.config.memory_zones[2].id, "mem2");
  ASSERT_EQ(line.config.numa.size(), 2u);
  EXPECT_EQ(line.config.numa[0].memory_zones, (std::vector<std::string>{"mem0", "mem2"}));
}

TEST(CommandLine, ReadsTheMemoryDocumentsExamplesOfNodes) {
  CommandLine cpus = Accepted(
      {"--cpus", "boot=8", "--numa", "guest_numa_id=0,cpus=[1-3,7]", "guest_numa_id=1,cpus=[0,4-6]"});
  EXPECT_EQ(cpus.config.numa[0].cpus, (CpuSet{1, 2, 3, 7}));
  EXPECT_EQ(cpus.config.numa[1].cpus, (CpuSet{0, 4, 5, 6}));

  CommandLine distances = Accepted(
      {"--cpus", "boot=3", "--numa", "guest_numa_id=0,cpus=0,distances=[1@15,2@25]",
       "guest_numa_id=1,cpus=1,distances=[0@15,2@20]", "guest_numa_id=2,cpus=2,distances=[0@25,1@20]"});
  EXPECT_EQ(distances.config.numa[0].distances, (std::map<uint32_t, uint8_t>{{1, 15}, {2, 25}}));
}

TEST(CommandLine, RefusesAZoneInTwoNodesAsTheMemoryDocumentSays) {
  ConfigErrors errors =
      Refused({"--memory", "size=0", "--memory-zone", "id=mem0,size=1G", "--numa",
               "guest_numa_id=0,cpus=0,memory_zones=mem0", "guest_numa_id=1,memory_zones=mem0"});

  ASSERT_EQ(errors.size(), 1u) << ToText(errors);
  EXPECT_EQ(errors[0].code, "MemoryZoneReused");
  EXPECT_EQ(errors[0].option, "numa[1]");
  EXPECT_EQ(errors[0].key, "memory_zones");
  EXPECT_EQ(errors[0].value, "mem0");
}

TEST(CommandLine, ReportsAllErrorsTogether) {
  ConfigErrors errors =
      Refused({"stray", "--cpus", "boot=4,max=2", "--memory", "size=5K,mergeabel=on", "--disk", "readonly=on",
               "--net", "tap=t,mac=zz", "--serial", "loud", "--colour", "red", "--tpm", "socket=x"},
              /*kernel=*/false);

  EXPECT_EQ(Codes(errors),
            (std::vector<std::string>{"UnexpectedArgument", "UnknownOption", "NotSupported", "UnknownOption",
                                      "InvalidValue", "KernelMissing", "CpusMaxLowerThanBoot",
                                      "MisalignedMemorySize", "MissingKey", "InvalidValue"}))
      << ToText(errors);
}

TEST(CommandLine, WhatIsNotCarriedOutIsRefusedWithTheReason) {
  ConfigErrors errors =
      Refused({"--cpus", "boot=1,kvm_hyperv=on", "--platform", "uuid=x", "--tpm", "socket=/tmp/tpm"});

  ASSERT_EQ(Codes(errors), (std::vector<std::string>{"NotSupported", "NotSupported", "NotSupported"}))
      << ToText(errors);
  EXPECT_EQ(errors[0].option, "tpm");
  EXPECT_EQ(errors[0].message, "not supported: there is no TPM device");
  EXPECT_EQ(errors[1].key, "kvm_hyperv");
  EXPECT_EQ(errors[1].message, "not supported: only Linux guests are supported");
}

TEST(CommandLine, ReadsWhoIsBehindTheIommu) {
  CommandLine line = Accepted({"--platform", "num_pci_segments=3,iommu_segments=[1-2],iommu_address_width=48",
                               "--disk", "path=/d,iommu=on", "--rng", "src=/dev/urandom,iommu=on", "--device",
                               "path=/sys/bus/pci/devices/0000:21:10.0,pci_segment=2,iommu=on", "--vsock",
                               "cid=3,socket=/s"});
  EXPECT_EQ(line.config.platform.iommu_segments, (CpuSet{1, 2}));
  EXPECT_EQ(line.config.platform.iommu_address_width, 48u);
  EXPECT_EQ(DevicesBehindIommu(line.config), (std::vector<std::string>{"disk0", "device0", "rng0"}));
  EXPECT_TRUE(HasIommu(line.config));
  EXPECT_FALSE(HasIommu(Accepted({"--disk", "path=/d"}).config));
}

TEST(CommandLine, RefusesWhatTheIommuCannotBe) {
  ConfigErrors errors =
      Refused({"--platform", "num_pci_segments=2,iommu_segments=[0-2],iommu_address_width=65", "--disk",
               "path=/d,pci_segment=1"});
  EXPECT_EQ(Codes(errors), (std::vector<std::string>{"InvalidPciSegment", "InvalidPciSegment",
                                                     "InvalidIommuAddressWidthBits", "OnIommuSegment"}))
      << ToText(errors);
}

TEST(CommandLine, ReadsTheModelOfTheIommu) {
  CommandLine line = Accepted({"--platform", "iommu_model=intel,iommu_address_width=39", "--disk", "path=/d",
                               "--device", "path=/sys/bus/pci/devices/0000:21:10.0,iommu=on"});
  EXPECT_EQ(line.config.platform.iommu_model, IommuModel::kIntel);
  EXPECT_EQ(line.config.platform.iommu_address_width, 39u);
  EXPECT_TRUE(HasIommu(Accepted({"--platform", "iommu_model=intel"}).config));
  EXPECT_FALSE(HasIommu(Accepted({"--platform", "iommu_model=virtio"}).config));
  EXPECT_NE(DescribeMachine(line.config).find("intel, addresses of 39 bits, interrupt remapping"),
            std::string::npos);
  ConfigResult<VmConfig> again = ConfigFromJson(ConfigToJson(line.config));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->platform, line.config.platform);
}

TEST(CommandLine, RefusesWhatAnIntelIommuCannotBe) {
  ConfigErrors errors =
      Refused({"--platform", "num_pci_segments=2,iommu_segments=[1],iommu_address_width=40,iommu_model=intel",
               "--device", "path=/sys/bus/pci/devices/0000:21:10.0"});
  EXPECT_EQ(Codes(errors),
            (std::vector<std::string>{"InvalidIommuAddressWidthBits", "InvalidPciSegment", "NotBehindIommu"}))
      << ToText(errors);
  EXPECT_EQ(Codes(Refused({"--platform", "iommu_model=amd"})), (std::vector<std::string>{"InvalidValue"}));
  errors = Refused({"--platform", "iommu_model=smmuv3"});
  EXPECT_EQ(Codes(errors), (std::vector<std::string>{"UnsupportedIommuModel"}));
  EXPECT_NE(ToText(errors).find("AArch64"), std::string::npos);
  EXPECT_EQ(Codes(Refused({"--platform", "iommu_model=intel,confidential=sw-protected"})),
            (std::vector<std::string>{"ConfidentialIommu"}));
}

TEST(CommandLine, ReadsConsoleBalloonPanicAndEvents) {
  CommandLine line = Accepted({"--console", "pty", "--serial", "off", "--balloon",
                               "size=64M,deflate_on_oom=on,free_page_reporting=on", "--pvpanic",
                               "--event-monitor", "path=/tmp/events"});
  EXPECT_EQ(line.config.console.mode, SerialConfig::Mode::kPty);
  EXPECT_EQ(line.config.balloon, (BalloonConfig{MiB(64), true, true}));
  EXPECT_TRUE(line.config.pvpanic);
  EXPECT_EQ(line.event_path, "/tmp/events");
  EXPECT_EQ(Accepted({"--event-monitor", "fd=7"}).event_fd, 7);
  EXPECT_EQ(Codes(Refused({"--event-monitor", "fd=2"})), (std::vector<std::string>{"InvalidValue"}));
  EXPECT_EQ(Codes(Refused({"--event-monitor", "fd=7,path=x"})), (std::vector<std::string>{"InvalidValue"}));
  EXPECT_EQ(Codes(Refused({"--console", "tty"})), (std::vector<std::string>{"InvalidValue"})) << "two owners";
  EXPECT_EQ(Codes(Refused({"--balloon", "size=1G"})), (std::vector<std::string>{"BalloonLargerThanRam"}));
  EXPECT_EQ(Codes(Refused({"--balloon", "size=6000"})), (std::vector<std::string>{"InvalidValue"}));
}

TEST(CommandLine, RefusesABalloonBesideADeviceOfTheHost) {
  const ConfigErrors errors =
      Refused({"--balloon", "size=0", "--device", "path=/sys/bus/pci/devices/0000:21:10.0"});
  EXPECT_EQ(Codes(errors), (std::vector<std::string>{"BalloonWithDevice"}));
  EXPECT_EQ(errors[0].option, "balloon");
}

TEST(CommandLine, ReadsTheMemoryDocumentsExamplesOfHotplug) {
  CommandLine acpi = Accepted({"--memory", "size=1G,hotplug_method=acpi,hotplug_size=1G"});
  EXPECT_EQ(acpi.config.memory.hotplug_method, HotplugMethod::kAcpi);
  EXPECT_EQ(acpi.config.memory.hotplug_size, GiB(1));

  CommandLine virtio =
      Accepted({"--memory", "size=1G,hotplug_method=virtio-mem,hotplug_size=1G,hotplugged_size=512M"});
  EXPECT_EQ(virtio.config.memory.hotplug_method, HotplugMethod::kVirtioMem);
  EXPECT_EQ(virtio.config.memory.hotplugged_size, MiB(512));

  CommandLine zone = Accepted({"--memory", "size=0,hotplug_method=virtio-mem", "--memory-zone",
                               "id=mem0,size=1G,hotplug_size=1G,hotplugged_size=512M"});
  EXPECT_EQ(zone.config.memory_zones[0].hotplug_size, GiB(1));
  EXPECT_EQ(zone.config.memory_zones[0].hotplugged_size, MiB(512));
}

TEST(CommandLine, ReadsTheMemoryDocumentsExamplesOfBacking) {
  EXPECT_TRUE(Accepted({"--memory", "size=1G,mergeable=on"}).config.memory.mergeable);
  EXPECT_TRUE(Accepted({"--memory", "size=1G,shared=on"}).config.memory.shared);
  EXPECT_TRUE(Accepted({"--memory", "size=1G,prefault=on"}).config.memory.prefault);
  EXPECT_EQ(Accepted({"--memory", "size=1G,hugepages=on,hugepage_size=2M"}).config.memory.hugepage_size,
            MiB(2));
  CommandLine zone = Accepted({"--memory", "size=0", "--memory-zone", "id=mem0,size=1G,file=/foo/bar"});
  EXPECT_EQ(zone.config.memory_zones[0].file, "/foo/bar");
  EXPECT_FALSE(Accepted({"--memory", "size=1G,reserve=off,thp=off"}).config.memory.thp);
}

TEST(CommandLine, ReadsTheMemoryDocumentsExampleOfEnclaves) {
  CommandLine line = Accepted({"--cpus", "boot=2", "--sgx-epc", "id=epc0,size=32M", "id=epc1,size=64M",
                               "id=epc2,size=32M", "--numa", "guest_numa_id=0,cpus=0,sgx_epc_sections=epc1",
                               "guest_numa_id=1,cpus=1,sgx_epc_sections=[epc0,epc2]"});
  EXPECT_EQ(line.config.sgx_epc[1].size, MiB(64));
  EXPECT_EQ(line.config.numa[1].sgx_epc_sections, (std::vector<std::string>{"epc0", "epc2"}));
}

TEST(CommandLine, ReadsPlatformSegmentsAndTopology) {
  CommandLine line =
      Accepted({"--cpus", "boot=2,max=8,topology=2:2:1:2,max_phys_bits=40", "--platform",
                "num_pci_segments=4", "--pci-segment", "pci_segment=1,mmio32_aperture_weight=2", "--disk",
                "path=a,pci_segment=3", "--numa", "guest_numa_id=0,cpus=0-7,pci_segments=[0-1]",
                "guest_numa_id=3,device_id=disk0", "--memory", "size=1G"});
  EXPECT_EQ(line.config.cpus.topology, (CpuTopologyConfig{2, 2, 1, 2}));
  EXPECT_EQ(line.config.cpus.max_phys_bits, 40u);
  EXPECT_EQ(line.config.platform.num_pci_segments, 4u);
  EXPECT_EQ(line.config.pci_segments[0].mmio32_weight, 2u);
  EXPECT_EQ(line.config.disks[0].pci_segment, 3u);
  EXPECT_EQ(line.config.numa[0].pci_segments, (CpuSet{0, 1}));
  EXPECT_EQ(line.config.numa[1].device_id, "disk0");
}

TEST(CommandLine, RefusesTopologiesThatAreNone) {
  for (const char* text : {"1:1:1", "1:1:1:1:1", "0:1:1:1", "1:x:1:1", "", "1:1:1:1,", "256:1:1:1"}) {
    ConfigErrors errors = Refused({"--cpus", "boot=1,topology=\"" + std::string(text) + "\""});
    EXPECT_EQ(Codes(errors), (std::vector<std::string>{"InvalidValue"})) << text << ToText(errors);
  }
}

TEST(CommandLine, SuggestsTheNearestName) {
  EXPECT_EQ(Refused({"--memory", "sise=1G"})[0].hint, "did you mean size?");
  EXPECT_EQ(Refused({"--initramf", "x"})[0].hint, "did you mean initramfs?");
}

TEST(CommandLine, ABadValueIsNotAlsoBlamedForItsDefault) {
  ConfigErrors errors = Refused({"--cpus", "boot=two", "--numa", "guest_numa_id=0,cpus=0-1"});

  EXPECT_EQ(Codes(errors), (std::vector<std::string>{"InvalidValue"})) << ToText(errors);
}

TEST(CommandLine, RefusesOptionsThatStandTwiceOrWithoutValue) {
  EXPECT_EQ(Codes(Refused({"--cmdline", "a", "--cmdline", "b"})),
            (std::vector<std::string>{"DuplicateOption"}));
  EXPECT_EQ(Codes(Refused({"--cmdline"})), (std::vector<std::string>{"MissingValue"}));
  EXPECT_EQ(Codes(Refused({"--check=yes"})), (std::vector<std::string>{"InvalidValue"}));
  EXPECT_EQ(Codes(Refused({"--cmdline", "a", "b"})), (std::vector<std::string>{"UnexpectedArgument"}));
}

TEST(CommandLine, AnAttachedValueMayBeginWithDashes) {
  EXPECT_EQ(Accepted({"--cmdline=-- single"}).config.cmdline, "-- single");
}

TEST(CommandLine, ReadsSocketsOfTheGuest) {
  CommandLine line = Accepted({"--vsock", "cid=7,socket=/tmp/v"});
  EXPECT_EQ(line.config.vsock, (VsockConfig{7, "/tmp/v", "vsock0", 0}));
  EXPECT_EQ(Codes(Refused({"--vsock", "cid=2,socket=/tmp/v"})), (std::vector<std::string>{"InvalidCid"}));
  EXPECT_EQ(Codes(Refused({"--vsock", "cid=3,socket=/" + std::string(96, 'x')})),
            (std::vector<std::string>{"InvalidValue"}));
  EXPECT_EQ(Codes(Refused({"--vsock", "socket=/tmp/v"})), (std::vector<std::string>{"MissingKey"}));
}

TEST(CommandLine, AnApiSocketAloneWaitsForAVm) {
  ConfigResult<CommandLine> line = ParseCommandLine(std::vector<std::string>{"--api-socket", "/tmp/api"});
  ASSERT_TRUE(line.has_value());
  EXPECT_FALSE(line->has_vm);
  EXPECT_EQ(Codes(Refused({"--api-socket", "/tmp/api", "--cpus", "boot=2"}, false)),
            (std::vector<std::string>{"KernelMissing"}));
  EXPECT_EQ(Codes(Refused({"--log-level", "info"}, false)), (std::vector<std::string>{"KernelMissing"}));
}

TEST(CommandLine, HelpAndVersionNeedNoMachine) {
  for (const char* argument : {"--help", "-h"})
    EXPECT_EQ(ParseCommandLine({argument})->action, CommandLine::Action::kHelp);
  for (const char* argument : {"--version", "-v"})
    EXPECT_EQ(ParseCommandLine({argument})->action, CommandLine::Action::kVersion);
}

TEST(CommandLine, HelpNamesEverySupportedOptionAndKey) {
  std::string help = HelpText();
  for (const OptionSpec& option : OptionTable()) {
    EXPECT_NE(help.find("--" + std::string(option.name)), std::string::npos) << option.name;
    for (const KeySpec& key : option.keys) {
      if (key.supported()) {
        EXPECT_NE(help.find(std::string(key.name) + "="), std::string::npos) << key.name;
      }
    }
  }
}

TEST(CommandLine, ZonesInheritMergeableWhateverTheOrder) {
  CommandLine line = Accepted(
      {"--memory-zone", "id=a,size=1G", "id=b,size=1G,mergeable=off", "--memory", "size=0,mergeable=on"});

  EXPECT_TRUE(line.config.memory_zones[0].mergeable);
  EXPECT_FALSE(line.config.memory_zones[1].mergeable);
}

TEST(CommandLine, GeneratedIdsAvoidGivenOnes) {
  CommandLine line = Accepted({"--disk", "path=a", "path=b,id=disk0"});

  EXPECT_EQ(line.config.disks[0].id, "disk1");
}

TEST(CommandLine, TheRandomDeviceCanBeLeftOut) {
  EXPECT_EQ(Accepted({"--rng", "off"}).config.rng, "");
}

TEST(CommandLine, AKeyDoesNotOverrideTheWordBeforeIt) {
  const ConfigErrors errors =
      Refused({"--serial", "off,file=/x", "--console", "pty,socket=/s", "--rng", "off,src=/y,iommu=off"});

  std::string found;
  for (const ConfigError& error : errors)
    found += error.option + " " + error.key + ": " + error.message + "\n";
  EXPECT_EQ(found,
            "rng src: does not go with the word off at column 1\n"
            "serial file: does not go with the word off at column 1\n"
            "console socket: does not go with the word pty at column 1\n");
  EXPECT_EQ(Accepted({"--rng", "off,iommu=off"}).config.rng, "");
  EXPECT_EQ(Accepted({"--serial", "null,file="}).config.serial.mode, SerialConfig::Mode::kNull);
}

TEST(ConfigErrorText, NamesOptionKeyValueAllowedAndHint) {
  ConfigError error{"MisalignedMemorySize", "memory",          "size", "5K",
                    "not a multiple",       "multiples of 4K", "round"};

  EXPECT_EQ(ToText(error),
            "--memory: size=5K: not a multiple (allowed: multiples of 4K; round) [MisalignedMemorySize]");
  EXPECT_EQ(ToJson({error}), R"([{"code":"MisalignedMemorySize","option":"memory","key":"size","value":"5K",)"
                             R"("message":"not a multiple","allowed":"multiples of 4K","hint":"round"}])");
}

TEST(ConfigErrorText, JsonSurvivesBytesThatAreNotUtf8) {
  EXPECT_NE(ToJson({{"X", "kernel", "", "\xff", "bad", "", ""}}).find("\xef\xbf\xbd"), std::string::npos);
}

}  // namespace
}  // namespace berth::vmm
