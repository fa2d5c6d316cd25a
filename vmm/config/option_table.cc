#include "vmm/config/option_table.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace berth::vmm {
namespace {

using enum ValueType;
using Form = OptionSpec::Form;

constexpr uint64_t kU64 = UINT64_MAX;

constexpr KeySpec kCpuKeys[] = {
    {"boot", "boot_vcpus", kInteger, "vCPUs that the guest starts with [1]"},
    {"max", "max_vcpus", kInteger, "vCPUs that the guest could ever have [boot]"},
    {"affinity", "affinity", kAffinityList, "host CPUs of a vCPU's thread: [vcpu@[a,b-c],...]"},
    {"topology", "topology", kString, "threads:cores:dies:packages", false},
    {"kvm_hyperv", "kvm_hyperv", kToggle, "Hyper-V enlightenments", false},
    {"max_phys_bits", "max_phys_bits", kInteger, "guest-physical address width", false},
    {"features", "features", kString, "extra CPU features", false},
};
constexpr KeySpec kMemoryKeys[] = {
    {"size", "size", kBytes, "guest RAM; 0 when --memory-zone is given [512M]"},
    {"mergeable", "mergeable", kToggle, "let the host merge equal pages (KSM); zones inherit it [off]"},
    {"shared", "shared", kToggle, "map with MAP_SHARED [off]"},
    {"hugepages", "hugepages", kToggle, "back with huge pages [off]"},
    {"hugepage_size", "hugepage_size", kBytes, "their size [the host's default]"},
    {"prefault", "prefault", kToggle, "allocate all of it before the guest starts [off]"},
    {"hotplug_method", "hotplug_method", kString, "acpi or virtio-mem", false},
    {"hotplug_size", "hotplug_size", kBytes, "what can be added later", false},
    {"hotplugged_size", "hotplugged_size", kBytes, "what is added at boot", false},
    {"reserve", "reserve", kToggle, "reserve swap", false},
    {"thp", "thp", kToggle, "transparent huge pages", false},
};
constexpr KeySpec kZoneKeys[] = {
    {"id", "id", kString, "name of the zone, unique in the VM", true, true},
    {"size", "size", kBytes, "bytes of RAM", true, true},
    {"file", "file", kString, "backing file, or a directory for an unnamed one"},
    {"mergeable", "mergeable", kToggle, "let the host merge equal pages [--memory's]"},
    {"shared", "shared", kToggle, "map with MAP_SHARED [off]"},
    {"hugepages", "hugepages", kToggle, "back with huge pages [off]"},
    {"hugepage_size", "hugepage_size", kBytes, "their size [the host's default]"},
    {"host_numa_node", "host_numa_node", kInteger, "host node that the memory is bound to"},
    {"prefault", "prefault", kToggle, "allocate all of it before the guest starts [off]"},
    {"hotplug_size", "hotplug_size", kBytes, "what can be added later", false},
    {"hotplugged_size", "hotplugged_size", kBytes, "what is added at boot", false},
    {"reserve", "reserve", kToggle, "reserve swap", false},
};
constexpr KeySpec kNumaKeys[] = {
    {"guest_numa_id", "guest_numa_id", kInteger, "number of the guest's node", true, true},
    {"cpus", "cpus", kIntegerList, "its vCPUs: n, a-b or [a-b,n,...]"},
    {"distances", "distances", kTupleList, "[node@distance,...], 11 to 254 [the way back, else 20]"},
    {"memory_zones", "memory_zones", kStringList, "its zones: id or [id,...]"},
    {"sgx_epc_sections", "sgx_epc_sections", kStringList, "its SGX EPC sections", false},
    {"pci_segments", "pci_segments", kIntegerList, "its PCI segments", false},
    {"device_id", "device_id", kString, "device of a node without CPUs and memory", false},
};
constexpr KeySpec kDiskKeys[] = {
    {"path", "path", kString, "raw image file or block device", true, true},
    {"readonly", "readonly", kToggle, "the guest cannot write [off]"},
    {"direct", "direct", kToggle, "bypass the host's page cache (O_DIRECT) [off]"},
    {"id", "id", kString, "name of the device [disk0, ...]"},
    {"iommu", "iommu", kToggle, "behind the virtual IOMMU", false},
    {"num_queues", "num_queues", kInteger, "request queues", false},
    {"queue_size", "queue_size", kInteger, "entries of a queue", false},
    {"vhost_user", "vhost_user", kToggle, "back end in another process", false},
    {"socket", "vhost_socket", kString, "its socket", false},
    {"bw_size", "bw_size", kInteger, "rate limit, bytes", false, false, kU64},
    {"ops_size", "ops_size", kInteger, "rate limit, requests", false, false, kU64},
    {"serial", "serial", kString, "serial number", false},
    {"pci_segment", "pci_segment", kInteger, "PCI segment", false},
};
constexpr KeySpec kNetKeys[] = {
    {"tap", "tap", kString, "TAP interface, created when it does not exist", true, true},
    {"mac", "mac", kString, "the guest's Ethernet address [generated]"},
    {"id", "id", kString, "name of the device [net0, ...]"},
    {"ip", "ip", kString, "host address of the TAP", false},
    {"mask", "mask", kString, "its mask", false},
    {"iommu", "iommu", kToggle, "behind the virtual IOMMU", false},
    {"num_queues", "num_queues", kInteger, "queues", false},
    {"queue_size", "queue_size", kInteger, "entries of a queue", false},
    {"vhost_user", "vhost_user", kToggle, "back end in another process", false},
    {"socket", "vhost_socket", kString, "its socket", false},
    {"fd", "fds", kIntegerList, "inherited TAP descriptors", false},
    {"mtu", "mtu", kInteger, "MTU", false},
    {"bw_size", "bw_size", kInteger, "rate limit, bytes", false, false, kU64},
    {"ops_size", "ops_size", kInteger, "rate limit, packets", false, false, kU64},
    {"pci_segment", "pci_segment", kInteger, "PCI segment", false},
};
constexpr KeySpec kRngKeys[] = {
    {"src", "src", kString, "source of the randomness [/dev/urandom]", true, true},
    {"iommu", "iommu", kToggle, "behind the virtual IOMMU", false},
};
constexpr WordSpec kRngWords[] = {{"off"}};
constexpr KeySpec kSerialKeys[] = {
    {"file", "file", kString, "append the output to a file"},
    {"socket", "socket", kString, "listen on a UNIX socket"},
};
constexpr WordSpec kSerialWords[] = {{"off"}, {"null"}, {"tty"}, {"pty", false}};
constexpr WordSpec kConsoleWords[] = {{"off"}, {"null", false}, {"tty", false}, {"pty", false}};

constexpr std::string_view kLater = "not supported by this version";

constexpr OptionSpec Later(std::string_view name, Form form = Form::kKeys, bool repeatable = false) {
  return {name, form, "", kLater, repeatable, {}, {}, false};
}

constexpr std::array kOptions = {
    OptionSpec{"kernel", Form::kText, "FILE", "bzImage to boot"},
    OptionSpec{"initramfs", Form::kText, "FILE", "initial RAM file system"},
    OptionSpec{"cmdline", Form::kText, "TEXT", "kernel command line"},
    OptionSpec{"cpus", Form::kKeys, "KEYS", "vCPUs", false, kCpuKeys},
    OptionSpec{"memory", Form::kKeys, "KEYS", "guest RAM", false, kMemoryKeys},
    OptionSpec{"memory-zone", Form::kKeys, "KEYS...", "a piece of guest RAM with its own backing", true,
               kZoneKeys},
    OptionSpec{"numa", Form::kKeys, "KEYS...", "a NUMA node of the guest", true, kNumaKeys},
    OptionSpec{"disk", Form::kKeys, "KEYS...", "a virtio block device", true, kDiskKeys},
    OptionSpec{"net", Form::kKeys, "KEYS...", "a virtio network device", true, kNetKeys},
    OptionSpec{"rng", Form::kKeys, "off|KEYS", "virtio random number device", false, kRngKeys, kRngWords},
    OptionSpec{"serial", Form::kKeys, "off|null|tty|KEY", "serial port COM1 [tty]", false, kSerialKeys,
               kSerialWords},
    OptionSpec{"console", Form::kKeys, "off", "virtio console [off]", false, {}, kConsoleWords},
    OptionSpec{"api-socket", Form::kText, "PATH", "serve the API on this UNIX socket"},
    OptionSpec{"log-file", Form::kText, "PATH", "append the log to a file [standard error]"},
    OptionSpec{"log-level", Form::kText, "LEVEL", "debug, info, warning or error [info]"},
    OptionSpec{"check", Form::kFlag, "", "validate, print the resolved machine and stop"},
    OptionSpec{"json", Form::kFlag, "", "print errors and the result of --check as JSON"},
    OptionSpec{"help", Form::kFlag, "", "print this text and stop", false, {}, {}, true, 'h'},
    OptionSpec{"version", Form::kFlag, "", "print the version and stop", false, {}, {}, true, 'v'},
    Later("platform"),
    Later("pci-segment", Form::kKeys, true),
    Later("firmware", Form::kText),
    Later("device", Form::kKeys, true),
    Later("user-device", Form::kKeys, true),
    Later("vsock"),
    Later("balloon"),
    Later("fs", Form::kKeys, true),
    Later("pmem", Form::kKeys, true),
    Later("vdpa", Form::kKeys, true),
    Later("sgx-epc", Form::kKeys, true),
    Later("tpm"),
    Later("watchdog", Form::kFlag),
    Later("pvpanic", Form::kFlag),
    Later("debug-console"),
    Later("event-monitor"),
    Later("seccomp", Form::kText),
    Later("landlock", Form::kFlag),
    Later("landlock-rules", Form::kKeys, true),
    Later("restore"),
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
    if (spec.supported && d < distance) {
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
    if (!option.supported) {
      later += " --" + std::string(option.name);
      continue;
    }
    std::string head = option.short_name != 0 ? std::string("  -") + option.short_name + ", --" : "  --";
    head += std::string(option.name) + " " + std::string(option.placeholder);
    text += Padded(head, 30) + std::string(option.help) + "\n";
    for (const KeySpec& key : option.keys) {
      if (!key.supported) continue;
      text += Padded("      " + std::string(key.name) + "=", 30) + std::string(key.help) +
              (key.required ? " (required)" : "") + "\n";
    }
  }
  return text + "\nKnown, and refused because this version does not carry them out:" + later + "\n";
}

}  // namespace berth::vmm
