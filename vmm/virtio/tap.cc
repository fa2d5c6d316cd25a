#include "vmm/virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

namespace berth::vmm {
namespace {

Status BringUp(const std::string& name) {
  UniqueFd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_fd.valid()) return ErrnoStatus("socket", errno);
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (ioctl(socket_fd.get(), SIOCGIFFLAGS, &request) != 0) return ErrnoStatus("flags of tap " + name, errno);
  request.ifr_flags |= IFF_UP;
  if (ioctl(socket_fd.get(), SIOCSIFFLAGS, &request) != 0)
    return ErrnoStatus("bring tap " + name + " up", errno);
  return OkStatus();
}

Status AttachError(const std::string& name, int error) {
  const std::string what = "tap " + name;
  if (error == EPERM) {
    return Status(StatusCode::kPermissionDenied, what + ": not permitted", "net.tap",
                  "run with CAP_NET_ADMIN, or create the interface for this user beforehand");
  }
  if (error == EBUSY) return FailedPrecondition(what + " is in use by another process", "net.tap");
  if (error == EINVAL)
    return InvalidArgument(what + ": an interface of that name exists and is no TAP", "net.tap");
  return ErrnoStatus(what, error).WithField("net.tap");
}

}  // namespace

Result<Tap> OpenTap(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find_first_of("/ %") != std::string::npos) {
    return InvalidArgument("tap name \"" + name + "\" must have 1 to " + std::to_string(IFNAMSIZ - 1) +
                               " characters without blanks, slashes and percent signs",
                           "net.tap");
  }
  Tap tap;
  tap.name = name;
  tap.created = if_nametoindex(name.c_str()) == 0;
  tap.fd.reset(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap.fd.valid()) return ErrnoStatus("tap " + name + ": /dev/net/tun", errno).WithField("net.tap");
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  int attached = ioctl(tap.fd.get(), TUNSETIFF, &request);
  if (attached != 0 && errno == EINVAL) {
    request.ifr_flags |= IFF_MULTI_QUEUE;  // one that was created for several queues
    attached = ioctl(tap.fd.get(), TUNSETIFF, &request);
  }
  if (attached != 0) return AttachError(name, errno);
  const int header = kVirtioNetHeaderBytes;
  if (ioctl(tap.fd.get(), TUNSETVNETHDRSZ, &header) != 0)
    return ErrnoStatus("header size of tap " + name, errno);
  const int little_endian = 1;  // the modern virtio header's byte order, on any host
  if (ioctl(tap.fd.get(), TUNSETVNETLE, &little_endian) != 0)
    return ErrnoStatus("byte order of tap " + name, errno);
  tap.offloads = SetTapOffloads(tap.fd.get(), {true, true, true}).ok();
  TRY(SetTapOffloads(tap.fd.get(), {}));
  if (tap.created) TRY(BringUp(name));
  return tap;
}

Status SetTapOffloads(int fd, const TapOffloads& offloads) {
  unsigned flags = 0;
  if (offloads.checksum) flags |= TUN_F_CSUM;
  if (offloads.tso4) flags |= TUN_F_TSO4;
  if (offloads.tso6) flags |= TUN_F_TSO6;
  if (ioctl(fd, TUNSETOFFLOAD, flags) != 0) return ErrnoStatus("offloads of a tap", errno);
  return OkStatus();
}

}  // namespace berth::vmm
