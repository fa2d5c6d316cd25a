#include "vmm/memory/zone_file.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>

namespace berth::vmm {
namespace {

// Of the path, or of the folder that it will lie in.
std::optional<struct statfs> FileSystemOf(const std::string& path) {
  struct statfs info{};
  if (::statfs(path.c_str(), &info) == 0 || ::statfs(FolderOfPath(path).c_str(), &info) == 0) return info;
  return std::nullopt;
}

}  // namespace

std::string FolderOfPath(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

std::optional<uint64_t> HugePageSizeAt(const std::string& path) {
  const auto info = FileSystemOf(path);
  if (!info || info->f_type != HUGETLBFS_MAGIC) return std::nullopt;
  return static_cast<uint64_t>(info->f_bsize);
}

uint64_t ZoneFileSize(const MemoryZoneConfig& zone) {
  return zone.size.bytes() + zone.hotplug_size.value_or(ByteSize()).bytes();
}

std::vector<Status> ZoneFileErrors(const MemoryZoneConfig& zone) {
  std::vector<Status> errors;
  if (!zone.file) return errors;
  const std::string about = "memory zone " + zone.id + ": " + *zone.file;
  const std::string need = ByteSize(ZoneFileSize(zone)).ToString();
  struct stat info{};
  const bool there = ::stat(zone.file->c_str(), &info) == 0;
  const uint64_t have = static_cast<uint64_t>(info.st_size);
  const std::string hint = zone.restored ? "put it back as it was when the snapshot was taken"
                                         : "make it that long (truncate -s " + need + "), or remove it";
  if (!there && zone.restored) {
    errors.push_back(FailedPrecondition(about + " does not exist, the zone needs " + need, "file", hint));
  } else if (S_ISREG(info.st_mode) && have < ZoneFileSize(zone) && (have > 0 || zone.restored)) {
    errors.push_back(FailedPrecondition(
        about + " has " + ByteSize(have).ToString() + ", the zone needs " + need, "file", hint));
  }
  // A private mapping of it would take the memory twice, so it is shared, as nothing else can see it.
  if (zone.mergeable && S_ISDIR(info.st_mode)) {
    errors.push_back(InvalidArgument(
        about + " is a directory, whose file is mapped shared: the host merges no shared pages (KSM)",
        "mergeable", "leave out mergeable=on, or file"));
  }
  // The copies that a private mapping of a file makes are anonymous, and lie where they are bound.
  const auto system = FileSystemOf(*zone.file);
  if (zone.host_numa_node && S_ISDIR(info.st_mode) && system && system->f_type != TMPFS_MAGIC &&
      system->f_type != HUGETLBFS_MAGIC) {
    errors.push_back(InvalidArgument(
        about + " is on a file system that does not heed mbind(2): its pages cannot be bound to host node " +
            std::to_string(*zone.host_numa_node),
        "host_numa_node", "put it on a tmpfs or a hugetlbfs, or leave out host_numa_node"));
  }
  return errors;
}

}  // namespace berth::vmm
