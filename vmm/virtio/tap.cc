#include "vmm/virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

namespace berth::vmm {
namespace {

// TUN_F_USO4 and TUN_F_USO6 of Linux 6.2, newer than Debian 12's headers.
constexpr unsigned kUso4 = 0x20;
constexpr unsigned kUso6 = 0x40;

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

Status SetMtu(const std::string& name, uint16_t mtu) {
  UniqueFd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_fd.valid()) return ErrnoStatus("socket", errno);
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_mtu = mtu;
  if (ioctl(socket_fd.get(), SIOCSIFMTU, &request) == 0) return OkStatus();
  return ErrnoStatus("mtu " + std::to_string(mtu) + " of tap " + name, errno).WithField("net.mtu");
}

Status AttachError(const std::string& name, int error) {
  const std::string what = "tap " + name;
  if (error == EPERM) {
    return Status(StatusCode::kPermissionDenied, what + ": not permitted", "net.tap",
                  "run with CAP_NET_ADMIN, or create the interface for this user beforehand");
  }
  if (error == EBUSY) return FailedPrecondition(what + " is in use by another process", "net.tap");
  if (error == EINVAL) {
    return InvalidArgument(
        what + ": an interface of that name exists and is no TAP", "net.tap",
        "one that was made for a single queue is refused, too, when several are wanted: ip "
        "tuntap add NAME mode tap multi_queue");
  }
  return ErrnoStatus(what, error).WithField("net.tap");
}

constexpr short kTapFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

// Header, byte order and offloads of a descriptor that is attached to its interface.
Status SetUp(Tap& tap) {
  const int header = kVirtioNetHeaderBytes;
  if (ioctl(tap.fd.get(), TUNSETVNETHDRSZ, &header) != 0)
    return ErrnoStatus("header size of tap " + tap.name, errno);
  const int little_endian = 1;  // the modern virtio header's byte order, on any host
  if (ioctl(tap.fd.get(), TUNSETVNETLE, &little_endian) != 0)
    return ErrnoStatus("byte order of tap " + tap.name, errno);
  TapOffloads offloads{.checksum = true, .tso4 = true, .tso6 = true, .ecn = true};
  tap.offloads = SetTapOffloads(tap.fd.get(), offloads).ok();
  offloads.uso4 = offloads.uso6 = true;
  tap.udp_offloads = tap.offloads && SetTapOffloads(tap.fd.get(), offloads).ok();
  return SetTapOffloads(tap.fd.get(), {});
}

Status Attach(Tap& tap, bool several) {
  tap.fd.reset(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap.fd.valid()) return ErrnoStatus("tap " + tap.name + ": /dev/net/tun", errno).WithField("net.tap");
  ifreq request{};
  tap.name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(kTapFlags | (several ? IFF_MULTI_QUEUE : 0));
  if (ioctl(tap.fd.get(), TUNSETIFF, &request) == 0) {
    tap.multi_queue = several;
    return OkStatus();
  }
  if (errno != EINVAL || several) return AttachError(tap.name, errno);
  return Attach(tap, true);  // one that was created for several queues
}

}  // namespace

Result<std::vector<Tap>> OpenTapQueues(const std::string& name, size_t pairs, std::optional<uint16_t> mtu) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find_first_of("/ %") != std::string::npos) {
    return InvalidArgument("tap name \"" + name + "\" must have 1 to " + std::to_string(IFNAMSIZ - 1) +
                               " characters without '/', '%' and blanks",
                           "net.tap");
  }
  const bool created = if_nametoindex(name.c_str()) == 0;
  std::vector<Tap> taps;
  for (size_t i = 0; i < pairs; ++i) {
    Tap tap;
    tap.name = name;
    tap.created = created;
    TRY(Attach(tap, pairs > 1));
    TRY(SetUp(tap));
    taps.push_back(std::move(tap));
  }
  if (created && mtu) TRY(SetMtu(name, *mtu));
  if (created) TRY(BringUp(name));
  return taps;
}

Result<Tap> OpenTap(const std::string& name) {
  TRY_ASSIGN(std::vector<Tap> taps, OpenTapQueues(name, 1));
  return std::move(taps[0]);
}

Result<Tap> AdoptTap(UniqueFd fd) {
  const std::string what = "descriptor " + std::to_string(fd.get());
  ifreq request{};
  if (ioctl(fd.get(), TUNGETIFF, &request) != 0) {
    return InvalidArgument(what + " is not that of a TAP interface", "net.fd");
  }
  if ((request.ifr_flags & (kTapFlags | IFF_TUN)) != kTapFlags) {
    return InvalidArgument(
        what + " of " + request.ifr_name + " must be a TAP with IFF_NO_PI and IFF_VNET_HDR", "net.fd");
  }
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return ErrnoStatus(what, errno);
  }
  Tap tap;
  tap.fd = std::move(fd);
  tap.name = request.ifr_name;
  tap.multi_queue = (request.ifr_flags & IFF_MULTI_QUEUE) != 0;
  TRY(SetUp(tap));
  return tap;
}

void AttachTapQueue(const Tap& tap, bool attached) {
  if (!tap.multi_queue) return;
  ifreq request{};
  request.ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
  // Refused when it is so already, for the kernel alone knows; a pair that could not be attached gets
  // nothing.
  static_cast<void>(ioctl(tap.fd.get(), TUNSETQUEUE, &request));
}

Status SetTapOffloads(int fd, const TapOffloads& offloads) {
  unsigned flags = 0;
  if (offloads.checksum) flags |= TUN_F_CSUM;
  if (offloads.tso4) flags |= TUN_F_TSO4;
  if (offloads.tso6) flags |= TUN_F_TSO6;
  if (offloads.ecn) flags |= TUN_F_TSO_ECN;
  if (offloads.uso4) flags |= kUso4;
  if (offloads.uso6) flags |= kUso6;
  if (ioctl(fd, TUNSETOFFLOAD, flags) != 0) return ErrnoStatus("offloads of a tap", errno);
  return OkStatus();
}

}  // namespace berth::vmm
