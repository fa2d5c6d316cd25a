#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/config/config_error.h"
#include "vmm/config/restored_nets.h"
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
  uint64_t plugged = 0;       // of `size`, what is RAM now
  std::optional<uint32_t> host_numa_node;
};

struct ThreadFacts {
  std::string name;
  pid_t tid = 0;
};

// How far the guest is with what was asked of it.
enum class HotplugState {
  kPending,
  kDone,
  kTimedOut,
  kDropped,  // the guest has been reset or has ended before; only as an event
};
// "Pending", "Done", "TimedOut", "Dropped".
std::string_view HotplugStateName(HotplugState state);

struct HotplugFacts {
  std::string subject;  // "vcpus", "memory", "zone ID", "device ID"
  uint64_t wanted = 0;  // vCPUs, bytes; 0 or 1 device
  uint64_t actual = 0;
  HotplugState state = HotplugState::kPending;
};

struct DeviceFacts {
  std::string id;
  std::string place;  // "0000:00:03.0"
};

// Of a confidential guest.
struct ConfidentialFacts {
  std::string platform;     // "tdx"
  std::string measurement;  // "mrtd", "launch_digest"; empty where the platform does not measure
  std::string digest;       // hexadecimal
  uint64_t private_bytes = 0;
  uint64_t shared_bytes = 0;
  // Of the private bytes, those of zones that are bound to a host node, by it; the others may lie anywhere.
  std::map<uint32_t, uint64_t> private_by_node;
  // Through which a Linux guest reaches its devices: as large as its kernel makes it, in the zone at the top
  // of the memory below 4 GiB.
  uint64_t bounce_bytes = 0;
  std::optional<uint32_t> bounce_node;
};

// What vm.info tells beside the configuration.
struct VmFacts {
  VmState state = VmState::kCreated;
  std::vector<VcpuFacts> vcpus;
  std::vector<MemoryRegionFacts> memory_regions;
  uint64_t balloon = 0;  // bytes that the guest has handed out
  std::vector<HotplugFacts> hotplug;
  std::vector<DeviceFacts> devices;
  std::optional<ConfidentialFacts> confidential;
  std::vector<ThreadFacts> threads;  // others than vCPUs: "api", "devices", ...
};

// Device id -> counter -> value, for example counters["disk0"]["read_bytes"].
using VmCounters = std::map<std::string, std::map<std::string, uint64_t>>;

enum class VmAction {
  kPowerButton,  // press it; the guest decides
  kNmi,          // to all vCPUs
  kPause,
  kResume,
  kReboot,    // reset and start again
  kShutdown,  // stop the vCPUs without asking the guest; the process stays
  kExit,      // stop everything and end the process
};

std::string_view VmActionName(VmAction action);  // the verb: "power-button"

// Sizes that the guest shall have. It does its part in its own time: VmFacts::hotplug tells how far it is.
struct ResizeRequest {
  std::optional<uint32_t> vcpus;
  std::optional<uint64_t> ram;      // all of it, that of the boot included
  std::optional<uint64_t> balloon;  // of it, what the guest hands out
  std::chrono::milliseconds timeout{60000};
};

struct RestoreRequest {
  std::string directory;
  std::optional<bool> prefault;  // instead of what the configuration says
  bool on_demand = false;        // memory comes when it is touched
  bool resume = false;           // else the VM stays paused
  std::vector<RestoredNet> nets = {};
  std::vector<UniqueFd> fds = {};  // that `nets` names
};

struct AddedDevice {
  std::string id;
  std::optional<std::string> place;  // none while the machine has not booted
};

// What the API can ask of the machine; implemented by the machine. Every call may come from the API's thread
// at any time and must not wait for that thread.
class VmControl {
 public:
  virtual ~VmControl() = default;
  // Whether there is a VM: nothing below that concerns one is called without.
  virtual bool exists() = 0;
  // `json`: as of vm.create. kInvalidArgument, with all that is wrong in `errors` as well; kAlreadyExists.
  virtual Status Create(std::string_view json, ConfigErrors& errors) = 0;
  virtual Status Boot() = 0;
  // Stops it, and lets go of everything. OK when there is none.
  virtual Status Delete() = 0;
  // As it is now, with what was added and resized.
  virtual VmConfig config() = 0;
  virtual VmFacts Facts() = 0;
  virtual VmCounters Counters() = 0;
  // Returns when the action has happened, for kPowerButton, kNmi, kReboot and kExit when it has been asked
  // for. kFailedPrecondition when the state does not allow it; the message names the state.
  virtual Status Perform(VmAction action) = 0;
  // kInvalidArgument for a size that the machine cannot have, kFailedPrecondition when the state does not
  // allow it, kResourceExhausted when the host has not enough. Nothing is asked of the guest then.
  virtual Status Resize(const ResizeRequest& request) = 0;
  // `ram`: all of the zone's, that of the boot included.
  virtual Status ResizeZone(const std::string& zone, uint64_t ram, std::chrono::milliseconds timeout) = 0;
  // Makes a disk's file, and the disk, larger.
  virtual Status ResizeDisk(const std::string& id, uint64_t bytes) = 0;
  // Writes the paused VM into a directory that has no snapshot yet.
  virtual Status Snapshot(const std::string& directory) = 0;
  // Makes the VM of a snapshot, in the place of Create and Boot.
  virtual Status Restore(RestoreRequest request) = 0;
  // Writes a core file of the paused guest; the file must not exist.
  virtual Status CoreDump(const std::string& path) = 0;
  // What the host lacks for a configuration (as of vm.create; empty: for this VM), as JSON. `errors` as of
  // Create.
  virtual Result<std::string> Preflight(std::string_view json, ConfigErrors& errors) = 0;
  // Bytes on each node of the host, and whether everything is where it was to be; as JSON.
  virtual std::string Accounting() = 0;
  virtual std::string Placement() = 0;
  // `option`: "disk", "net", "device" or "vsock"; `json`: the device as vm.create has it; `fds`: what came
  // with it, for a network device the descriptors of its TAP; `errors` as of Create.
  virtual Result<AddedDevice> AddDevice(std::string_view option, std::string_view json,
                                        std::vector<UniqueFd> fds, ConfigErrors& errors) = 0;
  // Asks the guest to let go of a device.
  virtual Status RemoveDevice(const std::string& id, std::chrono::milliseconds timeout) = 0;
};

}  // namespace berth::vmm
