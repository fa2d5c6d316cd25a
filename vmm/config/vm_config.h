#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/byte_size.h"
#include "common/cpu_set.h"

// What a virtual machine is to be, as plain values: the result of the command line or of vm.create's JSON,
// validated by ValidateConfig. The option names and rules are those of seed 001 and Cloud Hypervisor.
namespace berth::vmm {

// How the guest's vCPUs are grouped. The product is the number of vCPUs that it could ever have.
struct CpuTopologyConfig {
  uint32_t threads_per_core = 1;
  uint32_t cores_per_die = 1;
  uint32_t dies_per_package = 1;
  uint32_t packages = 1;

  friend bool operator==(const CpuTopologyConfig&, const CpuTopologyConfig&) = default;
};

// A file, or a folder with all below it, that the process may use beside what the VM's other options name.
struct LandlockRule {
  std::string path;
  bool write = false;

  friend bool operator==(const LandlockRule&, const LandlockRule&) = default;
};

// Whether the process confines itself to what the VM needs (vmm/jail/confinement.h).
struct LandlockConfig {
  bool enable = false;
  std::vector<LandlockRule> rules;

  friend bool operator==(const LandlockConfig&, const LandlockConfig&) = default;
};

// Who may share a core with a vCPU's thread while the guest runs, where the host's cores have several
// hardware threads: whoever the kernel picks, no other vCPU and nobody else, or none but this process (Linux:
// core scheduling, Documentation/admin-guide/hw-vuln/core-scheduling.rst).
enum class CoreScheduling { kOff, kVcpu, kVm };

struct CpusConfig {
  uint32_t boot = 1;
  uint32_t max = 0;                     // 0: same as boot
  std::map<uint32_t, CpuSet> affinity;  // vCPU -> host CPUs that its thread may run on
  std::optional<CpuTopologyConfig> topology = std::nullopt;
  std::optional<uint32_t> max_phys_bits = std::nullopt;  // fewer guest-physical address bits than the host's
  CoreScheduling core_scheduling = CoreScheduling::kOff;

  friend bool operator==(const CpusConfig&, const CpusConfig&) = default;
};

// How RAM comes and goes while the guest runs.
enum class HotplugMethod { kAcpi, kVirtioMem };

struct MemoryConfig {
  ByteSize size = MiB(512);  // 0 when zones are given
  bool mergeable = false;
  bool shared = false;
  bool hugepages = false;
  std::optional<ByteSize> hugepage_size;
  bool prefault = false;
  bool reserve = true;  // of swap; off: MAP_NORESERVE
  bool thp = true;      // transparent huge pages
  HotplugMethod hotplug_method = HotplugMethod::kAcpi;
  std::optional<ByteSize> hotplug_size = std::nullopt;     // what can be added
  std::optional<ByteSize> hotplugged_size = std::nullopt;  // of it, what is there at boot

  friend bool operator==(const MemoryConfig&, const MemoryConfig&) = default;
};

struct MemoryZoneConfig {
  std::string id;
  ByteSize size;
  std::optional<std::string> file;  // file or directory
  bool mergeable = false;
  bool shared = false;
  bool hugepages = false;
  std::optional<ByteSize> hugepage_size;
  std::optional<uint32_t> host_numa_node;
  bool prefault = false;
  bool reserve = true;
  bool thp = true;  // --memory's
  std::optional<ByteSize> hotplug_size = std::nullopt;
  std::optional<ByteSize> hotplugged_size = std::nullopt;
  bool restored = false;  // no option: the file has the only copy of a saved guest's memory

  friend bool operator==(const MemoryZoneConfig&, const MemoryZoneConfig&) = default;
};

struct NumaConfig {
  uint32_t guest_numa_id = 0;
  CpuSet cpus = {};                            // vCPUs
  std::map<uint32_t, uint8_t> distances = {};  // guest_numa_id -> distance
  std::vector<std::string> memory_zones = {};
  std::vector<std::string> sgx_epc_sections = {};
  CpuSet pci_segments = {};
  std::optional<std::string> device_id = std::nullopt;  // of a node that is nothing but this device

  friend bool operator==(const NumaConfig&, const NumaConfig&) = default;
};

// How the guest's memory is kept from the host.
enum class ConfidentialKind { kNone, kSwProtected, kTdx, kSevSnp, kVirtcca };
// "none", "sw-protected", "tdx", "sev-snp", "virtcca": the words of --platform confidential.
const char* ConfidentialName(ConfidentialKind kind);

// The virtual IOMMU's model. An Arm SMMUv3 is known so that it can be refused with the reason.
enum class IommuModel { kVirtio, kIntel, kSmmuv3 };
// "virtio", "intel", "smmuv3": the words of --platform iommu_model.
const char* IommuModelName(IommuModel model);

struct PlatformConfig {
  uint32_t num_pci_segments = 1;
  IommuModel iommu_model = IommuModel::kVirtio;
  CpuSet iommu_segments = {};  // all of whose devices are behind the virtual IOMMU
  // Bits of the addresses that it translates; none: 64 of virtio, of Intel 48 where the host has as many,
  // or 39.
  std::optional<uint32_t> iommu_address_width = std::nullopt;
  ConfidentialKind confidential = ConfidentialKind::kNone;
  std::optional<std::string> quote_socket = std::nullopt;  // of the service that signs reports (TDX)
  // What an SEV-SNP guest's owner allows; by default simultaneous multi-threading, and nothing else.
  uint64_t snp_policy = 0x30000;

  friend bool operator==(const PlatformConfig&, const PlatformConfig&) = default;
};

// A segment's share of the address space for PCI BARs, in relation to the other segments'.
struct PciSegmentConfig {
  uint32_t segment = 0;
  uint32_t mmio32_weight = 1;
  uint32_t mmio64_weight = 1;

  friend bool operator==(const PciSegmentConfig&, const PciSegmentConfig&) = default;
};

struct SgxEpcConfig {
  std::string id;
  ByteSize size;
  bool prefault = false;

  friend bool operator==(const SgxEpcConfig&, const SgxEpcConfig&) = default;
};

// Token buckets of a device. A size of 0 means no limit.
struct RateLimit {
  uint64_t size = 0;            // bytes or requests in one refill time
  uint64_t one_time_burst = 0;  // on top, once
  uint64_t refill_ms = 0;

  friend bool operator==(const RateLimit&, const RateLimit&) = default;
};
struct RateLimits {
  RateLimit bandwidth = {};
  RateLimit operations = {};

  friend bool operator==(const RateLimits&, const RateLimits&) = default;
};

struct DiskConfig {
  std::string path;  // empty when another process serves the disk
  bool readonly = false;
  bool direct = false;  // O_DIRECT
  std::string id;       // generated when empty ("disk0", ...)
  uint32_t num_queues = 1;
  uint32_t queue_size = 256;
  bool vhost_user = false;  // served by another process
  std::optional<std::string> vhost_socket = std::nullopt;
  bool io_uring = true;  // where the kernel has it
  RateLimits limits = {};
  std::optional<std::string> serial = std::nullopt;  // what the guest reads; the id otherwise
  uint32_t pci_segment = 0;
  bool iommu = false;  // behind the virtual IOMMU

  friend bool operator==(const DiskConfig&, const DiskConfig&) = default;
};

// One of `tap`, `fds` and `vhost_user`.
struct NetConfig {
  std::string tap = {};  // existing or to be created
  std::optional<std::string> mac;
  std::string id;
  std::vector<int> fds = {};  // of a TAP, one for each pair of queues, opened by somebody else
  std::optional<uint32_t> num_queues = std::nullopt;  // receive and transmit queues together
  uint32_t queue_size = 256;
  bool vhost_user = false;
  std::optional<std::string> vhost_socket = std::nullopt;
  std::optional<uint32_t> mtu = std::nullopt;
  RateLimits limits = {};
  uint32_t pci_segment = 0;
  bool iommu = false;

  friend bool operator==(const NetConfig&, const NetConfig&) = default;
};

// A PCI function of the host, assigned to the guest by VFIO.
struct DeviceConfig {
  std::string path;  // "/sys/bus/pci/devices/0000:21:10.0", perhaps with a slash at its end
  std::string id;    // generated when empty ("device0", ...)
  uint32_t pci_segment = 0;
  bool iommu = false;

  friend bool operator==(const DeviceConfig&, const DeviceConfig&) = default;
};

// Where bytes of the serial port or of the virtio console go.
struct SerialConfig {
  enum class Mode { kOff, kNull, kTty, kFile, kSocket, kPty };
  Mode mode = Mode::kTty;  // the process's standard input and output
  std::string path;  // for kFile and kSocket (a listening UNIX socket; output is also kept in a 64 KiB ring)

  friend bool operator==(const SerialConfig&, const SerialConfig&) = default;
};

struct BalloonConfig {
  ByteSize size;  // taken from the guest at boot
  bool deflate_on_oom = false;
  bool free_page_reporting = false;

  friend bool operator==(const BalloonConfig&, const BalloonConfig&) = default;
};

// Sockets between guest and host. A connection from the guest to port N goes to the UNIX socket "SOCKET_N".
struct VsockConfig {
  uint32_t cid = 3;
  std::string socket;
  std::string id;
  uint32_t pci_segment = 0;
  bool iommu = false;

  friend bool operator==(const VsockConfig&, const VsockConfig&) = default;
};

struct VmConfig {
  std::string kernel;  // may be empty where there is firmware
  std::optional<std::string> firmware =
      std::nullopt;  // instead of a kernel; TDVF or td-shim (TDX), OVMF (SEV-SNP)
  std::optional<std::string> igvm = std::nullopt;       // instead of it (SEV-SNP)
  std::optional<std::string> host_data = std::nullopt;  // hexadecimal; goes into the guest's reports
  std::optional<std::string> initramfs;
  std::string cmdline;
  CpusConfig cpus;
  MemoryConfig memory;
  std::vector<MemoryZoneConfig> memory_zones;
  std::vector<NumaConfig> numa;
  PlatformConfig platform;
  std::vector<PciSegmentConfig> pci_segments;
  std::vector<SgxEpcConfig> sgx_epc;
  std::vector<DiskConfig> disks;
  std::vector<NetConfig> nets;
  std::vector<DeviceConfig> devices;
  std::string rng = "/dev/urandom";  // empty: no device
  bool rng_iommu = false;
  SerialConfig serial;
  SerialConfig console = {SerialConfig::Mode::kOff, ""};
  std::optional<BalloonConfig> balloon;
  std::optional<VsockConfig> vsock;
  bool pvpanic = false;
  LandlockConfig landlock;

  friend bool operator==(const VmConfig&, const VmConfig&) = default;
};

}  // namespace berth::vmm
