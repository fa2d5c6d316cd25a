#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/log.h"
#include "vmm/config/config_error.h"
#include "vmm/config/restored_nets.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

// What the process gives up before it opens anything.
struct JailOptions {
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<std::string> cgroup;
  std::optional<CpuSet> cpus;
  std::optional<CpuSet> nodes;
  std::optional<uint64_t> memory;
  std::optional<uint64_t> huge_pages_2m;
  std::optional<uint64_t> huge_pages_1g;
  std::optional<uint64_t> processes;
  uint64_t open_files = 2048;
};

// What happens to system calls that a thread does not need.
enum class SeccompMode { kOff, kLog, kKill };

// A snapshot to go on from.
struct RestoreCommand {
  std::string directory;
  std::optional<bool> prefault;
  bool on_demand = false;
  bool resume = false;
  std::vector<RestoredNet> nets;  // with inherited descriptors
};

// What the command line of berth-vmm asks for.
struct CommandLine {
  enum class Action { kRun, kCheck, kHelp, kVersion };
  Action action = Action::kRun;
  // Validated, unless action is kHelp or kVersion. Its `landlock` counts without a VM as well.
  VmConfig config;
  // Whether any option describes a VM. Without one, and with an API socket, the VM comes by vm.create.
  bool has_vm = true;
  std::optional<std::string> api_socket;
  std::optional<int> api_fd;  // instead of it: an inherited socket that listens
  std::optional<std::string> log_file;
  std::optional<std::string> event_path;  // of --event-monitor: one of both
  std::optional<int> event_fd;
  std::optional<JailOptions> jail;
  SeccompMode seccomp = SeccompMode::kKill;
  std::optional<RestoreCommand> restore;  // then has_vm is false
  LogLevel log_level = LogLevel::kInfo;
  bool json = false;  // errors and the result of --check as JSON
};

// Reads and validates the arguments (without argv[0]). Every error that can be found is reported, those of
// the grammar and those of ValidateConfig together. Pure: looks at no file and no host.
ConfigResult<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments);
inline ConfigResult<CommandLine> ParseCommandLine(int argc, char** argv) {
  return ParseCommandLine(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}

// Whether the arguments ask for --json, for the format of errors when the rest cannot be read.
bool WantsJson(const std::vector<std::string>& arguments);

}  // namespace berth::vmm
