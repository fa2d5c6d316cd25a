#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/config/command_line.h"

namespace berth::vmm {

// What a path may be used for. A rule of a folder holds for all below it.
struct PathRule {
  enum class Use {
    kRead,       // files and folders
    kReadWrite,  // also device files with their ioctls
    kSockets,    // a folder in which sockets are made and removed
    kTemporary,  // a folder in which files are made, written and removed
    kTree,       // the same, and folders and sockets as well
  };
  std::string path;
  Use use = Use::kRead;
  // The file is made when it does not exist: it will be written, and making files is not allowed later.
  bool create = false;

  friend bool operator==(const PathRule&, const PathRule&) = default;
};

// What a VM needs: its images, disks, backing files, sockets, and what its landlock.rules name. A `restored`
// one finds its zones' files and makes none. Pure, but for looking which paths are folders.
std::vector<PathRule> LandlockRules(const VmConfig& config, bool restored);

// What the process with this command line needs beside its VMs: devices of the host, what it reads of /proc
// and /sys, its API's socket, log and events, and the snapshot that it is started from.
std::vector<PathRule> ProcessRules(const CommandLine& line);

// The paths of landlock.rules that do not exist: whoever names them expects to use them.
ConfigErrors MissingRulePaths(const std::vector<LandlockRule>& rules);

// Rules as the kernel has them (Landlock), to be taken by one thread after the other.
class LandlockRuleset {
 public:
  // Rules of paths that do not exist are an error, except for those of /dev, /proc and /sys, which this host
  // may lack. kFailedPrecondition where the kernel has no Landlock of version 3 or later.
  static Result<LandlockRuleset> Build(const std::vector<PathRule>& rules);
  // Restricts this thread, and all that it starts from now on. Cannot be taken back.
  Status Restrict() const;

 private:
  explicit LandlockRuleset(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// Those of the paths that the rules in force do not let be used as they are to be. Pure, but for resolving
// symbolic links.
std::vector<std::string> PathsOutside(const std::vector<PathRule>& wanted,
                                      const std::vector<PathRule>& in_force);

}  // namespace berth::vmm
