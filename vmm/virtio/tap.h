#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"

namespace berth::vmm {

// Bytes of struct virtio_net_hdr_v1, which precedes each packet on a tap that OpenTap opened.
inline constexpr int kVirtioNetHeaderBytes = 12;

// One pair of queues of an open TAP interface, with virtio headers, non-blocking.
struct Tap {
  UniqueFd fd;
  std::string name;
  bool created = false;       // by us, and brought up; it goes away with the descriptor
  bool multi_queue = false;   // the interface can have several
  bool offloads = false;      // checksums and segmentation of TCP can be left to the other side
  bool udp_offloads = false;  // and of UDP: Linux 6.2
};

// Opens the TAP interface `name`, or creates it if there is none. Errors name the interface: the name is too
// long, it is no TAP or in use, no permission (CAP_NET_ADMIN) or no /dev/net/tun.
Result<Tap> OpenTap(const std::string& name);
// Several pairs of queues of one interface, all attached to it. An interface that exists must have been
// created for several queues, and keeps its MTU; one that is created gets `mtu`.
Result<std::vector<Tap>> OpenTapQueues(const std::string& name, size_t pairs,
                                       std::optional<uint16_t> mtu = {});
// A descriptor that somebody else has attached to a TAP interface. kInvalidArgument: it is none of a TAP, or
// of one without virtio headers (IFF_VNET_HDR) or with packet information (no IFF_NO_PI).
Result<Tap> AdoptTap(UniqueFd fd);

// Takes a pair of queues into use, or out of it: packets are then given to the others. Does nothing for an
// interface that can have only one.
void AttachTapQueue(const Tap& tap, bool attached);

// What the reader of the tap accepts; all off is always possible.
struct TapOffloads {
  bool checksum = false;
  bool tso4 = false;
  bool tso6 = false;
  bool ecn = false;  // of TCP segments
  bool uso4 = false;
  bool uso6 = false;
};
Status SetTapOffloads(int fd, const TapOffloads& offloads);

}  // namespace berth::vmm
