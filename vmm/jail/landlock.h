#pragma once

#include <string>
#include <vector>

#include "common/status.h"
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

// What a VMM with this command line needs: its images, disks, backing files, devices, sockets, what it reads
// of /proc and /sys, and --landlock-rules. Pure, but for looking which zone files are folders.
std::vector<PathRule> LandlockRules(const CommandLine& line);

// The paths of --landlock-rules that do not exist: whoever names them expects to use them.
ConfigErrors MissingRulePaths(const std::vector<LandlockRule>& rules);

// Restricts this thread, and all that it starts, to the rules (Landlock). Rules of paths that do not exist
// are an error, except for those of /dev, /proc and /sys, which this host may lack. kFailedPrecondition where
// the kernel has no Landlock of version 3 or later.
Status ApplyLandlock(const std::vector<PathRule>& rules);

}  // namespace berth::vmm
