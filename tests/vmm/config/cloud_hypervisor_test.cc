// What Cloud Hypervisor writes and takes, fed to this VMM as it is.
#include <gtest/gtest.h>

#include "vmm/config/command_line.h"
#include "vmm/config/json_config.h"
#include "vmm/config/option_table.h"

namespace berth::vmm {
namespace {

using List = std::vector<std::string>;

// "NotSupported disk[0] sparse"
List Summary(const ConfigErrors& errors) {
  List list;
  for (const ConfigError& error : errors) list.push_back(error.code + " " + error.option + " " + error.key);
  return list;
}

List RefusedLine(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--kernel", "k"});
  ConfigResult<CommandLine> line = ParseCommandLine(arguments);
  return line.has_value() ? List() : Summary(line.error());
}

List RefusedJson(const std::string& members) {
  ConfigResult<VmConfig> config = ConfigFromJson(R"({"payload":{"kernel":"k"},)" + members + "}");
  return config.has_value() ? List() : Summary(config.error());
}

// The config of vm.info, of a VM with one disk and one network device: the names and defaults of
// vm_config.rs. Empty options are left out there; older versions write them as null, and have some more keys.
constexpr std::string_view kConfigOfVmInfo = R"({
  "cpus": {"boot_vcpus": 2, "max_vcpus": 4, "topology": null, "kvm_hyperv": false, "max_phys_bits": 46,
           "affinity": null, "features": {"amx": false}, "nested": true, "core_scheduling": "Vm",
           "profile": "Host"},
  "memory": {"size": 1073741824, "mergeable": false, "hotplug_method": "Acpi", "hotplug_size": null,
             "hotplugged_size": null, "shared": false, "hugepages": false, "hugepage_size": null,
             "prefault": false, "reserve": false, "zones": null, "thp": true},
  "payload": {"firmware": null, "kernel": "/boot/vmlinux", "cmdline": "console=hvc0", "initramfs": null,
              "fw_cfg_config": null},
  "rate_limit_groups": null,
  "disks": [{"id": "_disk0", "iommu": false, "pci_segment": 0, "pci_device_id": null, "path": "/disk.raw",
             "readonly": false, "direct": false, "num_queues": 1, "queue_size": 128, "vhost_user": false,
             "vhost_socket": null, "rate_limit_group": null,
             "rate_limiter_config": {"bandwidth": {"size": 1000, "one_time_burst": null, "refill_time": 100},
                                     "ops": null},
             "disable_io_uring": false, "disable_aio": false, "serial": null, "queue_affinity": null,
             "backing_files": false, "sparse": true, "image_type": "Raw", "lock_granularity": "ByteRange"}],
  "net": [{"id": "_net1", "iommu": false, "pci_segment": 0, "pci_device_id": null, "tap": "tap0", "ip": null,
           "mask": null, "mac": "2e:89:a8:e4:92:f7", "host_mac": null, "mtu": null, "num_queues": 2,
           "queue_size": 256, "vhost_user": false, "vhost_socket": null, "vhost_mode": "Client", "fds": null,
           "rate_limiter_config": null, "offload_tso": true, "offload_ufo": true, "offload_csum": true}],
  "rng": {"id": "__rng", "iommu": false, "pci_segment": 0, "pci_device_id": null, "src": "/dev/urandom"},
  "balloon": {"id": "__balloon", "iommu": false, "pci_segment": 0, "pci_device_id": null, "size": 0,
              "deflate_on_oom": false, "free_page_reporting": false},
  "generic_vhost_user": null, "fs": null, "pmem": [],
  "serial": {"file": null, "mode": "Null", "iommu": false, "socket": null},
  "console": {"file": null, "mode": "Tty", "socket": null, "id": "__console", "iommu": false,
              "pci_segment": 0, "pci_device_id": null},
  "debug_console": {"file": null, "mode": "Off", "iobase": 233},
  "devices": null, "user_devices": null, "vdpa": null, "vsock": null, "pvpanic": false, "iommu": false,
  "numa": null, "watchdog": false, "rtc": null, "gdb": false, "pci_segments": null,
  "platform": {"num_pci_segments": 1, "iommu_segments": null, "iommu_address_width_bits": 64,
               "system_serial_number": null, "system_uuid": null, "oem_strings": null, "tdx": false,
               "sev_snp": false, "iommufd": false, "iommufd_fd": null, "vfio_p2p_dma": true},
  "tpm": null, "landlock_enable": false, "landlock_rules": null, "ivshmem": null})";

TEST(CloudHypervisor, WhatItsVmInfoTellsIsAConfiguration) {
  ConfigResult<VmConfig> config = ConfigFromJson(kConfigOfVmInfo);

  ASSERT_TRUE(config.has_value()) << ToText(config.error());
  EXPECT_EQ(config->disks[0].limits.bandwidth.size, 1000u);
  EXPECT_EQ(config->platform.iommu_address_width, 64u);
  EXPECT_EQ(config->console.mode, SerialConfig::Mode::kTty);
  ConfigResult<VmConfig> again = ConfigFromJson(ConfigToJson(*config));
  ASSERT_TRUE(again.has_value()) << ToText(again.error());
  EXPECT_EQ(*again, *config);
}

TEST(CloudHypervisor, SoAreItsDevicesSocketsZonesAndNodes) {
  EXPECT_EQ(
      RefusedJson(
          R"("cpus":{"boot_vcpus":1,"max_vcpus":1},"memory":{"size":0,"mergeable":false,"hotplug_method":"VirtioMem",)"
          R"("shared":false,"hugepages":false,"prefault":false,"reserve":false,"thp":true,"zones":[{"id":"a",)"
          R"("size":1073741824,"shared":false,"hugepages":false,"hotplug_size":1073741824,"prefault":false,)"
          R"("reserve":false,"mergeable":false}]},"numa":[{"guest_numa_id":0,"cpus":[0],"memory_zones":["a"]}],)"
          R"("devices":[{"id":"_vfio2","iommu":false,"pci_segment":0,"path":"/sys/bus/pci/devices/0000:00:01.0",)"
          R"("fd":null,"x_nv_gpudirect_clique":null,"x_exclude_mmap_bars":[]}],)"
          R"("vsock":{"id":"_vsock3","iommu":false,"pci_segment":0,"pci_device_id":null,"cid":3,"socket":"/v"})"),
      List());
}

TEST(CloudHypervisor, ReserveOffBesideZonesIsItsDefault) {
  EXPECT_EQ(RefusedJson(R"("memory":{"size":0,"reserve":false,"zones":[{"id":"a","size":1073741824,)"
                        R"("reserve":false}]})"),
            List());
}

TEST(CloudHypervisor, WhatAsksForSomethingIsRefusedWithTheReason) {
  EXPECT_EQ(
      RefusedJson(R"("cpus":{"boot_vcpus":1,"kvm_hyperv":true,"nested":false,"features":{"amx":true},)"
                  R"("core_scheduling":"Core"},"disks":[{"path":"d","sparse":false,"backing_files":true,)"
                  R"("image_type":"Qcow2"}],"net":[{"tap":"t","offload_tso":false,"vhost_mode":"Server"}],)"
                  R"("platform":{"iommufd":true,"vfio_p2p_dma":false,"oem_strings":["x"]},)"
                  R"("rng":{"src":"/r","pci_segment":1,"id":"x"},"console":{"mode":"Off","iommu":true},)"
                  R"("watchdog":true,"iommu":true,"debug_console":{"mode":"Tty"},"landlock_enable":"yes",)"
                  R"("fs":[{"tag":"t"}])"),
      (List{"NotSupported console iommu",
            "InvalidValue cpus core_scheduling",
            "NotSupported cpus features",
            "NotSupported cpus kvm_hyperv",
            "NotSupported cpus nested",
            "NotSupported debug_console ",
            "NotSupported disk[0] backing_files",
            "NotSupported disk[0] image_type",
            "NotSupported disk[0] sparse",
            "NotSupported fs ",
            "NotSupported iommu ",
            "InvalidValue landlock_enable ",
            "NotSupported net[0] offload_tso",
            "NotSupported net[0] vhost_mode",
            "NotSupported platform iommufd",
            "NotSupported platform oem_strings",
            "NotSupported platform vfio_p2p_dma",
            "NotSupported rng id",
            "NotSupported rng pci_segment",
            "NotSupported watchdog "}));
}

TEST(CloudHypervisor, HarmlessValuesOfItsCommandLineAreAccepted) {
  EXPECT_EQ(RefusedLine(
                {"--cpus", "boot=1,kvm_hyperv=off,nested=on,features=,core_scheduling=vm", "--disk",
                 "path=d,backing_files=false,sparse=on,image_type=raw,lock_granularity=full,_disable_aio=on",
                 "--net", "tap=t,vhost_mode=client,offload_tso=on,offload_csum=true", "--platform",
                 "iommufd=off,vfio_p2p_dma=on", "--console", "off,iommu=off,pci_segment=0", "--balloon",
                 "size=0,iommu=off", "--rng", "src=/r,pci_segment=0", "--device",
                 "path=/sys/bus/pci/devices/0000:00:01.0,x_exclude_mmap_bars=[]", "--debug-console", "off"}),
            (List{"BalloonWithDevice balloon "}));
  EXPECT_EQ(RefusedLine({"--console", "pty,colour=red", "--debug-console", "tty"}),
            (List{"NotSupported debug-console ", "UnknownOption console colour"}));
}

TEST(CloudHypervisor, EachOfItsOptionsIsKnown) {
  for (const char* option : {"api-socket",
                             "balloon",
                             "cmdline",
                             "console",
                             "cpus",
                             "dbus-object-path",
                             "dbus-service-name",
                             "dbus-system-bus",
                             "debug-console",
                             "device",
                             "disk",
                             "event-monitor",
                             "firmware",
                             "fs",
                             "fw-cfg-config",
                             "gdb",
                             "generic-vhost-user",
                             "igvm",
                             "host-data",
                             "initramfs",
                             "ivshmem",
                             "kernel",
                             "landlock",
                             "landlock-rules",
                             "log-file",
                             "log-format",
                             "memory",
                             "memory-zone",
                             "net",
                             "no-shutdown",
                             "numa",
                             "pci-segment",
                             "platform",
                             "pmem",
                             "pvmemcontrol",
                             "pvpanic",
                             "rate-limit-group",
                             "restore",
                             "rng",
                             "rtc",
                             "seccomp",
                             "serial",
                             "tpm",
                             "user-device",
                             "vdpa",
                             "version",
                             "vsock",
                             "watchdog"}) {
    EXPECT_NE(FindOption(option), nullptr) << option;
  }
  EXPECT_EQ(RefusedLine({"--no-shutdown", "--rtc", "iommu=on", "--log-format={msg}"}),
            (List{"NotSupported no-shutdown ", "NotSupported rtc ", "NotSupported log-format "}));
}

TEST(CloudHypervisor, BothSpellingsOfTheRestoreModeAreTaken) {
  for (const char* mode : {"ondemand", "OnDemand"}) {
    ConfigResult<CommandLine> line = ParseCommandLine(
        {"--restore", std::string("source_url=file:///s,resume=on,memory_restore_mode=") + mode});
    ASSERT_TRUE(line.has_value()) << ToText(line.error());
    EXPECT_TRUE(line->restore->on_demand);
  }
}

TEST(CloudHypervisor, TheApiSocketIsAPathOrADescriptor) {
  auto parsed = [](const std::string& value) { return ParseCommandLine({"--api-socket", value}); };
  EXPECT_EQ(parsed("/run/s")->api_socket, "/run/s");
  EXPECT_EQ(parsed("path=/run/s")->api_socket, "/run/s");
  EXPECT_EQ(parsed("fd=5")->api_fd, 5);
  EXPECT_FALSE(parsed("fd=5")->api_socket.has_value());
  for (const char* wrong : {"fd=", "fd=2", "fd=x", "fd=-1"}) {
    ASSERT_FALSE(parsed(wrong).has_value()) << wrong;
    EXPECT_EQ(parsed(wrong).error()[0].key, "fd");
  }
}

TEST(CloudHypervisor, LandlockRulesNeedLandlock) {
  EXPECT_EQ(RefusedLine({"--landlock-rules", "path=/tmp,access=r"}), (List{"Conflict landlock-rules "}));
  EXPECT_EQ(RefusedLine({"--landlock", "--landlock-rules", "path=/tmp,access=r"}), List());
  // Without a VM, each that is created later brings its own rules, or all have to do with these.
  auto without_vm = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--landlock", "--api-socket", "/tmp/s"});
    ConfigResult<CommandLine> line = ParseCommandLine(arguments);
    return line.has_value() ? List() : Summary(line.error());
  };
  EXPECT_EQ(without_vm({}), List());
  EXPECT_EQ(without_vm({"--landlock-rules", "path=/tmp,access=r"}), List());
}

TEST(CloudHypervisor, LandlockIsOfTheConfiguration) {
  ConfigResult<VmConfig> config =
      ConfigFromJson(R"({"payload":{"kernel":"/k"},"memory":{"size":67108864},"landlock_enable":true,)"
                     R"("landlock_rules":[{"path":"/images","access":"rw"},{"path":"/ro","access":"r"}]})");
  ASSERT_TRUE(config.has_value()) << ToText(config.error());
  EXPECT_TRUE(config->landlock.enable);
  EXPECT_EQ(config->landlock.rules, (std::vector<LandlockRule>{{"/images", true}, {"/ro", false}}));
  EXPECT_EQ(ConfigFromJson(ConfigToJson(*config))->landlock, config->landlock);

  EXPECT_EQ(RefusedJson(R"("landlock_rules":[{"path":"/a","access":"r"}])"),
            (List{"Conflict landlock-rules "}));
  EXPECT_EQ(RefusedJson(R"("landlock_enable":true,"landlock_rules":[{"path":"/a"}])"),
            (List{"MissingKey landlock-rules[0] access"}));
}

}  // namespace
}  // namespace berth::vmm
