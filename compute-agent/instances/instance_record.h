#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/pci_address.h"
#include "common/status.h"
#include "common/uuid.h"
#include "compute-agent/devices/host_config.h"
#include "compute-agent/instances/disk_attachment.h"
#include "compute-agent/instances/instance_action.h"
#include "placement/model/claim.h"

namespace berth::agent {

// How far an instance has come. Written before the step that it names is taken.
enum class Phase {
  kPreparing,  // devices are being bound; no process was started, or its start is to be repeated
  kStarting,   // a process was forked (see ProcessId); it may not have reached exec
  kRunning,    // the VMM answered on its API socket
  kExited,     // the process is gone, `outcome` says how; started again only when asked
};

// Identifies a process beyond the reuse of its number.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_time = 0;  // clock ticks since boot: field 22 of /proc/PID/stat
  std::string boot_id;      // /proc/sys/kernel/random/boot_id

  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

struct BoundDevice {
  PciAddress address;
  std::string original_driver;  // to be restored; empty: none
  bool managed = true;          // its driver is changed and restored
  bool port = false;            // it is set up as its port wants it, which is to be taken back

  friend bool operator==(const BoundDevice&, const BoundDevice&) = default;
};

// How a VMM ended.
struct Outcome {
  placement::InstanceState state = placement::InstanceState::kStopped;  // kStopped or kFailed
  std::string detail;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// What the agent remembers of one instance over its own restarts (RecordStore keeps it). A value type.
struct InstanceRecord {
  Uuid consumer;
  std::string name;
  Phase phase = Phase::kPreparing;
  Goal goal = Goal::kRunning;
  bool reboot = false;  // the process is to end, and another one to be started
  bool reset = false;   // the machine is to be reset; may happen twice if the agent ends meanwhile
  std::vector<DiskAttachment> disks;
  uint32_t attempts = 0;  // processes forked so far
  uint32_t restarts = 0;  // in a row, by policy
  ProcessId process;
  std::vector<std::string> arguments;  // of the VMM, without argv[0]
  std::vector<BoundDevice> devices;    // given to vfio-pci, or about to be
  std::vector<std::string> taps;       // TAP interfaces made for it, or about to be
  PageCounts huge_pages;               // that the guest's memory takes
  std::string claim;                   // as ClaimReporter::EncodeClaim gave it; empty: cannot be made again
  std::string note;                    // shown in the status of a running instance
  std::optional<Outcome> outcome;

  std::string ToJson() const;
  // kDataLoss: not a record.
  static Result<InstanceRecord> FromJson(std::string_view text);

  friend bool operator==(const InstanceRecord&, const InstanceRecord&) = default;
};

}  // namespace berth::agent
