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

struct CpusConfig {
  uint32_t boot = 1;
  uint32_t max = 0;                     // 0: same as boot
  std::map<uint32_t, CpuSet> affinity;  // vCPU -> host CPUs that its thread may run on

  friend bool operator==(const CpusConfig&, const CpusConfig&) = default;
};

struct MemoryConfig {
  ByteSize size = MiB(512);  // 0 when zones are given
  bool mergeable = false;
  bool shared = false;
  bool hugepages = false;
  std::optional<ByteSize> hugepage_size;
  bool prefault = false;

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

  friend bool operator==(const MemoryZoneConfig&, const MemoryZoneConfig&) = default;
};

struct NumaConfig {
  uint32_t guest_numa_id = 0;
  CpuSet cpus;                            // vCPUs
  std::map<uint32_t, uint8_t> distances;  // guest_numa_id -> distance
  std::vector<std::string> memory_zones;

  friend bool operator==(const NumaConfig&, const NumaConfig&) = default;
};

struct DiskConfig {
  std::string path;
  bool readonly = false;
  bool direct = false;  // O_DIRECT
  std::string id;       // generated when empty ("disk0", ...)

  friend bool operator==(const DiskConfig&, const DiskConfig&) = default;
};

struct NetConfig {
  std::string tap;  // existing or to be created
  std::optional<std::string> mac;
  std::string id;

  friend bool operator==(const NetConfig&, const NetConfig&) = default;
};

// Where bytes of the serial port go.
struct SerialConfig {
  enum class Mode { kOff, kNull, kTty, kFile, kSocket };
  Mode mode = Mode::kTty;  // the process's standard input and output
  std::string path;  // for kFile and kSocket (a listening UNIX socket; output is also kept in a 64 KiB ring)

  friend bool operator==(const SerialConfig&, const SerialConfig&) = default;
};

struct VmConfig {
  std::string kernel;
  std::optional<std::string> initramfs;
  std::string cmdline;
  CpusConfig cpus;
  MemoryConfig memory;
  std::vector<MemoryZoneConfig> memory_zones;
  std::vector<NumaConfig> numa;
  std::vector<DiskConfig> disks;
  std::vector<NetConfig> nets;
  std::string rng = "/dev/urandom";  // empty: no device
  SerialConfig serial;

  friend bool operator==(const VmConfig&, const VmConfig&) = default;
};

}  // namespace berth::vmm
