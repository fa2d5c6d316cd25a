#include "vmm/jail/jail.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <vector>

namespace berth::vmm {
namespace {

Status CloseInherited(const std::set<int>& kept) {
  std::vector<int> open;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename().string();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    if (fd > STDERR_FILENO && !kept.contains(fd)) open.push_back(fd);
  }
  if (error) return Internal("list the open descriptors: " + error.message());
  for (int fd : open) ::close(fd);  // the listing's own is closed already
  return OkStatus();
}

Status LeaveNamespaces() {
  if (::unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) != 0)
    return ErrnoStatus("leave the host's namespaces", errno);
  // What is mounted from now on stays here.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
    return ErrnoStatus("make mounts private", errno);
  return OkStatus();
}

Status Limit(decltype(RLIMIT_NOFILE) what, uint64_t value, const char* name) {
  const rlimit limit{value, value};
  if (::setrlimit(what, &limit) == 0) return OkStatus();
  return ErrnoStatus(std::string("limit ") + name + " to " + std::to_string(value), errno);
}

// RAM that is mapped for a device is locked, and counted against a limit that a user without capabilities
// cannot raise again. Not all root may raise it: then it stays at what it can be.
Status AllowLockedMemory() {
  rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_MEMLOCK, &limit) == 0) return OkStatus();
  if (errno != EPERM || ::getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
    return ErrnoStatus("limit locked memory", errno);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_MEMLOCK, &limit) == 0) return OkStatus();
  return ErrnoStatus("limit locked memory", errno);
}

// A user that is not root has none any more, root has none either: files of its own are what it can open.
Status DropCapabilities() {
  for (unsigned long capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
      return ErrnoStatus("drop capability " + std::to_string(capability), errno);
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capset, &header, none) != 0) return ErrnoStatus("drop all capabilities", errno);
  return OkStatus();
}

Status DropPrivileges(const JailConfig& config) {
  if (config.gid || config.uid) {
    if (::setgroups(0, nullptr) != 0) return ErrnoStatus("drop supplementary groups", errno);
  }
  if (config.gid && ::setresgid(*config.gid, *config.gid, *config.gid) != 0) {
    return ErrnoStatus("become group " + std::to_string(*config.gid), errno);
  }
  if (config.uid.value_or(0) == 0) TRY(DropCapabilities());
  if (config.uid && ::setresuid(*config.uid, *config.uid, *config.uid) != 0) {
    return ErrnoStatus("become user " + std::to_string(*config.uid), errno);
  }
  if (config.uid.value_or(0) != 0 && ::setuid(0) == 0) return Internal("the user could be taken back");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus("no new privileges", errno);
  // Nobody traces it or reads its memory: guest RAM is in it.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return ErrnoStatus("make the process undumpable", errno);
  return OkStatus();
}

}  // namespace

Status EnterJail(const JailConfig& config, const std::set<int>& kept, const std::string& cgroup_root) {
  auto step = [](Status status) { return status.ok() ? status : std::move(status).WithContext("jail"); };
  TRY(step(CloseInherited(kept)));
  if (config.cgroup) TRY(step(EnterCgroup(*config.cgroup, config.limits, cgroup_root)));
  TRY(step(LeaveNamespaces()));
  TRY(step(Limit(RLIMIT_NOFILE, config.open_files, "open files")));
  TRY(step(Limit(RLIMIT_CORE, 0, "core dumps")));
  TRY(step(AllowLockedMemory()));
  return step(DropPrivileges(config));
}

}  // namespace berth::vmm
