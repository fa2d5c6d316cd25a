#pragma once

#include <sys/types.h>

#include <string>

#include "common/status.h"
#include "common/unique_fd.h"

namespace berth::vmm {

// A listening UNIX socket of mode 0600 with the file that it made, which goes with it.
class UnixListener {
 public:
  // Replaces a socket file that nobody listens on. Errors as ApiServer::Start.
  static Result<UnixListener> Open(const std::string& path);
  // Takes over an inherited descriptor, whose file is its maker's. kInvalidArgument unless it is a UNIX
  // socket that listens.
  static Result<UnixListener> Inherit(int fd);
  UnixListener(UnixListener&& other) noexcept;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();

  int fd() const { return fd_.get(); }
  // A connection, non-blocking and closed on exec; not valid when there is none.
  UniqueFd Accept() const;

 private:
  UnixListener(UniqueFd fd, std::string path);

  UniqueFd fd_;
  std::string path_;  // empty when it was inherited
  dev_t device_ = 0;  // of the file that we made: another one at the path is left alone
  ino_t inode_ = 0;
};

// Connects to a listening UNIX socket. kNotFound, kUnavailable (nobody listens), kPermissionDenied...
// With `now`, the descriptor does not block, and a listener that is busy is kUnavailable as well.
Result<UniqueFd> ConnectUnix(const std::string& path, bool now = false);

}  // namespace berth::vmm
