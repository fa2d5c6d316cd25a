#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "common/status.h"
#include "vmm/jail/cgroup.h"

namespace berth::vmm {

// What --jail asks for.
struct JailConfig {
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<std::string> cgroup;
  CgroupLimits limits;
  uint64_t open_files = 2048;
};

// Confines this process, which has one thread and runs as root, before it opens anything: closes what it
// inherited but standard streams and `kept`, enters the control group, leaves the mount, IPC and UTS
// namespaces of the host, limits open files and core dumps, and becomes the user and the group that are
// given, without supplementary groups. Nobody keeps capabilities, root (without a user) neither. What the VMM
// opens later (/dev/kvm, TAPs, images) must be open to that user. Errors say which step failed; the process
// must end then.
Status EnterJail(const JailConfig& config, const std::set<int>& kept,
                 const std::string& cgroup_root = "/sys/fs/cgroup");

}  // namespace berth::vmm
