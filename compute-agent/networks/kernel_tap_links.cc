#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "common/unique_fd.h"
#include "compute-agent/networks/tap_links.h"

namespace berth::agent {
namespace {

Result<ifreq> Request(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name) {
    return InvalidArgument("\"" + name + "\" is not the name of an interface", "nets", "1 to 15 characters");
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  return request;
}

// The TAP itself; made if it is not there. As the VMM opens it, so that both see the same kind.
Result<UniqueFd> OpenTap(const std::string& tap) {
  TRY_ASSIGN(ifreq request, Request(tap));
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus("/dev/net/tun", errno);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd.get(), TUNSETIFF, &request) == 0) return fd;
  if (errno == EINVAL) return FailedPrecondition("interface " + tap + " is no TAP", "nets");
  return ErrnoStatus("TAP " + tap, errno);
}

bool Exists(const std::string& name) {
  return ::if_nametoindex(name.c_str()) != 0;
}

Status Attach(int socket, const std::string& tap, const std::string& bridge) {
  TRY_ASSIGN(ifreq request, Request(bridge));
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(tap.c_str()));
  // EBUSY: it is a port already; of another bridge only if somebody else put it there.
  if (::ioctl(socket, SIOCBRADDIF, &request) == 0 || errno == EBUSY) return OkStatus();
  if (errno == EOPNOTSUPP || errno == ENODEV) {
    return NotFound("interface " + bridge + " is no bridge of this host", "nets");
  }
  return ErrnoStatus("make " + tap + " a port of " + bridge, errno);
}

}  // namespace

Status KernelTapLinks::Create(const std::string& tap, const std::string& bridge) {
  TRY(Request(bridge));
  if (!Exists(bridge)) return NotFound("there is no bridge " + bridge + " on this host", "nets");
  if (!Exists(tap)) {
    TRY_ASSIGN(UniqueFd fd, OpenTap(tap));
    if (::ioctl(fd.get(), TUNSETPERSIST, 1) != 0) return ErrnoStatus("keep TAP " + tap, errno);
  }
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoStatus("socket", errno);
  TRY(Attach(socket.get(), tap, bridge));
  TRY_ASSIGN(ifreq request, Request(tap));
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return ErrnoStatus(tap, errno);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return ErrnoStatus("set " + tap + " up", errno);
  return OkStatus();
}

Status KernelTapLinks::Remove(const std::string& tap) {
  if (!Exists(tap)) return OkStatus();
  TRY_ASSIGN(UniqueFd fd, OpenTap(tap));
  if (::ioctl(fd.get(), TUNSETPERSIST, 0) != 0) return ErrnoStatus("remove TAP " + tap, errno);
  return OkStatus();
}

}  // namespace berth::agent
