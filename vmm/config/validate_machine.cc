#include <algorithm>
#include <bit>
#include <cctype>
#include <map>
#include <set>

#include "common/words.h"
#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

constexpr size_t kMaxInterfaceName = 15;  // IFNAMSIZ - 1
constexpr uint32_t kMaxDiskQueues = 64;
constexpr uint32_t kMaxNetPairs = 32;
constexpr size_t kMaxSocketPath = 107;  // sun_path, without the final zero
constexpr size_t kMaxSerial = 20;
constexpr uint32_t kMinMtu = 1280;  // what IPv6 needs
constexpr uint32_t kMinPhysBits = 36;
constexpr uint32_t kMaxPhysBits = 52;

bool IsInterfaceName(const std::string& name) {
  if (name.empty() || name.size() > kMaxInterfaceName || name == "." || name == "..") return false;
  for (unsigned char c : name) {
    if (c == '/' || c == ':' || c == '%' || std::isspace(c) || std::iscntrl(c)) return false;
  }
  return true;
}

// Six octets "52:54:00:12:34:56", not all zero, not a group address.
bool IsStationAddress(const std::string& text) {
  constexpr size_t kLength = 17;
  if (text.size() != kLength) return false;
  bool zero = true;
  for (size_t i = 0; i < kLength; ++i) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (i % 3 == 2 ? c != ':' : !std::isxdigit(c)) return false;
    if (c != ':' && c != '0') zero = false;
  }
  bool group = std::stoi(text.substr(0, 2), nullptr, 16) % 2 == 1;
  return !zero && !group;
}

void CheckPath(const std::string& path, const std::string& label, const char* key, ConfigErrors& errors) {
  if (path.find('\0') != std::string::npos) {
    errors.push_back({"InvalidValue", label, key, "", "a path with a zero byte", "", ""});
  }
}

void CheckSerial(const SerialConfig& serial, const char* option, ConfigErrors& errors) {
  using Mode = SerialConfig::Mode;
  bool with_path = serial.mode == Mode::kFile || serial.mode == Mode::kSocket;
  const char* key = serial.mode == Mode::kFile ? "file" : "socket";
  if (with_path && serial.path.empty()) {
    errors.push_back({"MissingKey", option, key, "", "needs a path", "", ""});
  }
  if (serial.mode == Mode::kSocket && serial.path.size() > kMaxSocketPath) {
    errors.push_back({"InvalidValue", option, key, serial.path, "path of a socket is too long",
                      "up to " + std::to_string(kMaxSocketPath) + " bytes", ""});
  }
  CheckPath(serial.path, option, key, errors);
}

void CheckVsock(const VsockConfig& vsock, ConfigErrors& errors) {
  constexpr uint32_t kFirstCid = 3;                 // 0 to 2 are the hypervisor, the local host and the host
  constexpr size_t kLongest = kMaxSocketPath - 11;  // "_4294967295" is appended
  if (vsock.cid < kFirstCid || vsock.cid == UINT32_MAX) {
    errors.push_back({"InvalidCid", "vsock", "cid", std::to_string(vsock.cid), "a reserved address",
                      "3 to 4294967294", ""});
  }
  if (vsock.socket.size() > kLongest) {
    errors.push_back({"InvalidValue", "vsock", "socket", vsock.socket, "path of a socket is too long",
                      "up to " + std::to_string(kLongest) + " bytes", ""});
  }
  CheckPath(vsock.socket, "vsock", "socket", errors);
}

void CheckBalloon(const VmConfig& config, ConfigErrors& errors) {
  if (!config.balloon) return;
  // A device of the host keeps the pages that were mapped for it: after the guest got a page back from the
  // balloon, guest and device would look at different memory.
  if (!config.devices.empty()) {
    errors.push_back({"BalloonWithDevice", "balloon", "", "", "cannot be used beside a device of the host",
                      "", "leave out --balloon or --device; virtio-mem can shrink such a guest"});
  }
  std::optional<ByteSize> ram = ByteSize();
  for (const MemoryZoneConfig& zone : EffectiveZones(config)) {
    if (ram) ram = ram->Plus(zone.size);
    if (ram && zone.hotplug_size) ram = ram->Plus(*zone.hotplug_size);
  }
  const ByteSize size = config.balloon->size;
  if (ram && size > *ram) {
    errors.push_back({"BalloonLargerThanRam", "balloon", "size", size.ToString(),
                      "larger than all memory that the guest can have", "up to " + ram->ToString(), ""});
  }
  if (!size.IsMultipleOf(KiB(4))) {
    errors.push_back(
        {"InvalidValue", "balloon", "size", size.ToString(), "not whole pages", "multiples of 4K", ""});
  }
}

// Several mistakes are one entry in the table of values: a queue's size, its limits.
void CheckQueue(uint32_t size, const RateLimits& limits, const std::string& label, ConfigErrors& errors) {
  constexpr uint32_t kSmallest = 16, kLargest = 1024;
  if (size < kSmallest || size > kLargest || !std::has_single_bit(size)) {
    errors.push_back({"InvalidQueueSize", label, "queue_size", std::to_string(size), "not a size of a queue",
                      "powers of two from 16 to 1024", ""});
  }
  for (const auto& [name, limit] :
       {std::pair("bw", &limits.bandwidth), std::pair("ops", &limits.operations)}) {
    const std::string prefix = name;
    if ((limit->size == 0) == (limit->refill_ms == 0) && (limit->size > 0 || limit->one_time_burst == 0))
      continue;
    errors.push_back({"InvalidRateLimit", label, prefix + (limit->size == 0 ? "_size" : "_refill_time"), "0",
                      Concat({"a limit needs ", prefix, "_size and ", prefix, "_refill_time"}),
                      "both above 0", ""});
  }
}

// vhost_user and socket of a disk or a network device. `sockets`: of those before it.
template <class Device>
void CheckVhostUser(const Device& device, bool shared, const std::string& label,
                    std::map<std::string, std::string>& sockets, ConfigErrors& errors) {
  if (device.vhost_user != device.vhost_socket.has_value()) {
    errors.push_back({device.vhost_user ? "MissingKey" : "InvalidValue", label,
                      device.vhost_user ? "socket" : "vhost_user", device.vhost_socket.value_or(""),
                      "vhost_user=on and socket go together", "", ""});
  }
  if (!device.vhost_user) return;
  if (!shared) {
    errors.push_back(
        {"VhostUserRequiresSharedMemory", label, "vhost_user", "on",
         "the device is driven by another process, which needs access to the guest's RAM, and that "
         "is private to the VMM",
         "", "give --memory shared=on (with zones, shared=on for each of them), or hugepages=on"});
  }
  if (device.iommu) {
    errors.push_back({"InvalidValue", label, "iommu", "on",
                      "the process that drives the device would not follow what the virtual IOMMU translates",
                      "", "leave iommu=on or vhost_user=on away"});
  }
  if (!device.vhost_socket) return;
  const std::string& socket = *device.vhost_socket;
  CheckPath(socket, label, "socket", errors);
  if (socket.empty() || socket.size() > kMaxSocketPath) {
    errors.push_back({"InvalidValue", label, "socket", socket, "not a path of a socket",
                      "1 to " + std::to_string(kMaxSocketPath) + " bytes", ""});
  }
  if (auto [previous, fresh] = sockets.try_emplace(socket, label); !fresh) {
    errors.push_back({"DuplicateDevicePath", label, "socket", socket,
                      "used by " + previous->second + " already", "", "one socket for each device"});
  }
  if (device.limits != RateLimits()) {
    errors.push_back({"InvalidRateLimit", label, "vhost_user", "on",
                      "requests that another process carries out cannot be limited here", "",
                      "limit them there"});
  }
}

// What the VMM cannot have a say in, and where the disk is.
void CheckDiskBackend(const DiskConfig& disk, const std::string& label, ConfigErrors& errors) {
  if (disk.vhost_user == disk.path.empty()) {
    const bool own = disk.vhost_user && (disk.readonly || disk.direct || disk.serial || !disk.io_uring);
    if (!own) return;
    errors.push_back({"InvalidValue", label, "vhost_user", "on",
                      "readonly, direct, serial and _disable_io_uring are up to the other process", "",
                      "leave them out"});
    return;
  }
  errors.push_back({disk.vhost_user ? "InvalidValue" : "MissingKey", label, "path", disk.path,
                    disk.vhost_user ? "path and vhost_user exclude each other" : "required key is missing",
                    "", "raw image file or block device, or vhost_user=on with a socket"});
}

void CheckDisks(const std::vector<DiskConfig>& disks, bool shared,
                std::map<std::string, std::string>& sockets, ConfigErrors& errors) {
  std::map<std::string, size_t> first;
  for (size_t i = 0; i < disks.size(); ++i) {
    CheckDiskBackend(disks[i], Label("disk", i), errors);
    CheckVhostUser(disks[i], shared, Label("disk", i), sockets, errors);
    CheckPath(disks[i].path, Label("disk", i), "path", errors);
    CheckQueue(disks[i].queue_size, disks[i].limits, Label("disk", i), errors);
    if (disks[i].num_queues == 0 || disks[i].num_queues > kMaxDiskQueues) {
      errors.push_back({"TooManyQueues", Label("disk", i), "num_queues", std::to_string(disks[i].num_queues),
                        "number of queues out of range", "1 to " + std::to_string(kMaxDiskQueues), ""});
    }
    if (disks[i].serial && disks[i].serial->size() > kMaxSerial) {
      errors.push_back({"InvalidValue", Label("disk", i), "serial", *disks[i].serial,
                        "too long for a serial number", "up to " + std::to_string(kMaxSerial) + " bytes",
                        ""});
    }
    if (disks[i].path.empty()) continue;
    auto [previous, fresh] = first.try_emplace(disks[i].path, i);
    if (fresh || (disks[i].readonly && disks[previous->second].readonly)) continue;
    errors.push_back({"DuplicateDevicePath", Label("disk", i), "path", disks[i].path,
                      "used by " + Label("disk", previous->second) + " already", "",
                      "several disks share a file only when all are readonly=on"});
  }
}

void CheckNetQueues(const NetConfig& net, const std::string& label, ConfigErrors& errors) {
  const uint32_t queues = NetQueues(net);
  if (queues < 2 || queues % 2 != 0 || queues / 2 > kMaxNetPairs) {
    errors.push_back({"TooManyQueues", label, "num_queues", std::to_string(queues),
                      "receive and transmit queues come in pairs",
                      "even numbers from 2 to " + std::to_string(2 * kMaxNetPairs), ""});
  } else if (!net.fds.empty() && queues != 2 * net.fds.size()) {
    errors.push_back({"VnetQueueFdMismatch", label, "num_queues", std::to_string(queues),
                      std::to_string(net.fds.size()) + " descriptors for " + std::to_string(queues / 2) +
                          " pairs of queues",
                      std::to_string(2 * net.fds.size()), ""});
  }
}

// One of tap, descriptors and another process.
void CheckNetBackend(const NetConfig& net, const std::string& label, std::map<std::string, std::string>& taps,
                     ConfigErrors& errors) {
  const int backends = (net.tap.empty() ? 0 : 1) + (net.fds.empty() ? 0 : 1) + (net.vhost_user ? 1 : 0);
  if (backends != 1) {
    errors.push_back(
        {backends == 0 ? "MissingKey" : "InvalidValue", label, "tap", net.tap,
         backends == 0 ? "required key is missing" : "tap, fd and vhost_user exclude each other", "",
         "TAP interface, created when it does not exist; or fd, or vhost_user=on with a socket"});
  }
  for (const int fd : net.fds) {
    if (fd > 2) continue;
    errors.push_back({"InvalidValue", label, "fd", std::to_string(fd), "descriptors 0 to 2 are reserved",
                      "3 and above", ""});
  }
  if (net.tap.empty()) return;
  if (!IsInterfaceName(net.tap)) {
    errors.push_back({"InvalidValue", label, "tap", net.tap, "not an interface name",
                      "1 to 15 characters without blank, '/', ':' and '%'", ""});
  } else if (auto [previous, fresh] = taps.try_emplace(net.tap, label); !fresh) {
    errors.push_back({"DuplicateDevicePath", label, "tap", net.tap,
                      "used by " + previous->second + " already", "", "one TAP for each device"});
  }
}

void CheckNets(const std::vector<NetConfig>& nets, bool shared, std::map<std::string, std::string>& sockets,
               ConfigErrors& errors) {
  std::map<std::string, std::string> taps;
  std::map<std::string, size_t> macs;
  for (size_t i = 0; i < nets.size(); ++i) {
    const NetConfig& net = nets[i];
    CheckQueue(net.queue_size, net.limits, Label("net", i), errors);
    if (net.mtu && (*net.mtu < kMinMtu || *net.mtu > UINT16_MAX)) {
      errors.push_back({"InvalidMtu", Label("net", i), "mtu", std::to_string(*net.mtu), "MTU out of range",
                        std::to_string(kMinMtu) + " to 65535", ""});
    }
    CheckNetQueues(net, Label("net", i), errors);
    CheckNetBackend(net, Label("net", i), taps, errors);
    CheckVhostUser(net, shared, Label("net", i), sockets, errors);
    if (!net.mac) continue;
    std::string mac = *net.mac;
    for (char& c : mac) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!IsStationAddress(mac)) {
      errors.push_back({"InvalidValue", Label("net", i), "mac", *net.mac,
                        "not an Ethernet address of a station",
                        "six octets such as 52:54:00:12:34:56, first one even, not all zero", ""});
    } else if (auto [previous, fresh] = macs.try_emplace(mac, i); !fresh) {
      errors.push_back({"DuplicateMac", Label("net", i), "mac", *net.mac,
                        "used by " + Label("net", previous->second) + " already", "", ""});
    }
  }
}

void CheckAssignedDevices(const std::vector<DeviceConfig>& devices, ConfigErrors& errors) {
  std::map<PciAddress, size_t> first;
  for (size_t i = 0; i < devices.size(); ++i) {
    Result<PciAddress> address = HostAddress(devices[i]);
    if (!address.has_value()) {
      errors.push_back({"InvalidValue", Label("device", i), "path", devices[i].path,
                        "not the folder of a PCI function in sysfs", "/sys/bus/pci/devices/DDDD:BB:SS.F",
                        ""});
      continue;
    }
    auto [previous, fresh] = first.try_emplace(*address, i);
    if (fresh) continue;
    errors.push_back({"DuplicateDevicePath", Label("device", i), "path", devices[i].path,
                      "used by " + Label("device", previous->second) + " already", "", ""});
  }
}

void CheckTopology(const CpusConfig& cpus, uint32_t max, ConfigErrors& errors) {
  if (!cpus.topology) return;
  constexpr uint32_t kMaxThreads = 2;
  const CpuTopologyConfig& t = *cpus.topology;
  const std::string given = std::to_string(t.threads_per_core) + ":" + std::to_string(t.cores_per_die) + ":" +
                            std::to_string(t.dies_per_package) + ":" + std::to_string(t.packages);
  const uint64_t product = uint64_t{t.threads_per_core} * t.cores_per_die * t.dies_per_package * t.packages;
  if (t.threads_per_core > kMaxThreads) {
    errors.push_back(
        {"InvalidTopology", "cpus", "topology", given, "too many threads in a core", "1 or 2 threads", ""});
  }
  if (product != max) {
    errors.push_back({"InvalidTopology", "cpus", "topology", given,
                      "threads x cores x dies x packages are " + std::to_string(product) + ", not the " +
                          std::to_string(max) + " of max",
                      "a product of " + std::to_string(max), ""});
  }
  // Each level takes whole bits of an APIC id.
  uint64_t ids = 1;
  for (uint32_t level : {t.threads_per_core, t.cores_per_die, t.dies_per_package}) {
    if (level > 0) ids *= std::bit_ceil(level);
  }
  if (product == max && ids * t.packages > kMaxVcpus + 1) {
    errors.push_back({"InvalidTopology", "cpus", "topology", given, "APIC ids above 254",
                      "levels that are powers of two waste no APIC ids", ""});
  }
}

}  // namespace

Result<PciAddress> HostAddress(const DeviceConfig& device) {
  std::string_view path = device.path;
  if (!path.starts_with("/sys/") || path.find('\0') != std::string_view::npos) {
    return InvalidArgument("\"" + device.path + "\" is not in sysfs");
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  return PciAddress::Parse(path.substr(path.rfind('/') + 1));
}

void CheckBoot(const VmConfig& config, ConfigErrors& errors) {
  const bool confidential = config.platform.confidential != ConfidentialKind::kNone;
  if (config.kernel.empty() && !config.firmware && !(config.igvm && confidential)) {
    errors.push_back({"KernelMissing", "kernel", "", "", "no kernel to boot", "path of a bzImage", ""});
  }
  if (config.firmware && !confidential) {
    CheckPath(*config.firmware, "firmware", "", errors);
    for (const auto& [name, given] :
         {std::pair("kernel", !config.kernel.empty()), std::pair("initramfs", config.initramfs.has_value()),
          std::pair("cmdline", !config.cmdline.empty())}) {
      if (!given) continue;
      errors.push_back({"InvalidValue", name, "", "", "firmware finds by itself what it starts", "",
                        "leave out --firmware or --" + std::string(name)});
    }
  }
  CheckPath(config.kernel, "kernel", "", errors);
  if (config.initramfs) CheckPath(*config.initramfs, "initramfs", "", errors);
  if (config.cmdline.size() > kMaxCmdline || config.cmdline.find('\0') != std::string::npos) {
    errors.push_back({"InvalidCmdline", "cmdline", "", std::to_string(config.cmdline.size()) + " bytes",
                      "too long, or with a zero byte", "up to " + std::to_string(kMaxCmdline) + " bytes",
                      ""});
  }
}

void CheckCpus(const CpusConfig& cpus, ConfigErrors& errors) {
  uint32_t max = MaxVcpus(cpus);
  if (cpus.boot == 0) {
    errors.push_back({"InvalidValue", "cpus", "boot", "0", "a guest without CPUs",
                      "1 to " + std::to_string(kMaxVcpus), ""});
  }
  if (max < cpus.boot) {
    errors.push_back({"CpusMaxLowerThanBoot", "cpus", "max", std::to_string(max),
                      "lower than boot=" + std::to_string(cpus.boot),
                      std::to_string(cpus.boot) + " to " + std::to_string(kMaxVcpus), ""});
  }
  if (std::max(max, cpus.boot) > kMaxVcpus) {
    errors.push_back({"TooManyCpus", "cpus", max >= cpus.boot && cpus.max != 0 ? "max" : "boot",
                      std::to_string(std::max(max, cpus.boot)), "more vCPUs than this version can run",
                      "up to " + std::to_string(kMaxVcpus), ""});
  }
  CheckTopology(cpus, max, errors);
  if (cpus.max_phys_bits && (*cpus.max_phys_bits < kMinPhysBits || *cpus.max_phys_bits > kMaxPhysBits)) {
    errors.push_back({"InvalidValue", "cpus", "max_phys_bits", std::to_string(*cpus.max_phys_bits),
                      "address width out of range",
                      std::to_string(kMinPhysBits) + " to " + std::to_string(kMaxPhysBits), ""});
  }
  for (const auto& [vcpu, host] : cpus.affinity) {
    if (vcpu >= max) {
      errors.push_back(
          {"InvalidVcpu", "cpus", "affinity", std::to_string(vcpu) + "@[" + host.ToString() + "]",
           "a vCPU that the guest does not have", max == 0 ? "" : "0 to " + std::to_string(max - 1), ""});
    }
    if (host.empty()) {
      errors.push_back({"InvalidValue", "cpus", "affinity", std::to_string(vcpu) + "@[]",
                        "no host CPU to run on", "at least one", ""});
    }
  }
}

void CheckDevices(const VmConfig& config, ConfigErrors& errors) {
  CheckSerial(config.serial, "serial", errors);
  CheckSerial(config.console, "console", errors);
  if (config.serial.mode == SerialConfig::Mode::kTty && config.console.mode == SerialConfig::Mode::kTty) {
    errors.push_back({"InvalidValue", "console", "", "tty",
                      "standard input and output belong to the serial port", "",
                      "use --serial off, or another place for one of them"});
  }
  CheckBalloon(config, errors);
  if (config.vsock) CheckVsock(*config.vsock, errors);
  const std::vector<MemoryZoneConfig> zones = EffectiveZones(config);
  const bool shared = std::all_of(zones.begin(), zones.end(),
                                  [](const MemoryZoneConfig& zone) { return zone.shared || zone.hugepages; });
  std::map<std::string, std::string> sockets;
  CheckDisks(config.disks, shared, sockets, errors);
  CheckNets(config.nets, shared, sockets, errors);
  CheckAssignedDevices(config.devices, errors);
  CheckPath(config.rng, "rng", "src", errors);
}

void CheckLandlock(const LandlockConfig& landlock, ConfigErrors& errors) {
  if (!landlock.enable && !landlock.rules.empty()) {
    errors.push_back({"Conflict", "landlock-rules", "", "",
                      "needs --landlock (landlock_enable): nothing is confined without", "",
                      "add it, or leave the rules out"});
  }
  for (size_t i = 0; i < landlock.rules.size(); ++i)
    CheckPath(landlock.rules[i].path, Label("landlock-rules", i), "path", errors);
}

void CheckIdentifiers(const VmConfig& config, ConfigErrors& errors) {
  std::map<std::string, std::string> taken;  // id -> label of its first owner
  // Devices that there is one of have fixed names.
  if (!config.rng.empty()) taken.emplace("rng0", "rng");
  if (config.balloon) taken.emplace("balloon0", "balloon");
  if (config.console.mode != SerialConfig::Mode::kOff) taken.emplace("console0", "console");
  if (config.pvpanic) taken.emplace("pvpanic0", "pvpanic");
  auto check = [&](const std::string& id, const char* option, size_t index) {
    std::string label = Label(option, index);
    if (id.empty() || id.starts_with("__") || id.find('\0') != std::string::npos) {
      errors.push_back({"InvalidIdentifier", label, "id", id, "not an identifier",
                        "text that is not empty and does not begin with __", ""});
      return;
    }
    auto [owner, fresh] = taken.try_emplace(id, label);
    if (fresh) return;
    bool zones = option == std::string_view("memory-zone") && owner->second.starts_with("memory-zone");
    errors.push_back({zones ? "DuplicateZoneId" : "IdentifierNotUnique", label, "id", id,
                      "used by " + owner->second + " already", "", "zones and devices share one name space"});
  };
  for (size_t i = 0; i < config.memory_zones.size(); ++i) check(config.memory_zones[i].id, "memory-zone", i);
  for (size_t i = 0; i < config.sgx_epc.size(); ++i) check(config.sgx_epc[i].id, "sgx-epc", i);
  for (size_t i = 0; i < config.disks.size(); ++i) check(config.disks[i].id, "disk", i);
  for (size_t i = 0; i < config.nets.size(); ++i) check(config.nets[i].id, "net", i);
  for (size_t i = 0; i < config.devices.size(); ++i) check(config.devices[i].id, "device", i);
  if (config.vsock) check(config.vsock->id, "vsock", 0);
}

}  // namespace berth::vmm
