#include "vmm/config/option_table.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>
#include <vector>

namespace berth::vmm {
namespace {

using enum ValueType;
using Form = OptionSpec::Form;

// Reasons for refusals.
constexpr std::string_view kLinuxOnly = "only Linux guests are supported";
constexpr std::string_view kNoSmbios = "the machine has no SMBIOS tables";
constexpr std::string_view kNotYet = "not carried out by this version";
constexpr std::string_view kEditSnapshot = "edit config.json of the snapshot instead";
constexpr std::string_view kOffloads = "the guest chooses among what the TAP can";

// `harmless` as in KeySpec; "off" is, unless something else is given.
constexpr KeySpec Refused(std::string_view name, std::string_view json_name, ValueType type,
                          std::string_view reason, std::string_view harmless = {}) {
  KeySpec key{name, json_name, type, {}};
  key.refusal = reason;
  key.harmless = harmless.empty() && type == kToggle ? "off" : harmless;
  return key;
}
constexpr KeySpec Required(std::string_view name, std::string_view json_name, ValueType type,
                           std::string_view help) {
  return {name, json_name, type, help, true};
}
constexpr KeySpec Wide(std::string_view name, std::string_view json_name, std::string_view help) {
  return {name, json_name, kInteger, help, false, UINT64_MAX};
}
constexpr KeySpec kSegmentKey = {"pci_segment", "pci_segment", kInteger, "PCI segment [0]"};
constexpr KeySpec kIommuKey = {"iommu", "iommu", kToggle, "behind the virtual IOMMU [off]"};
constexpr KeySpec kBusDeviceKey = Refused("pci_device_id", "pci_device_id", kInteger, kNotYet);
// Of devices that there is one of.
constexpr KeySpec FixedId(std::string_view ids) {
  return Refused("id", "id", kString, "there is one such device, whose name is fixed", ids);
}
constexpr KeySpec kFirstSegmentKey =
    Refused("pci_segment", "pci_segment", kInteger, "the device is on segment 0", "0");
constexpr KeySpec kNoIommuKey =
    Refused("iommu", "iommu", kToggle, "the device is never behind the virtual IOMMU");

constexpr KeySpec kCpuKeys[] = {
    {"boot", "boot_vcpus", kInteger, "vCPUs that the guest starts with [1]"},
    {"max", "max_vcpus", kInteger, "vCPUs that the guest could ever have [boot]"},
    {"topology", "topology", kString, "threads:cores:dies:packages, each of the next; their product is max"},
    {.name = "affinity",
     .json_name = "affinity",
     .type = kAffinityList,
     .help = "host CPUs of a vCPU's thread: [vcpu@[a,b-c],...]",
     .allowed = "[vcpu@[a,b-c],...] with vCPUs from 0 to 253 and host CPUs up to 65535"},
    {"max_phys_bits", "max_phys_bits", kInteger, "guest-physical address bits, 36 to 52 [the host's]"},
    Refused("kvm_hyperv", "kvm_hyperv", kToggle, kLinuxOnly),
    Refused("features", "features", kString, "the guest gets the features that KVM supports, and no others",
            "{}, {\"amx\":false}"),
    Refused("nested", "nested", kToggle, "nested virtualisation is as the host's KVM has it", "on"),
    {.name = "core_scheduling",
     .json_name = "core_scheduling",
     .type = kString,
     .help = "who may run beside a vCPU on its core: off (anybody), vm (this process) or vcpu (nobody) [off]",
     .allowed_words = "off, vm, vcpu"},
    Refused("profile", "profile", kString, "the guest's processor is the host's", "host"),
};
constexpr KeySpec kMemoryKeys[] = {
    Required("size", "size", kBytes, "guest RAM; 0 when --memory-zone is given [512M without --memory]"),
    {"mergeable", "mergeable", kToggle, "let the host merge equal pages (KSM); zones inherit it [off]"},
    {"shared", "shared", kToggle, "map with MAP_SHARED [off]"},
    {"hugepages", "hugepages", kToggle, "back with huge pages [off]"},
    {"hugepage_size", "hugepage_size", kBytes, "their size [the host's default]"},
    {"prefault", "prefault", kToggle, "allocate all of it before the guest starts [off]"},
    {.name = "hotplug_method",
     .json_name = "hotplug_method",
     .type = kString,
     .help = "how RAM is added and removed: acpi or virtio-mem [acpi]",
     .allowed_words = "acpi, virtio-mem"},
    {"hotplug_size", "hotplug_size", kBytes, "what can be added to the running guest"},
    {"hotplugged_size", "hotplugged_size", kBytes, "of it, what is added at boot (virtio-mem)"},
    {"reserve", "reserve", kToggle, "reserve swap space; off: MAP_NORESERVE [on]"},
    {"thp", "thp", kToggle, "transparent huge pages, where the memory is anonymous [on]"},
};
constexpr KeySpec kZoneKeys[] = {
    Required("id", "id", kString, "name of the zone, unique in the VM"),
    Required("size", "size", kBytes, "bytes of RAM"),
    {"file", "file", kString, "backing file, or a directory for an unnamed one"},
    {"mergeable", "mergeable", kToggle, "let the host merge equal pages [--memory's]"},
    {"shared", "shared", kToggle, "map with MAP_SHARED [off]"},
    {"hugepages", "hugepages", kToggle, "back with huge pages [off]"},
    {"hugepage_size", "hugepage_size", kBytes, "their size [the host's default]"},
    {"host_numa_node", "host_numa_node", kInteger, "host node that the memory is bound to"},
    {"prefault", "prefault", kToggle, "allocate all of it before the guest starts [off]"},
    {"hotplug_size", "hotplug_size", kBytes, "what can be added to the zone (needs virtio-mem)"},
    {"hotplugged_size", "hotplugged_size", kBytes, "of it, what is added at boot"},
    {"reserve", "reserve", kToggle, "reserve swap space [on]"},
};
constexpr KeySpec kNumaKeys[] = {
    Required("guest_numa_id", "guest_numa_id", kInteger, "number of the guest's node"),
    {.name = "cpus",
     .json_name = "cpus",
     .type = kIntegerList,
     .help = "its vCPUs: n, a-b or [a-b,n,...]",
     .allowed = "n, a-b or [a-b,n,...] with vCPUs from 0 to 253"},
    {.name = "distances",
     .json_name = "distances",
     .type = kTupleList,
     .help = "[node@distance,...], 11 to 255 (not to be reached) [the way back, else 20]",
     .allowed = "node@distance or [node@distance,...], 11 to 255 to others and 10 to itself"},
    {"memory_zones", "memory_zones", kStringList, "its zones: id or [id,...]"},
    {"sgx_epc_sections", "sgx_epc_sections", kStringList, "its SGX EPC sections: id or [id,...]"},
    {.name = "pci_segments",
     .json_name = "pci_segments",
     .type = kIntegerList,
     .help = "its PCI segments; 0 belongs to the first node",
     .allowed = "n, a-b or [a-b,n,...] with segments from 0 to 95"},
    {"device_id", "device_id", kString, "device that is this node, which has neither CPUs nor memory"},
};
constexpr KeySpec kPlatformKeys[] = {
    {"num_pci_segments", "num_pci_segments", kInteger, "PCI segments, 1 to 96 [1]"},
    {.name = "iommu_model",
     .json_name = "iommu_model",
     .type = kString,
     .help = "the virtual IOMMU: virtio, there when something is behind it, or intel (VT-d), for all devices "
             "[virtio]",
     .allowed_words = "virtio, intel, smmuv3"},
    {.name = "iommu_segments",
     .json_name = "iommu_segments",
     .type = kIntegerList,
     .help = "PCI segments whose devices, added later too, are behind the virtual IOMMU: [1,...]",
     .allowed = "n, a-b or [a-b,n,...] with segments from 1 to 95"},
    {.name = "iommu_address_width",
     .json_name = "iommu_address_width_bits",
     .type = kInteger,
     .help = "bits of the addresses that the virtual IOMMU translates: virtio 32 to 64 [64]; intel 39 or 48 "
             "[what the host has]",
     .old_json_name = "iommu_address_width"},
    Refused("serial_number", "serial_number", kString, kNoSmbios),
    Refused("uuid", "uuid", kString, kNoSmbios),
    Refused("oem_strings", "oem_strings", kStringList, kNoSmbios),
    Refused("system_serial_number", "system_serial_number", kString, kNoSmbios),
    Refused("system_uuid", "system_uuid", kString, kNoSmbios),
    Refused("system_manufacturer", "system_manufacturer", kString, kNoSmbios),
    Refused("system_product_name", "system_product_name", kString, kNoSmbios),
    Refused("system_version", "system_version", kString, kNoSmbios),
    Refused("system_family", "system_family", kString, kNoSmbios),
    Refused("system_sku_number", "system_sku_number", kString, kNoSmbios),
    Refused("chassis_asset_tag", "chassis_asset_tag", kString, kNoSmbios),
    {.name = "confidential",
     .json_name = "confidential",
     .type = kString,
     .help = "keep the guest's memory from the host: sw-protected (for tests), tdx, sev-snp or virtcca",
     .allowed_words = "sw-protected, tdx, sev-snp, virtcca"},
    {"tdx", "tdx", kToggle, "the same as confidential=tdx"},
    {"sev_snp", "sev_snp", kToggle, "the same as confidential=sev-snp"},
    {"quote_socket", "quote_socket", kString, "UNIX socket of the quote generation service (TDX)"},
    Wide("snp_policy", "snp_policy", "guest policy of SEV-SNP [0x30000 = 196608: multi-threading allowed]"),
    Refused("iommufd", "iommufd", kToggle, kNotYet),
    Refused("iommufd_fd", "iommufd_fd", kInteger, kNotYet),
    Refused("vfio_p2p_dma", "vfio_p2p_dma", kToggle, kNotYet, "on"),
};
constexpr KeySpec kPciSegmentKeys[] = {
    Required("pci_segment", "pci_segment", kInteger, "number of the segment"),
    {"mmio32_aperture_weight", "mmio32_aperture_weight", kInteger, "share of the space below 4 GiB [1]"},
    {"mmio64_aperture_weight", "mmio64_aperture_weight", kInteger, "share of the space above RAM [1]"},
};
constexpr KeySpec kSgxKeys[] = {
    Required("id", "id", kString, "name of the section, unique in the VM"),
    Required("size", "size", kBytes, "bytes, a multiple of 4K"),
    {"prefault", "prefault", kToggle, "allocate it before the guest starts [off]"},
};
constexpr KeySpec kDiskKeys[] = {
    {"path", "path", kString, "raw image file or block device"},
    {"readonly", "readonly", kToggle, "the guest cannot write [off]"},
    {"direct", "direct", kToggle, "bypass the host's page cache (O_DIRECT) [off]"},
    {"id", "id", kString, "name of the device [disk0, ...]"},
    kSegmentKey,
    kIommuKey,
    kBusDeviceKey,
    {"num_queues", "num_queues", kInteger, "request queues, each with a thread [1]"},
    {"queue_size", "queue_size", kInteger, "entries of a queue, a power of two [256]"},
    {"vhost_user", "vhost_user", kToggle, "served by another process, instead of path [off]"},
    {"socket", "vhost_socket", kString, "UNIX socket of that process"},
    {"_disable_io_uring", "disable_io_uring", kToggle, "one request at a time, without io_uring [off]"},
    Wide("bw_size", "bw_size", "rate limit: bytes in one refill time"),
    Wide("bw_one_time_burst", "bw_one_time_burst", "bytes beyond it, once [0]"),
    Wide("bw_refill_time", "bw_refill_time", "milliseconds in which bw_size is refilled"),
    Wide("ops_size", "ops_size", "rate limit: requests (packets) in one refill time"),
    Wide("ops_one_time_burst", "ops_one_time_burst", "requests beyond it, once [0]"),
    Wide("ops_refill_time", "ops_refill_time", "milliseconds in which ops_size is refilled"),
    {"serial", "serial", kString, "serial number that the guest reads [id]"},
    Refused("rate_limit_group", "rate_limit_group", kString, kNotYet),
    Refused("queue_affinity", "queue_affinity", kString, kNotYet),
    Refused("backing_files", "backing_files", kToggle, "images are raw, not layered"),
    Refused("image_type", "image_type", kString, "images are raw", "raw, unknown"),
    Refused("sparse", "sparse", kToggle, "what the guest discards is always given back", "on"),
    Refused("lock_granularity", "lock_granularity", kString, "the whole file is locked",
            "full, byte-range, ByteRange"),
    Refused("_disable_aio", "disable_aio", kToggle, "there is no Linux AIO anyway", "on, off"),
};
constexpr KeySpec kNetKeys[] = {
    {"tap", "tap", kString, "TAP interface, created when it does not exist"},
    {"mac", "mac", kString, "the guest's Ethernet address [generated]"},
    {"id", "id", kString, "name of the device [net0, ...]"},
    kSegmentKey,
    kIommuKey,
    kBusDeviceKey,
    Refused("ip", "ip", kString, "configure the interface outside: the VMM sets no addresses"),
    Refused("mask", "mask", kString, "configure the interface outside: the VMM sets no addresses"),
    Refused("host_mac", "host_mac", kString, "configure the interface outside: the VMM sets no addresses"),
    {"num_queues", "num_queues", kInteger,
     "receive and transmit queues together, several pairs with a thread each [2]"},
    {"queue_size", "queue_size", kInteger, "entries of a queue, a power of two [256]"},
    {"vhost_user", "vhost_user", kToggle, "served by another process, instead of tap [off]"},
    {"socket", "vhost_socket", kString, "UNIX socket of that process"},
    Refused("vhost_mode", "vhost_mode", kString, "the VMM connects to the other process's socket", "client"),
    Refused("offload_tso", "offload_tso", kToggle, kOffloads, "on"),
    Refused("offload_ufo", "offload_ufo", kToggle, kOffloads, "on"),
    Refused("offload_csum", "offload_csum", kToggle, kOffloads, "on"),
    {.name = "fd",
     .json_name = "fds",
     .type = kIntegerList,
     .help = "inherited descriptors of a TAP, instead of tap: one for each pair of queues",
     .allowed = "n or [n,...] with descriptors from 3 to 65535"},
    {"mtu", "mtu", kInteger, "MTU that the guest is told, 1280 to 65535"},
    Wide("bw_size", "bw_size", "rate limit: bytes in one refill time"),
    Wide("bw_one_time_burst", "bw_one_time_burst", "bytes beyond it, once [0]"),
    Wide("bw_refill_time", "bw_refill_time", "milliseconds in which bw_size is refilled"),
    Wide("ops_size", "ops_size", "rate limit: requests (packets) in one refill time"),
    Wide("ops_one_time_burst", "ops_one_time_burst", "requests beyond it, once [0]"),
    Wide("ops_refill_time", "ops_refill_time", "milliseconds in which ops_size is refilled"),
};
constexpr KeySpec kDeviceKeys[] = {
    Required("path", "path", kString, "PCI function bound to vfio-pci: /sys/bus/pci/devices/DDDD:BB:SS.F"),
    {"id", "id", kString, "name of the device [device0, ...]"},
    kSegmentKey,
    kIommuKey,
    kBusDeviceKey,
    Refused("fd", "fd", kInteger, "devices are opened by the VMM"),
    Refused("x_nv_gpudirect_clique", "x_nv_gpudirect_clique", kInteger, kNotYet),
    Refused("x_exclude_mmap_bars", "x_exclude_mmap_bars", kIntegerList, kNotYet),
};
constexpr KeySpec kRngKeys[] = {
    Required("src", "src", kString, "source of the randomness [/dev/urandom]"),
    kIommuKey,
    FixedId("rng0, __rng"),
    kFirstSegmentKey,
    kBusDeviceKey,
};
constexpr WordSpec kRngWords[] = {{"off"}};
constexpr KeySpec kPortKeys[] = {
    {"file", "file", kString, "append the output to a file"},
    {"socket", "socket", kString, "listen on a UNIX socket"},
    kNoIommuKey,
    FixedId("console0, __console"),
    kFirstSegmentKey,
    kBusDeviceKey,
};
constexpr WordSpec kPortWords[] = {{"off"}, {"null"}, {"tty"}, {"pty"}};
constexpr KeySpec kBalloonKeys[] = {
    Required("size", "size", kBytes, "what the guest is asked to hand out at boot; 0 for nothing yet"),
    {"deflate_on_oom", "deflate_on_oom", kToggle, "the guest takes pages back when it runs out [off]"},
    {"free_page_reporting", "free_page_reporting", kToggle,
     "the guest reports pages that it does not use, which the host then need not keep [off]"},
    Refused("statistics", "statistics", kToggle, kNotYet),
    kNoIommuKey,
    FixedId("balloon0, __balloon"),
    kFirstSegmentKey,
    kBusDeviceKey,
};
constexpr KeySpec kVsockKeys[] = {
    Required("cid", "cid", kInteger, "the guest's address, from 3"),
    Required("socket", "socket", kString,
             "UNIX socket for connections to the guest; those from it go to SOCKET_PORT"),
    {"id", "id", kString, "name of the device [vsock0]"},
    kSegmentKey,
    kIommuKey,
    kBusDeviceKey,
};
constexpr KeySpec kRestoreKeys[] = {
    Required("source_url", "source_url", kString, "file:///DIRECTORY with the snapshot"),
    {"prefault", "prefault", kToggle, "allocate all memory at once [as its zones say]"},
    {.name = "memory_restore_mode",
     .json_name = "memory_restore_mode",
     .type = kString,
     .help = "copy memory at once, or bring it when it is touched: copy or ondemand [copy]",
     .allowed_words = "copy, ondemand"},
    {"resume", "resume", kToggle, "let the guest run; off: it waits for vm.resume [off]"},
    {"net_fds", "net_fds", kDescriptorLists,
     "descriptors of TAPs for network devices that had some when they were saved: [id@[n,...],...]"},
    Refused("zone_updates", "zone_updates", kString, kEditSnapshot),
    Refused("vfio_fds", "vfio_fds", kString, "a snapshot has no devices of the host"),
    Refused("iommufd_fd", "iommufd_fd", kInteger, "a snapshot has no devices of the host"),
};
constexpr KeySpec kJailKeys[] = {
    {"uid", "uid", kInteger, "user to become, who must be able to open /dev/kvm, the TAPs and the images"},
    {"gid", "gid", kInteger, "group to become"},
    {"cgroup", "cgroup", kString, "control group (version 2), made when it is not there: /berth/vm1"},
    {"cpus", "cpus", kIntegerList, "host CPUs of the control group"},
    {"nodes", "nodes", kIntegerList, "host NUMA nodes of the control group"},
    {"memory", "memory", kBytes, "its limit of ordinary memory"},
    {"hugepages_2m", "hugepages_2m", kBytes, "its limit of huge pages of 2M"},
    {"hugepages_1g", "hugepages_1g", kBytes, "its limit of huge pages of 1G"},
    {"processes", "processes", kInteger, "its limit of threads"},
    {"open_files", "open_files", kInteger, "limit of open files, from 64 [2048]"},
};
constexpr KeySpec kLandlockKeys[] = {
    Required("path", "path", kString, "a file, or a folder with all below it"),
    {.name = "access",
     .json_name = "access",
     .type = kString,
     .help = "r or rw",
     .required = true,
     .allowed_words = "r, rw"},
};
constexpr KeySpec kMonitorKeys[] = {
    {"path", "path", kString, "append to a file, or write to a FIFO"},
    {"fd", "fd", kInteger, "write to an inherited descriptor"},
};

constexpr OptionSpec Later(std::string_view name, Form form = Form::kKeys, bool repeatable = false,
                           std::string_view reason = kNotYet, std::string_view harmless = {}) {
  return {name, form, "", "", repeatable, {}, {}, 0, reason, harmless};
}
constexpr std::string_view kNoDbus = "the API is served on a UNIX socket";

constexpr std::array kOptions = {
    OptionSpec{"kernel", Form::kText, "FILE", "kernel to boot: a bzImage, or a vmlinux with a PVH entry"},
    OptionSpec{
        "firmware", Form::kText, "FILE",
        "firmware instead of a kernel: an ELF file with a PVH entry, or an image that ends at 4 GiB; of a "
        "confidential guest TDVF, td-shim or OVMF"},
    OptionSpec{"initramfs", Form::kText, "FILE", "initial RAM file system"},
    OptionSpec{"cmdline", Form::kText, "TEXT", "kernel command line"},
    OptionSpec{"igvm", Form::kText, "FILE", "initial memory of a confidential guest, as an IGVM file"},
    OptionSpec{"host-data", Form::kText, "HEX",
               "bytes for the guest's attestation reports: 64 digits (SEV-SNP) or 96 (TDX)"},
    OptionSpec{"cpus", Form::kKeys, "KEYS", "vCPUs", false, kCpuKeys},
    OptionSpec{"memory", Form::kKeys, "KEYS", "guest RAM", false, kMemoryKeys},
    OptionSpec{"memory-zone", Form::kKeys, "KEYS...", "a piece of guest RAM with its own backing", true,
               kZoneKeys},
    OptionSpec{"platform", Form::kKeys, "KEYS", "the machine as a whole", false, kPlatformKeys},
    OptionSpec{"pci-segment", Form::kKeys, "KEYS...", "address space of a PCI segment", true,
               kPciSegmentKeys},
    OptionSpec{"sgx-epc", Form::kKeys, "KEYS...", "SGX enclave memory", true, kSgxKeys},
    OptionSpec{"numa", Form::kKeys, "KEYS...", "a NUMA node of the guest", true, kNumaKeys},
    OptionSpec{"disk", Form::kKeys, "KEYS...", "a virtio block device", true, kDiskKeys},
    OptionSpec{"net", Form::kKeys, "KEYS...", "a virtio network device", true, kNetKeys},
    OptionSpec{"device", Form::kKeys, "KEYS...", "a device of the host", true, kDeviceKeys},
    OptionSpec{"rng", Form::kKeys, "off|KEYS", "virtio random number device", false, kRngKeys, kRngWords},
    OptionSpec{"serial", Form::kKeys, "off|null|tty|pty|KEY", "serial port COM1 [tty]", false, kPortKeys,
               kPortWords},
    OptionSpec{"console", Form::kKeys, "off|null|tty|pty|KEY", "virtio console [off]", false, kPortKeys,
               kPortWords},
    OptionSpec{"balloon", Form::kKeys, "KEYS", "virtio memory balloon", false, kBalloonKeys},
    OptionSpec{"vsock", Form::kKeys, "KEYS", "virtio sockets between guest and host", false, kVsockKeys},
    OptionSpec{"pvpanic", Form::kFlag, "", "a device by which the guest reports that it has crashed"},
    OptionSpec{"event-monitor", Form::kKeys, "KEY", "write events as JSON lines", false, kMonitorKeys},
    OptionSpec{"api-socket", Form::kText, "PATH|fd=N",
               "serve the API on this UNIX socket, or on an inherited one that listens"},
    OptionSpec{"log-file", Form::kText, "PATH", "append the log to a file [standard error]"},
    OptionSpec{"log-level", Form::kText, "LEVEL", "debug, info, warning or error [info]"},
    OptionSpec{"jail", Form::kKeys, "KEYS",
               "drop privileges and enter a control group before anything is opened", false, kJailKeys},
    OptionSpec{"landlock", Form::kFlag, "",
               "confine the process to the files that its options name (Landlock)"},
    OptionSpec{"landlock-rules", Form::kKeys, "KEYS...", "further files, for devices that are added later",
               true, kLandlockKeys},
    OptionSpec{"seccomp", Form::kText, "MODE",
               "system calls that a thread does not need: true ends the process, log lets them pass and be "
               "logged, false allows them [true]"},
    OptionSpec{"restore", Form::kKeys, "KEYS", "go on from a snapshot, in the place of options of a VM",
               false, kRestoreKeys},
    OptionSpec{"check", Form::kFlag, "", "validate, print the resolved machine and stop"},
    OptionSpec{"json", Form::kFlag, "", "print errors and the result of --check as JSON"},
    OptionSpec{"help", Form::kFlag, "", "print this text and stop", false, {}, {}, 'h'},
    OptionSpec{"version", Form::kFlag, "", "print the version and stop", false, {}, {}, 'v'},
    Later("user-device", Form::kKeys, true),
    Later("fs", Form::kKeys, true, "share files over the network or by a disk: there is no virtio-fs device"),
    Later("pmem", Form::kKeys, true, "use --disk: there is no persistent memory device"),
    Later("vdpa", Form::kKeys, true),
    Later("tpm", Form::kKeys, false, "there is no TPM device"),
    Later("watchdog", Form::kFlag),
    Later("debug-console", Form::kKeys, false, "use --serial: there is no debug port", "off"),
    Later("rate-limit-group", Form::kKeys, true),
    Later("gdb", Form::kKeys, false, "debug the guest by its serial port (kgdb)"),
    Later("rtc", Form::kKeys, false, "the machine has a CMOS clock, and no virtio one"),
    Later("generic-vhost-user", Form::kKeys, true, "only disks and networks may be other processes'"),
    Later("ivshmem", Form::kKeys, false, "memory is shared with no other guest"),
    Later("pvmemcontrol", Form::kFlag),
    Later("fw-cfg-config", Form::kKeys, false, "there is no fw_cfg device"),
    Later("no-shutdown", Form::kFlag, false, "the process ends when the guest powers off"),
    Later("log-format", Form::kText, false, "the log has one format"),
    Later("dbus-service-name", Form::kText, false, kNoDbus),
    Later("dbus-object-path", Form::kText, false, kNoDbus),
    Later("dbus-system-bus", Form::kFlag, false, kNoDbus),
};

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

template <class Specs>
std::string NearestHint(const Specs& specs, std::string_view name) {
  constexpr size_t kFarthest = 2;
  if (name.size() > 64) return {};
  std::string_view best;
  size_t distance = kFarthest + 1;
  for (const auto& spec : specs) {
    size_t d = EditDistance(name, spec.name);
    if (spec.supported() && d < distance) {
      best = spec.name;
      distance = d;
    }
  }
  return best.empty() ? std::string() : "did you mean " + std::string(best) + "?";
}

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
}

}  // namespace

std::span<const OptionSpec> OptionTable() {
  return kOptions;
}

const OptionSpec* FindOption(std::string_view name) {
  for (const OptionSpec& option : kOptions) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string_view FindWord(std::string_view words, std::string_view text) {
  constexpr std::string_view kSeparator = ", ";
  auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(kSeparator));
    if (std::equal(word.begin(), word.end(), text.begin(), text.end(), same)) return word;
    words.remove_prefix(std::min(words.size(), word.size() + kSeparator.size()));
  }
  return {};
}

const KeySpec* FindKey(const OptionSpec& option, std::string_view name) {
  for (const KeySpec& key : option.keys) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::string NearestOptionHint(std::string_view name) {
  return NearestHint(kOptions, name);
}

std::string NearestKeyHint(const OptionSpec& option, std::string_view name) {
  return NearestHint(option.keys, name);
}

std::string HelpText() {
  std::string text =
      "berth-vmm: runs one virtual machine on KVM\n\n"
      "usage: berth-vmm --kernel FILE [OPTION...]\n\n"
      "example: berth-vmm --kernel vmlinuz --initramfs initrd.img --cmdline 'console=ttyS0' \\\n"
      "           --cpus boot=4 --memory size=0 \\\n"
      "           --memory-zone id=a,size=1G,host_numa_node=0 id=b,size=1G,host_numa_node=1 \\\n"
      "           --numa guest_numa_id=0,cpus=0-1,memory_zones=a guest_numa_id=1,cpus=2-3,memory_zones=b\n\n"
      "Options marked ... take several values and may be repeated. KEYS are key=value,... as listed.\n\n";
  std::string later;
  for (const OptionSpec& option : kOptions) {
    if (!option.supported()) {
      later += " --" + std::string(option.name);
      continue;
    }
    std::string head = option.short_name != 0 ? std::string("  -") + option.short_name + ", --" : "  --";
    head += std::string(option.name) + " " + std::string(option.placeholder);
    text += Padded(head, 30) + std::string(option.help) + "\n";
    for (const KeySpec& key : option.keys) {
      if (!key.supported()) continue;
      text += Padded("      " + std::string(key.name) + "=", 30) + std::string(key.help) +
              (key.required ? " (required)" : "") + "\n";
    }
  }
  return text + "\nKnown, and refused because this version does not carry them out:" + later + "\n";
}

}  // namespace berth::vmm
