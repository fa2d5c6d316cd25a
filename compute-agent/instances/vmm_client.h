#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"

namespace berth::agent {

// A NUMA node of the guest, as the machine's SRAT tells the guest of it.
struct GuestNode {
  uint32_t id = 0;  // guest_numa_id
  CpuSet cpus;      // guest CPU numbers
  uint64_t memory_bytes = 0;
  std::set<uint32_t> host_nodes;  // that its memory is bound to

  friend bool operator==(const GuestNode&, const GuestNode&) = default;
};

// What vm.info says of a machine, as far as the agent looks at it.
struct VmmInfo {
  std::string state;              // "Created", "Running", "Paused", "Shutdown"
  std::set<std::string> devices;  // ids of its devices, also of those that the guest is to let go of
  std::vector<GuestNode> nodes;   // as they were given to the VMM
};

// The few calls of the VMM's REST API (HTTP/1.1 over a UNIX socket) that the agent needs. Each call opens a
// connection of its own and is bounded by the timeout. kUnavailable: nobody listens (yet); kDeadlineExceeded:
// no answer in time; kFailedPrecondition: the VMM refused, with its text.
class VmmClient {
 public:
  explicit VmmClient(std::string socket_path, std::chrono::milliseconds timeout = std::chrono::seconds(1))
      : socket_path_(std::move(socket_path)), timeout_(timeout) {}

  Status Ping() const { return Call("GET", "vmm.ping").status(); }
  // Asks the guest's operating system to shut down.
  Status PowerButton() const { return Call("PUT", "vm.power-button").status(); }
  Status Pause() const { return Call("PUT", "vm.pause").status(); }
  Status Resume() const { return Call("PUT", "vm.resume").status(); }
  // The machine starts anew, in the same process.
  Status Reset() const { return Call("PUT", "vm.reboot").status(); }
  Result<VmmInfo> Info() const;
  // `json`: the disk, or the host's device, as vm.create has it.
  Status AddDisk(std::string_view json) const { return Call("PUT", "vm.add-disk", json).status(); }
  Status AddDevice(std::string_view json) const { return Call("PUT", "vm.add-device", json).status(); }
  // Asks the guest to let go of it; Info tells when it has.
  Status RemoveDevice(const std::string& id) const;

 private:
  Result<std::string> Call(std::string_view method, std::string_view name, std::string_view body = {}) const;

  std::string socket_path_;
  std::chrono::milliseconds timeout_;
};

}  // namespace berth::agent
