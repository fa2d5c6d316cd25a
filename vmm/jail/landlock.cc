#include "vmm/jail/landlock.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <optional>

#include "common/unique_fd.h"

namespace berth::vmm {
namespace {

// Of the kernel's linux/landlock.h, which is older than the features here where Debian builds.
constexpr long kCreateRuleset = 444, kAddRule = 445, kRestrictSelf = 446;
constexpr uint32_t kVersionFlag = 1;
constexpr int kPathBeneath = 1;
enum Access : uint64_t {
  kExecute = 1 << 0,
  kWriteFile = 1 << 1,
  kReadFile = 1 << 2,
  kReadDir = 1 << 3,
  kRemoveDir = 1 << 4,
  kRemoveFile = 1 << 5,
  kMakeChar = 1 << 6,
  kMakeDir = 1 << 7,
  kMakeReg = 1 << 8,
  kMakeSock = 1 << 9,
  kMakeFifo = 1 << 10,
  kMakeBlock = 1 << 11,
  kMakeSym = 1 << 12,
  kRefer = 1 << 13,     // version 2
  kTruncate = 1 << 14,  // version 3
  kIoctlDev = 1 << 15,  // version 5
};
constexpr uint64_t kVersion3 = (kTruncate << 1) - 1;
constexpr uint64_t kOnFiles = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDev;

struct RulesetAttr {
  uint64_t handled_fs;
};
struct __attribute__((packed)) PathBeneathAttr {
  uint64_t allowed;
  int32_t parent;
};

uint64_t AccessOf(PathRule::Use use) {
  switch (use) {
    case PathRule::Use::kRead:
      return kReadFile | kReadDir;
    case PathRule::Use::kReadWrite:
      return kReadFile | kReadDir | kWriteFile | kTruncate | kIoctlDev;
    case PathRule::Use::kSockets:
      return kMakeSock | kRemoveFile;
    case PathRule::Use::kTemporary:
      return kReadFile | kReadDir | kWriteFile | kTruncate | kMakeReg | kRemoveFile;
    case PathRule::Use::kTree:
      return kReadFile | kReadDir | kWriteFile | kTruncate | kIoctlDev | kMakeReg | kRemoveFile | kMakeDir |
             kRemoveDir | kMakeSock;
  }
  CHECK(false);
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool IsFolder(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// Without symbolic links, as far as it exists: the kernel's rules hold for files, not for names.
// Not by realpath(3), whose system calls a filtered thread may not make.
std::optional<std::string> NameOfOpened(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  std::string name(PATH_MAX, '\0');
  const ssize_t size =
      ::readlink(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), name.data(), name.size());
  if (size <= 0) return std::nullopt;
  name.resize(static_cast<size_t>(size));
  return name;
}

std::string RealPath(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (auto name = NameOfOpened(path)) return *name;
  const std::string last = path.substr(path.rfind('/') + 1);
  const std::string folder = NameOfOpened(FolderOf(path)).value_or(FolderOf(path));
  return (folder == "/" ? "" : folder) + "/" + last;
}

bool IsBelow(const std::string& path, const std::string& above) {
  return above == "/" ||
         (path.starts_with(above) && (path.size() == above.size() || path[above.size()] == '/'));
}

bool MayBeMissing(const std::string& path) {
  return path.starts_with("/dev/") || path.starts_with("/proc") || path.starts_with("/sys");
}

void AddPort(const SerialConfig& port, std::vector<PathRule>& rules) {
  using Mode = SerialConfig::Mode;
  if (port.mode == Mode::kFile) rules.push_back({port.path, PathRule::Use::kReadWrite, true});
  if (port.mode == Mode::kSocket) rules.push_back({FolderOf(port.path), PathRule::Use::kSockets});
  if (port.mode == Mode::kPty) {
    rules.push_back({"/dev/ptmx", PathRule::Use::kReadWrite});
    rules.push_back({"/dev/pts", PathRule::Use::kReadWrite});
  }
}

Status AddRule(int ruleset, uint64_t handled, const PathRule& rule) {
  if (rule.create)
    UniqueFd(::open(rule.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
  UniqueFd fd(::open(rule.path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT && MayBeMissing(rule.path)) return OkStatus();
    return ErrnoStatus("landlock rule of " + rule.path, errno).WithField("landlock");
  }
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus("landlock rule of " + rule.path, errno);
  uint64_t allowed = AccessOf(rule.use) & handled;
  if (!S_ISDIR(info.st_mode)) allowed &= kOnFiles;
  const PathBeneathAttr attr{allowed, fd.get()};
  if (::syscall(kAddRule, ruleset, kPathBeneath, &attr, 0) == 0) return OkStatus();
  return ErrnoStatus("landlock rule of " + rule.path, errno).WithField("landlock");
}

}  // namespace

std::vector<PathRule> ProcessRules(const CommandLine& line) {
  using Use = PathRule::Use;
  std::vector<PathRule> rules = {
      {"/dev/kvm", Use::kReadWrite},  {"/dev/net/tun", Use::kReadWrite},
      {"/dev/vfio", Use::kReadWrite}, {"/dev/iommu", Use::kReadWrite},
      {"/dev/null", Use::kReadWrite}, {"/proc", Use::kRead},
      {"/sys", Use::kRead},           {"/dev/userfaultfd", Use::kReadWrite},
      {"/dev/sev", Use::kReadWrite},
  };
  if (line.api_socket) rules.push_back({FolderOf(*line.api_socket), Use::kSockets});
  if (line.event_path) rules.push_back({*line.event_path, Use::kReadWrite, true});
  if (line.log_file) rules.push_back({*line.log_file, Use::kReadWrite, true});
  if (line.restore) rules.push_back({line.restore->directory, Use::kRead});
  return rules;
}

std::vector<PathRule> LandlockRules(const VmConfig& config, bool restored) {
  using Use = PathRule::Use;
  std::vector<PathRule> rules;
  if (!config.kernel.empty()) rules.push_back({config.kernel, Use::kRead});
  if (config.firmware) rules.push_back({*config.firmware, Use::kRead});
  if (config.igvm) rules.push_back({*config.igvm, Use::kRead});
  if (config.initramfs) rules.push_back({*config.initramfs, Use::kRead});
  for (const MemoryZoneConfig& zone : config.memory_zones) {
    if (!zone.file) continue;
    const bool folder = IsFolder(*zone.file);
    // The file of a saved guest is its memory: a new one would be another guest's.
    rules.push_back(
        {*zone.file, folder ? Use::kTemporary : Use::kReadWrite, !folder && !(restored && zone.restored)});
  }
  // Connecting to a socket is not restricted by Landlock.
  for (const DiskConfig& disk : config.disks) {
    if (!disk.vhost_user) rules.push_back({disk.path, disk.readonly ? Use::kRead : Use::kReadWrite});
  }
  if (!config.rng.empty()) rules.push_back({config.rng, Use::kRead});
  AddPort(config.serial, rules);
  AddPort(config.console, rules);
  if (config.vsock) rules.push_back({FolderOf(config.vsock->socket), Use::kSockets});
  // In a folder that may be written to, files and folders may be made as well: core files and snapshots.
  for (const LandlockRule& rule : config.landlock.rules) {
    const Use write = IsFolder(rule.path) ? Use::kTree : Use::kReadWrite;
    rules.push_back({rule.path, rule.write ? write : Use::kRead});
  }
  return rules;
}

Result<LandlockRuleset> LandlockRuleset::Build(const std::vector<PathRule>& rules) {
  const long version = ::syscall(kCreateRuleset, nullptr, 0, kVersionFlag);
  constexpr long kLeast = 3, kWithIoctl = 5;
  if (version < kLeast) {
    return FailedPrecondition(version < 0 ? "this kernel has no Landlock, or it is switched off"
                                          : "this kernel's Landlock is version " + std::to_string(version) +
                                                ", at least 3 is needed",
                              "landlock", "leave out --landlock, or boot with lsm=landlock,...");
  }
  const uint64_t handled = kVersion3 | (version >= kWithIoctl ? uint64_t{kIoctlDev} : 0);
  const RulesetAttr attr{handled};
  UniqueFd fd(static_cast<int>(::syscall(kCreateRuleset, &attr, sizeof attr, 0)));
  if (!fd.valid()) return ErrnoStatus("landlock ruleset", errno);
  for (const PathRule& rule : rules) TRY(AddRule(fd.get(), handled, rule));
  return LandlockRuleset(std::move(fd));
}

Status LandlockRuleset::Restrict() const {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus("no new privileges", errno);
  if (::syscall(kRestrictSelf, fd_.get(), 0) != 0) return ErrnoStatus("landlock", errno);
  return OkStatus();
}

std::vector<std::string> PathsOutside(const std::vector<PathRule>& wanted,
                                      const std::vector<PathRule>& in_force) {
  std::vector<std::pair<std::string, uint64_t>> known;
  known.reserve(in_force.size());
  for (const PathRule& rule : in_force) known.emplace_back(RealPath(rule.path), AccessOf(rule.use));
  std::vector<std::string> outside;
  for (const PathRule& rule : wanted) {
    if (MayBeMissing(rule.path) && ::access(rule.path.c_str(), F_OK) != 0) continue;
    const std::string path = RealPath(rule.path);
    uint64_t allowed = 0;
    for (const auto& [above, access] : known) {
      if (IsBelow(path, above)) allowed |= access;
    }
    uint64_t needed = AccessOf(rule.use);
    if (!IsFolder(rule.path)) needed &= kOnFiles;
    // What has to be made needs a folder where that may be done.
    if (rule.create && ::access(rule.path.c_str(), F_OK) != 0) needed |= kMakeReg;
    if ((needed & ~allowed) != 0) outside.push_back(rule.path);
  }
  return outside;
}

}  // namespace berth::vmm
