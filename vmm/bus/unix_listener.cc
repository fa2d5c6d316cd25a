#include "vmm/bus/unix_listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace berth::vmm {
namespace {

Result<sockaddr_un> Address(const std::string& path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    return InvalidArgument("path of a socket must have 1 to " + std::to_string(sizeof address.sun_path - 1) +
                               " bytes: '" + path + "'",
                           "api-socket");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* Generic(const sockaddr_un& address) {
  // SAFETY: every socket address begins with its family, and the kernel reads it by that.
  return reinterpret_cast<const sockaddr*>(&address);
}

// Takes away a socket file that is left over from a process that has ended.
Status RemoveStaleSocket(const std::string& path) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return errno == ENOENT ? OkStatus() : ErrnoStatus(path, errno);
  if (!S_ISSOCK(info.st_mode)) return AlreadyExists(path + ": exists and is no socket", "api-socket");
  Result<UniqueFd> client = ConnectUnix(path);
  if (client.has_value()) return AlreadyExists(path + ": another process listens there", "api-socket");
  if (client.error().code() != StatusCode::kUnavailable) return client.error();
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(path, errno);
  return OkStatus();
}

}  // namespace

Result<UniqueFd> ConnectUnix(const std::string& path, bool now) {
  TRY_ASSIGN(sockaddr_un address, Address(path));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (now ? SOCK_NONBLOCK : 0), 0));
  if (!fd.valid()) return ErrnoStatus("socket", errno);
  if (connect(fd.get(), Generic(address), sizeof address) != 0) {
    if (errno == ECONNREFUSED || errno == EAGAIN) return Unavailable(path + ": nobody listens there");
    return ErrnoStatus(path, errno);
  }
  return fd;
}

Result<UnixListener> UnixListener::Open(const std::string& path) {
  constexpr mode_t kMode = 0600;
  constexpr int kBacklog = 16;
  TRY_ASSIGN(sockaddr_un address, Address(path));
  TRY(RemoveStaleSocket(path));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus("socket", errno);
  // Before bind(2): the file is made with the socket's mode, and nobody finds it open in between.
  if (fchmod(fd.get(), kMode) != 0) return ErrnoStatus(path, errno);
  if (bind(fd.get(), Generic(address), sizeof address) != 0) return ErrnoStatus(path, errno);
  UnixListener listener(std::move(fd), path);
  if (listen(listener.fd(), kBacklog) != 0) return ErrnoStatus(path, errno);
  return listener;
}

Result<UnixListener> UnixListener::Inherit(int fd) {
  auto option = [fd](int name) {
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  if (option(SO_DOMAIN) != AF_UNIX || option(SO_ACCEPTCONN) != 1) {
    return InvalidArgument("the descriptor is no UNIX socket that listens", "api-socket");
  }
  if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return ErrnoStatus("api-socket", errno);
  return UnixListener(UniqueFd(fd), "");
}

UnixListener::UnixListener(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {
  struct stat info{};
  if (lstat(path_.c_str(), &info) == 0) {
    device_ = info.st_dev;
    inode_ = info.st_ino;
  }
}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::move(other.path_)),
      device_(other.device_),
      inode_(other.inode_) {}

UnixListener::~UnixListener() {
  if (!fd_.valid() || path_.empty()) return;
  struct stat info{};
  if (lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_)
    unlink(path_.c_str());
}

UniqueFd UnixListener::Accept() const {
  return UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

}  // namespace berth::vmm
