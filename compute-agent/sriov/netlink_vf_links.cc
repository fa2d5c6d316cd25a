#include "compute-agent/sriov/netlink_vf_links.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netlink/addr.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/sriov.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>

namespace berth::agent {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Socket = std::unique_ptr<nl_sock, Freed<nl_socket_free>>;
using Link = std::unique_ptr<rtnl_link, Freed<rtnl_link_put>>;
using Address = std::unique_ptr<nl_addr, Freed<nl_addr_put>>;
using Vlans = std::unique_ptr<nl_vf_vlans_t, Freed<rtnl_link_vf_vlan_put>>;
using Vf = std::unique_ptr<rtnl_link_vf, Freed<rtnl_link_vf_put>>;

std::string Name(const std::string& netdev, uint32_t vf) {
  return "VF " + std::to_string(vf) + " of " + netdev;
}

Status NetlinkError(const std::string& what, int error) {
  StatusCode code = error == -NLE_NODEV || error == -NLE_OBJ_NOTFOUND ? StatusCode::kNotFound
                                                                      : StatusCode::kFailedPrecondition;
  return {code, what + ": " + nl_geterror(error)};
}

Result<Socket> Connect() {
  Socket socket(nl_socket_alloc());
  if (socket == nullptr) return NetlinkError("rtnetlink", -NLE_NOMEM);
  if (int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0) return NetlinkError("rtnetlink", error);
  return socket;
}

Result<Link> Get(nl_sock* socket, const std::string& netdev) {
  rtnl_link* link = nullptr;
  int error = rtnl_link_get_kernel(socket, 0, netdev.c_str(), &link);
  if (error < 0) return NetlinkError("network interface " + netdev, error);
  return Link(link);
}

// 0 and 1 are the kernel's; a driver without the feature says nothing, which libnl shows as an error or as
// -1.
std::optional<bool> Flag(rtnl_link_vf* vf, int (*get)(rtnl_link_vf*, uint32_t*)) {
  uint32_t value = 0;
  if (get(vf, &value) < 0 || value > 1) return std::nullopt;
  return value == 1;
}

}  // namespace

Result<VfState> NetlinkVfLinks::Read(const std::string& netdev, uint32_t vf) {
  TRY_ASSIGN(Socket socket, Connect());
  TRY_ASSIGN(Link link, Get(socket.get(), netdev));
  // rtnl_link_vf_get reads the list without looking whether there is one.
  Vf found(rtnl_link_has_vf_list(link.get()) ? rtnl_link_vf_get(link.get(), vf) : nullptr);
  if (found == nullptr) return NotFound(Name(netdev, vf) + " is not known to its driver");
  VfState state;
  nl_addr* address = nullptr;
  if (rtnl_link_vf_get_addr(found.get(), &address) >= 0 && address != nullptr &&
      nl_addr_get_len(address) == sizeof(MacAddress)) {
    state.mac.emplace();
    std::copy_n(static_cast<const uint8_t*>(nl_addr_get_binary_addr(address)), state.mac->size(),
                state.mac->begin());
  }
  nl_vf_vlans_t* vlans = nullptr;
  if (rtnl_link_vf_get_vlans(found.get(), &vlans) >= 0 && vlans != nullptr) {
    Vlans owned(vlans);
    state.vlan = vlans->size > 0 ? static_cast<uint16_t>(vlans->vlans[0].vf_vlan) : uint16_t{0};
  } else {
    state.vlan = 0;
  }
  state.trusted = Flag(found.get(), rtnl_link_vf_get_trust);
  state.spoof_check = Flag(found.get(), rtnl_link_vf_get_spoofchk);
  return state;
}

Status NetlinkVfLinks::Change(const std::string& netdev, uint32_t vf, const placement::PortSettings& settings,
                              bool set_vlan) {
  TRY_ASSIGN(Socket socket, Connect());
  TRY_ASSIGN(Link link, Get(socket.get(), netdev));
  Link change(rtnl_link_alloc());
  Vf wanted(rtnl_link_vf_alloc());
  if (change == nullptr || wanted == nullptr) return NetlinkError(Name(netdev, vf), -NLE_NOMEM);
  rtnl_link_vf_set_index(wanted.get(), vf);
  Address address;
  if (settings.mac) {
    address.reset(nl_addr_build(AF_LLC, settings.mac->data(), settings.mac->size()));
    if (address == nullptr) return NetlinkError(Name(netdev, vf), -NLE_NOMEM);
    rtnl_link_vf_set_addr(wanted.get(), address.get());
  }
  Vlans vlans;
  if (set_vlan) {
    nl_vf_vlans_t* list = nullptr;
    if (int error = rtnl_link_vf_vlan_alloc(&list, 1); error < 0)
      return NetlinkError(Name(netdev, vf), error);
    vlans.reset(list);
    list->vlans[0].vf_vlan = settings.vlan;
    list->vlans[0].vf_vlan_qos = 0;
    list->vlans[0].vf_vlan_proto = ETH_P_8021Q;
    rtnl_link_vf_set_vlans(wanted.get(), list);
  }
  if (settings.trusted) rtnl_link_vf_set_trust(wanted.get(), *settings.trusted ? 1 : 0);
  if (settings.spoof_check) rtnl_link_vf_set_spoofchk(wanted.get(), *settings.spoof_check ? 1 : 0);
  rtnl_link_set_ifindex(change.get(), rtnl_link_get_ifindex(link.get()));
  if (int error = rtnl_link_vf_add(change.get(), wanted.get()); error < 0) {
    return NetlinkError(Name(netdev, vf), error);
  }
  int error = rtnl_link_change(socket.get(), link.get(), change.get(), 0);
  return error < 0 ? NetlinkError(Name(netdev, vf), error) : OkStatus();
}

}  // namespace berth::agent
