#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "common/status.h"
#include "vmm/config/command_line.h"
#include "vmm/jail/landlock.h"

namespace berth::vmm {

// To which files this process has confined itself (--landlock, or landlock_enable of a VM). It does so once,
// for its first VM or for the rules that it was started with, and that cannot be taken back: a later VM has
// to do with the same files. Calls come from one thread at a time.
class Confinement {
 public:
  // Runs a function on the process's other thread of kind control, the one that does not call, and waits for
  // it.
  using Elsewhere = std::function<Status(std::function<Status()>)>;

  // `of_process` as of ProcessRules. `always`: a VM is confined whether it asks for it or not.
  Confinement(std::vector<PathRule> of_process, bool always)
      : of_process_(std::move(of_process)), always_(always) {}

  // Before a VM is made that has this configuration. All that the two threads start afterwards is confined as
  // they are. Errors leave the process as it was: kFailedPrecondition without Landlock, and for a VM that
  // needs a file outside, all of which are named; kNotFound for a path that does not exist.
  Status Enter(const VmConfig& config, bool restored, const Elsewhere& elsewhere);

  bool entered() const { return !in_force_.empty(); }

 private:
  const std::vector<PathRule> of_process_;
  const bool always_;
  std::vector<PathRule> in_force_;  // empty: not confined
};

}  // namespace berth::vmm
