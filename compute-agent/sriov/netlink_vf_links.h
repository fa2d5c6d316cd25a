#pragma once

#include "compute-agent/sriov/vf_links.h"

namespace berth::agent {

// The kernel's, by rtnetlink (IFLA_VFINFO_LIST, linux/if_link.h). Changes need CAP_NET_ADMIN. Thread-safe:
// each call has its own socket.
class NetlinkVfLinks : public VfLinks {
 public:
  Result<VfState> Read(const std::string& netdev, uint32_t vf) override;
  Status Change(const std::string& netdev, uint32_t vf, const placement::PortSettings& settings,
                bool set_vlan) override;
};

}  // namespace berth::agent
