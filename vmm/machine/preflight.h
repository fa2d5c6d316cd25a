#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/config/command_line.h"
#include "vmm/config/vm_config.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/assigned_devices.h"

namespace berth::vmm {

// One thing that this host lacks for a valid configuration, or does worse than it could.
struct Finding {
  enum class Severity { kError, kWarning };
  Severity severity = Severity::kError;
  std::string code;        // stable name: "HugePagesMissing"
  std::string option;      // that is concerned
  std::string message;     // what is wrong, with what is needed and what there is
  std::string hint;        // what to do, or empty
  std::string about = {};  // words of what fails for this cause, where it fails in others than `message`

  friend bool operator==(const Finding&, const Finding&) = default;
};

// Looks at everything before anything is opened for good, and reports all of it: KVM, kernel and initramfs,
// huge pages and limits, host nodes, CPUs, backing files, disks, assigned devices, SGX, and where vCPUs and
// their memory lie. `kvm` may be null when there is none; `root`: of /sys, /proc and /dev.
std::vector<Finding> Preflight(const VmConfig& config, Kvm* kvm, const std::string& root = "/",
                               const VfioSource& vfio = KernelVfio());

// What stands against a path that the process is to make or to write: its folder, its kind, its rights.
enum class Output { kFile, kSocket };
std::optional<Finding> CheckOutput(const std::string& option, const std::string& path, Output kind);

// The same for a whole command line: its VM, its log, its API's socket and its events.
std::vector<Finding> Preflight(const CommandLine& line, Kvm* kvm);
// After a start that has failed: the errors among them, and the failure itself unless one of them tells it.
std::vector<Finding> ExplainFailure(const CommandLine& line, Kvm* kvm, const Status& failure);

// Whether SGX sections can be given to the guest, when there are any.
Status CheckSgx(const VmConfig& config, const std::string& root = "/");

// "error HugePagesMissing memory: ... (hint)", a line each.
std::string ToText(const std::vector<Finding>& findings);
// An array of {severity, code, option, message, hint}.
std::string ToJson(const std::vector<Finding>& findings);
bool HasErrors(const std::vector<Finding>& findings);

}  // namespace berth::vmm
