#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

enum class VmState { kCreated, kRunning, kPaused, kShutdown };
// "Created", "Running", "Paused", "Shutdown": the words of vm.info.
std::string_view VmStateName(VmState state);

struct VcpuFacts {
  uint32_t id = 0;
  pid_t tid = 0;     // of its thread, 0 while it has none
  CpuSet host_cpus;  // given affinity; empty: wherever the process may run
};

struct MemoryRegionFacts {
  std::string zone;
  uint64_t base = 0;  // guest-physical
  uint64_t size = 0;
  uint64_t host_address = 0;  // as in /proc/PID/numa_maps
  std::optional<uint32_t> host_numa_node;
};

struct ThreadFacts {
  std::string name;
  pid_t tid = 0;
};

// What vm.info tells beside the configuration.
struct VmFacts {
  VmState state = VmState::kCreated;
  std::vector<VcpuFacts> vcpus;
  std::vector<MemoryRegionFacts> memory_regions;
  std::vector<ThreadFacts> threads;  // others than vCPUs: "api", "devices", ...
};

// Device id -> counter -> value, for example counters["disk0"]["read_bytes"].
using VmCounters = std::map<std::string, std::map<std::string, uint64_t>>;

enum class VmAction {
  kPowerButton,  // press it; the guest decides
  kPause,
  kResume,
  kReboot,    // reset and start again
  kShutdown,  // stop the vCPUs without asking the guest; the process stays
  kExit,      // stop everything and end the process
};

// What the API can ask of the machine; implemented by the machine. Every call may come from the API's thread
// at any time and must not wait for that thread.
class VmControl {
 public:
  virtual ~VmControl() = default;
  // Fixed while the object lives.
  virtual const VmConfig& config() const = 0;
  virtual VmFacts Facts() = 0;
  virtual VmCounters Counters() = 0;
  // Returns when the action has happened, for kPowerButton, kReboot and kExit when it has been asked for.
  // kFailedPrecondition when the state does not allow it; the message names the state.
  virtual Status Perform(VmAction action) = 0;
};

}  // namespace berth::vmm
