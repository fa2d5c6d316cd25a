#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

// Descriptors of a TAP for a network device of a snapshot, which had others when it was saved.
struct RestoredNet {
  std::string id;
  std::vector<int> fds;

  friend bool operator==(const RestoredNet&, const RestoredNet&) = default;
};

// Puts them in the place of the numbers in a snapshot's configuration, which mean nothing any more. Each
// device that came by descriptors must get as many as it had, and no other device any; the error, whose field
// is "net_fds", names the first that is wrong.
Status ReplaceDescriptors(const std::vector<RestoredNet>& given, VmConfig& config);

}  // namespace berth::vmm
