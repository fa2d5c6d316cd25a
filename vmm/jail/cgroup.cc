#include "vmm/jail/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "common/unique_fd.h"

namespace berth::vmm {
namespace {

struct Setting {
  std::string_view controller;
  std::string_view file;
  std::string value;
};

std::vector<Setting> SettingsOf(const CgroupLimits& limits) {
  std::vector<Setting> settings;
  if (limits.cpus) settings.push_back({"cpuset", "cpuset.cpus", limits.cpus->ToString()});
  if (limits.nodes) settings.push_back({"cpuset", "cpuset.mems", limits.nodes->ToString()});
  if (limits.memory) settings.push_back({"memory", "memory.max", std::to_string(*limits.memory)});
  if (limits.huge_pages_2m)
    settings.push_back({"hugetlb", "hugetlb.2MB.max", std::to_string(*limits.huge_pages_2m)});
  if (limits.huge_pages_1g)
    settings.push_back({"hugetlb", "hugetlb.1GB.max", std::to_string(*limits.huge_pages_1g)});
  if (limits.processes) settings.push_back({"pids", "pids.max", std::to_string(*limits.processes)});
  return settings;
}

Status WriteControl(const std::string& path, const std::string& value) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus("open " + path, errno).WithField("jail");
  if (::write(fd.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size())) return OkStatus();
  return ErrnoStatus("write " + value + " to " + path, errno).WithField("jail");
}

}  // namespace

Status EnterCgroup(const std::string& name, const CgroupLimits& limits, const std::string& root) {
  if (!name.starts_with('/') || name.size() < 2 || name.ends_with('/') ||
      name.find("/..") != std::string::npos || name.find("//") != std::string::npos) {
    return InvalidArgument("control group \"" + name + "\" must be a path such as /berth/vm1", "jail");
  }
  const std::vector<Setting> settings = SettingsOf(limits);
  std::string path = root;
  for (size_t at = 0; at != std::string::npos;) {
    // A controller must be on in every ancestor; one that is on already is no error.
    for (const Setting& setting : settings) {
      TRY(WriteControl(path + "/cgroup.subtree_control", "+" + std::string(setting.controller)));
    }
    const size_t next = name.find('/', at + 1);
    path += name.substr(at, next == std::string::npos ? next : next - at);
    at = next;
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
      return ErrnoStatus("make the control group " + path, errno).WithField("jail");
    }
  }
  for (const Setting& setting : settings)
    TRY(WriteControl(path + "/" + std::string(setting.file), setting.value));
  return WriteControl(path + "/cgroup.procs", std::to_string(::getpid()));
}

}  // namespace berth::vmm
