#pragma once

#include <string>
#include <vector>

#include "vmm/config/vm_config.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// One thing that a host lacks for a platform: kernel option, capability (by number), firmware, device file.
struct HostLack {
  std::string code;     // stable name: "KvmVmType"
  std::string message;  // what is missing, with what there is
  std::string hint;     // what to do

  friend bool operator==(const HostLack&, const HostLack&) = default;
};

// Everything that is missing, not only the first. `root`: of /sys, /proc and /dev.
std::vector<HostLack> MissingForConfidential(ConfidentialKind kind, const KvmCapabilities& kvm,
                                             const std::string& root = "/");

}  // namespace berth::vmm
