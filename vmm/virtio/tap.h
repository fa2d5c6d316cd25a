#pragma once

#include <string>

#include "common/status.h"
#include "common/unique_fd.h"

namespace berth::vmm {

// Bytes of struct virtio_net_hdr_v1, which precedes each packet on a tap that OpenTap opened.
inline constexpr int kVirtioNetHeaderBytes = 12;

// An open TAP interface with virtio headers, non-blocking.
struct Tap {
  UniqueFd fd;
  std::string name;
  bool created = false;   // by us, and brought up; it goes away with the descriptor
  bool offloads = false;  // checksums and segmentation can be left to the other side
};

// Opens the TAP interface `name`, or creates it if there is none. Errors name the interface: the name is too
// long, it is no TAP or in use, no permission (CAP_NET_ADMIN) or no /dev/net/tun.
Result<Tap> OpenTap(const std::string& name);

// What the reader of the tap accepts; all off is always possible.
struct TapOffloads {
  bool checksum = false;
  bool tso4 = false;
  bool tso6 = false;
};
Status SetTapOffloads(int fd, const TapOffloads& offloads);

}  // namespace berth::vmm
