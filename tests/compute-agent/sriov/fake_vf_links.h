#pragma once

#include <atomic>
#include <map>
#include <string>
#include <utility>

#include "compute-agent/sriov/vf_links.h"

namespace berth::agent::testing {

// A PF's driver as the kernel's rtnetlink shows it: refuses what it does not know, VLANs beyond 4094,
// multicast addresses; an address of zeros makes the driver choose one. Counts the changes.
class FakeVfLinks : public VfLinks {
 public:
  void Add(const std::string& netdev, uint32_t vf, VfState state) { vfs_[{netdev, vf}] = state; }
  const VfState& At(const std::string& netdev, uint32_t vf) const { return vfs_.at({netdev, vf}); }

  Result<VfState> Read(const std::string& netdev, uint32_t vf) override {
    auto found = vfs_.find({netdev, vf});
    if (found == vfs_.end()) return NotFound("VF " + std::to_string(vf) + " of " + netdev);
    return found->second;
  }
  Status Change(const std::string& netdev, uint32_t vf, const placement::PortSettings& settings,
                bool set_vlan) override {
    auto found = vfs_.find({netdev, vf});
    if (found == vfs_.end()) return NotFound("VF " + std::to_string(vf) + " of " + netdev);
    VfState& state = found->second;
    const Status refused{StatusCode::kFailedPrecondition, "Operation not supported"};
    if (refusals > 0) {
      --refusals;
      return refused;
    }
    if (broken || (settings.trusted && !state.trusted) || (settings.spoof_check && !state.spoof_check))
      return refused;
    if (set_vlan && settings.vlan > 4094) return refused;
    if (settings.mac && (*settings.mac)[0] & 1) return refused;
    ++changes;
    if (settings.mac) state.mac = *settings.mac == MacAddress{} ? kDrivers : *settings.mac;
    if (set_vlan) state.vlan = settings.vlan;
    if (settings.trusted) state.trusted = settings.trusted;
    if (settings.spoof_check) state.spoof_check = settings.spoof_check;
    return OkStatus();
  }

  static constexpr MacAddress kDrivers = {2, 0, 0, 0, 0, 9};
  int changes = 0;
  std::atomic<int> refusals = 0;  // changes that fail from now on
  bool broken = false;

 private:
  std::map<std::pair<std::string, uint32_t>, VfState> vfs_;
};

}  // namespace berth::agent::testing
